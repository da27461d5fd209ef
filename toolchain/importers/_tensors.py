"""ONNX's tensors as arrays, and its element types as ours."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

from ...formats.graph import DTYPES
from . import _external
from ._errors import UnreadableModel, UnsupportedModel

NARROW = {TensorProto.INT4: ("int8", 4), TensorProto.UINT4: ("uint8", 4), TensorProto.INT2: ("int8", 2), TensorProto.UINT2: ("uint8", 2)}
"""Element types that become arrays of wider integers in the same range, and their width in bits."""

ELEMENT_TYPES = {**{int(onnx.helper.np_dtype_to_tensor_dtype(np.dtype(name))): name for name in DTYPES},
                 **{kind: name for kind, (name, _) in NARROW.items()}}
"""ONNX's element type → the dtype that it becomes."""

SMALL = 1 << 10
"""Tensors of up to this many elements (axes, shapes) stay where they are, so that onnx's shape inference can read them."""


def dtype_of(element_type: int, what: str) -> str:
    """Our dtype for an element type; UnsupportedModel, which names ``what`` has it, if there is none."""
    if element_type not in ELEMENT_TYPES:
        known = element_type in TensorProto.DataType.values()
        name = TensorProto.DataType.Name(element_type).lower() if known else f"number {element_type}"
        raise UnsupportedModel(f"{what} has the data type {name}; supported are {', '.join(DTYPES)} and integers of 2 and 4 bits")
    return ELEMENT_TYPES[element_type]


class Tensors:
    """Reads a model's tensors. ``folder``: where external data lies; None if there can be none. ``origin`` names the model in errors."""

    def __init__(self, origin: str, folder: Path | None) -> None:
        self.origin = origin
        self._files = _external.Files(folder)
        self.detached: dict[str, np.ndarray] = {}

    def array(self, tensor: TensorProto, name: str) -> np.ndarray:
        """The tensor's elements, in a dtype of ours. Those of external data are mapped from their file, not read.

        Raises UnreadableModel, UnsupportedModel.
        """
        what = f"weight {name!r} of {self.origin}"
        dtype = np.dtype(dtype_of(tensor.data_type, what))
        shape = tuple(tensor.dims)
        if any(dim < 0 for dim in shape):
            raise UnreadableModel(f"{what} is damaged: it has the shape {list(shape)}")
        if tensor.data_location == TensorProto.EXTERNAL:
            bits = NARROW[tensor.data_type][1] if tensor.data_type in NARROW else 8 * dtype.itemsize
            raw = self._files.mapped(tensor, what, -(-prod(shape) * bits // 8))
            if tensor.data_type not in NARROW:
                return np.require(raw.view(dtype.newbyteorder("<")).reshape(shape), dtype, "A")
            tensor = TensorProto(dims=shape, data_type=tensor.data_type, raw_data=raw.tobytes())
        _check_amount(tensor, shape, what)
        try:
            found = numpy_helper.to_array(tensor)
        except (ValueError, TypeError, KeyError, OverflowError) as error:
            raise UnreadableModel(f"{what} is damaged: {error}") from None
        return found.astype(dtype, copy=False)

    def light(self, model: onnx.ModelProto) -> onnx.ModelProto:
        """The model without the elements of the larger initializers of its graph, which ``detached`` holds from then on, by name."""
        found = onnx.ModelProto(ir_version=model.ir_version, opset_import=model.opset_import, functions=model.functions)
        graph = found.graph
        graph.name = model.graph.name
        for field in ("node", "input", "output", "value_info", "sparse_initializer"):
            getattr(graph, field).extend(getattr(model.graph, field))
        for tensor in model.graph.initializer:
            if tensor.name in self.detached:
                raise UnreadableModel(f"{self.origin} has two weights called {tensor.name!r}")
            array = self.detached[tensor.name] = self.array(tensor, tensor.name)
            small = array.size <= SMALL and tensor.data_location != TensorProto.EXTERNAL
            graph.initializer.append(tensor if small else TensorProto(name=tensor.name, dims=tensor.dims, data_type=tensor.data_type))
        return found


def _check_amount(tensor: TensorProto, shape: tuple[int, ...], what: str) -> None:
    """UnreadableModel if the tensor, which lies in the model itself, has more or less data than its shape and data type need."""
    bits = NARROW[tensor.data_type][1] if tensor.data_type in NARROW else 8 * np.dtype(ELEMENT_TYPES[tensor.data_type]).itemsize
    nbytes = -(-prod(shape) * bits // 8)
    if tensor.HasField("raw_data"):
        found, needed, unit = len(tensor.raw_data), nbytes, "bytes"
    else:  # fields of numbers: one for each element, or for each byte of narrow ones
        found = len(getattr(tensor, onnx.helper.tensor_dtype_to_field(tensor.data_type)))
        needed, unit = nbytes if tensor.data_type in NARROW else prod(shape), "numbers"
    if found != needed:
        name = TensorProto.DataType.Name(tensor.data_type).lower()
        raise UnreadableModel(f"{what} is damaged: it has {found} {unit} of data, but its shape {list(shape)} and data type {name} need {needed}")


def subgraphs(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    """The graphs that are attributes of the node."""
    for attribute in node.attribute:
        if attribute.type == onnx.AttributeProto.GRAPH:
            yield attribute.g
        yield from attribute.graphs
