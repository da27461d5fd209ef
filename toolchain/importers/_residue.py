"""What exporters leave behind: nodes of operators that do not exist here, but whose results are known at import.

Only such nodes are evaluated; everything else is left to the passes.
"""

from __future__ import annotations

from dataclasses import replace
from math import prod

import numpy as np
import onnx
from onnx.reference import ReferenceEvaluator

from ...formats.graph import DTYPES, Graph, Node
from ...formats.tensor import EncodedTensor
from ...kernels import ops
from ._upgrade import NEWEST

LIMIT = 1 << 22
"""Results of more elements than this are not computed at import."""


def resolve(graph: Graph) -> Graph:
    """The graph without those unsupported nodes whose inputs are all constant::

        c ──► Expand(·, [8]) ──► v     becomes     weight v
    """
    if all(ops.find(node.op) is not None for node in graph.nodes):
        return graph
    constants = _Constants(graph)
    nodes = [node for node in graph.nodes if ops.find(node.op) is not None or constants.get(node.outputs[0]) is None]
    made = {name: EncodedTensor.dense(array) for name, array in constants.known.items() if array is not None}
    left = {name for node in nodes for name in node.outputs}
    return replace(graph, nodes=tuple(nodes), weights={**graph.weights, **{k: v for k, v in made.items() if k not in left}})


class _Constants:
    """Values that follow from weights alone, computed when asked for."""

    def __init__(self, graph: Graph) -> None:
        self.weights = graph.weights
        self.makers = graph.producers()
        self.known: dict[str, np.ndarray | None] = {}

    def get(self, name: str) -> np.ndarray | None:
        """The elements of a value or weight; None if they depend on the graph's inputs or are too many."""
        if name in self.weights:
            return self.weights[name].decode()
        if name not in self.known:
            self.known[name] = None
            maker = self.makers.get(name)
            if maker is not None and len(maker.outputs) == 1:
                self.known[name] = self._run(maker)
        return self.known[name]

    def _run(self, node: Node) -> np.ndarray | None:
        args = {name: self.get(name) for name in node.inputs if name}
        if any(array is None for array in args.values()) or "::" in node.op or node.op.startswith("Random"):
            return None
        if any(isinstance(value, Graph) for value in node.attrs.values()):
            return None
        return _evaluate(node, {name: array for name, array in args.items() if array is not None})


def _evaluate(node: Node, args: dict[str, np.ndarray]) -> np.ndarray | None:
    """The node's output by onnx's own reference; None if that is too large or has no dtype that a weight can have."""
    attrs = {key: list(value) if isinstance(value, tuple) else
             numpy_tensor(value) if isinstance(value, np.ndarray) else value for key, value in node.attrs.items()}
    item = onnx.helper.make_node(node.op, node.inputs, node.outputs, **attrs)
    initializers = [onnx.numpy_helper.from_array(array, name) for name, array in args.items()]
    outputs = [onnx.helper.make_empty_tensor_value_info(name) for name in node.outputs]
    model = onnx.helper.make_model(onnx.helper.make_graph([item], "constant", [], outputs, initializers),
                                   opset_imports=[onnx.helper.make_opsetid("", NEWEST)])
    inferred = onnx.shape_inference.infer_shapes(model, data_prop=True).graph.output[0].type.tensor_type
    lengths = [dim.dim_value if dim.HasField("dim_value") else LIMIT + 1 for dim in inferred.shape.dim]
    if not inferred.HasField("shape") or prod(lengths) > LIMIT:
        return None
    array = np.asarray(ReferenceEvaluator(model).run(None, {})[0])
    return array if array.dtype.name in DTYPES else None


def numpy_tensor(array: np.ndarray) -> onnx.TensorProto:
    return onnx.numpy_helper.from_array(array)
