"""What the tests of operators share: cases as nodes and arrays, and as ONNX models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from thinfer.formats.graph import Node
from thinfer.kernels import ops
from thinfer.kernels.ops._op import Case, Op, Type

OPSET = 28
Arrays = Sequence["np.ndarray | None"]


def all_cases(bench: bool = True) -> list[tuple[Op, Case]]:
    return [(op, case) for op in map(ops.get, ops.names()) for case in op.cases if bench or not case.bench]


def named(pair: Any) -> str:
    """The id of a parametrised test."""
    return f"{pair[0].name}-{pair[1].name}"


def widened(arrays: Arrays) -> list[np.ndarray | None]:
    """float32 as float64."""
    return [a.astype(np.float64) if a is not None and a.dtype == np.float32 else a for a in arrays]


def node_of(op: Op, arrays: Arrays, attrs: Mapping[str, Any], outputs: int = 1) -> Node:
    """A node ``n`` with inputs i0, i1 … ("" where absent) and outputs y0, y1 …."""
    inputs = tuple(f"i{k}" if array is not None else "" for k, array in enumerate(arrays))
    return Node(op.name, inputs, tuple(f"y{k}" for k in range(outputs)), attrs, "n")


def run(op: Op, arrays: Arrays, attrs: Mapping[str, Any]) -> tuple[np.ndarray, ...]:
    with np.errstate(all="ignore"):
        return op.run(op.attrs_of(node_of(op, arrays, attrs)), *arrays)


def infer(op: Op, arrays: Arrays, attrs: Mapping[str, Any], known: Sequence[bool], outputs: int = 1) -> list[Type | None]:
    """The types of the outputs, where the elements of the inputs marked ``known`` are known."""
    node = node_of(op, arrays, attrs, outputs)
    kinds = [None if a is None else Type(a.dtype.name, a.shape, a if seen else None) for a, seen in zip(arrays, known)]
    return list(op.infer(node, op.attrs_of(node), kinds))


def model_of(op: Op, arrays: Arrays, attrs: Mapping[str, Any], results: Sequence[np.ndarray],
             constants: Sequence[bool] | None = None) -> onnx.ModelProto:
    """The same node as an ONNX model; the inputs marked in ``constants`` are initializers. Output shapes are left open."""
    fitted = {key: numpy_helper.from_array(value) if isinstance(value, np.ndarray) else value for key, value in attrs.items()}
    node = node_of(op, arrays, attrs, len(results))
    fixed = constants or [False] * len(arrays)
    inputs = [helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
              for name, array, stays in zip(node.inputs, arrays, fixed) if array is not None and not stays]
    outputs = [helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), None)
               for name, array in zip(node.outputs, results)]
    initializers = [numpy_helper.from_array(array, name)
                    for name, array, stays in zip(node.inputs, arrays, fixed) if array is not None and stays]
    graph = helper.make_graph([helper.make_node(op.name, node.inputs, node.outputs, **fitted)], "case", inputs, outputs, initializers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)])


def dtype_name(code: int) -> str:
    return helper.tensor_dtype_to_np_dtype(code).name if code != TensorProto.UNDEFINED else "undefined"
