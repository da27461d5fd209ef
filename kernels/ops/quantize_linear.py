"""QuantizeLinear: ``saturate(rint(x / scale) + zero point)``, ties to even, per tensor, axis or block. NaN becomes the zero point.

``output_dtype`` (where there is no zero point, or for integers of 2 and 4 bits, which are held in 8) and ``precision`` are ONNX's numbers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...formats.graph import Node
from ._cast import CODE_OF_DTYPE, dtype_of
from ._check import given, need, want_dtype, where
from ._flow import tie_same
from ._known import with_value
from ._linear import CODE_RANGES, SCALES, per_element, want_table
from ._op import Arg, Case, Op, OpError, Tie, Type


def _infer(node: Node, attrs: Mapping[str, Any], args: Sequence[Type | None]) -> list[Type]:
    x, scale, zero = need(node, args, 0, "data"), need(node, args, 1, "scale"), given(args, 2)
    want_dtype(node, x, (*SCALES, "int32"))
    want_dtype(node, scale, SCALES, "scale")
    for table, what in ((scale, "scale"), (zero, "zero point")):
        if table is not None:
            want_table(node, x, table, attrs["axis"], attrs["block_size"], what)
    dtype = _codes(where(node), attrs, zero.dtype if zero is not None else None)[0]
    if zero is not None and zero.dtype != dtype:
        raise OpError(f"{where(node)} has a zero point of {zero.dtype}, but quantizes to {dtype}")
    if attrs["precision"]:
        want_dtype(node, Type(dtype_of(where(node), attrs["precision"]), ()), SCALES, "precision")
    return [with_value(Type(dtype, x.shape), args, lambda *values: _run(attrs, *values))]


def _codes(place: str, attrs: Mapping[str, Any], zero_dtype: str | None) -> tuple[str, int, int]:
    """(dtype, lowest, highest code)."""
    code = attrs["output_dtype"] or (CODE_OF_DTYPE["uint8"] if zero_dtype is None else CODE_OF_DTYPE.get(zero_dtype, 0))
    if code not in CODE_RANGES:
        valid = ", ".join(f"{number} ({name} from {low} to {high})" for number, (name, low, high) in CODE_RANGES.items())
        raise OpError(f"{place} quantizes to data type {code}; there are {valid}")
    return CODE_RANGES[code]


def _run(attrs: Mapping[str, Any], x: np.ndarray, scale: np.ndarray, zero: np.ndarray | None = None) -> tuple[np.ndarray, ...]:
    dtype, low, high = _codes("QuantizeLinear", attrs, zero.dtype.name if zero is not None else None)
    precise = np.dtype(dtype_of("QuantizeLinear", attrs["precision"])) if attrs["precision"] else scale.dtype
    ratio = x.astype(precise) / per_element(scale, x.shape, attrs["axis"], attrs["block_size"]).astype(precise)
    rounded = np.rint(ratio).astype(np.promote_types(precise, np.float32))
    rounded = np.where(np.isnan(rounded), rounded.dtype.type(0), rounded)
    if zero is not None:
        rounded = rounded + per_element(zero, x.shape, attrs["axis"], attrs["block_size"]).astype(rounded.dtype)
    return (np.clip(rounded, low, high).astype(dtype),)


def _flow(node: Node, attrs: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]], tie: Tie) -> None:
    """Per tensor, every axis goes to the output; otherwise none that the tables run along."""
    (x, y), rank = (node.inputs[0], node.outputs[0]), len(shapes[node.inputs[0]])
    fixed = any(np.prod(shapes[name]) > 1 for name in node.inputs[1:] if name)
    tie_same(tie, x, y, [axis for axis in range(rank) if not fixed or (attrs["block_size"] == 0 and axis != attrs["axis"] % rank)])


def _arg(*values: float, dtype: str = "float32") -> Arg:
    return Arg(np.shape(values), dtype, value=values)


X = Arg((3, 4), low=-3, high=3)
OP = Op("QuantizeLinear", {"axis": 1, "block_size": 0, "output_dtype": 0, "precision": 0, "saturate": 1}, (2, 3), _infer, _run, flow=_flow,
        cases=(
    Case("tensor", (X, Arg(value=0.0625))),
    Case("int8", (X, Arg(value=0.0625), Arg((), "int8", value=-3))),
    Case("ties_and_saturation", (_arg(0.5, 1.5, 2.5, -0.5, -1.5, 300, -300), Arg(value=1.0), Arg((), "int8", value=1))),
    Case("axis", (X, _arg(0.5, 0.25, 0.125, 1), _arg(1, 2, 3, 4, dtype="uint8"))),
    Case("middle_axis", (Arg((2, 3, 2), low=-3, high=3), _arg(0.5, 0.25, 0.125), _arg(-1, 0, 5, dtype="int8")), {"axis": -2}),
    Case("blocks", (Arg((3, 5), low=-3, high=3), Arg((3, 3), low=0.1, high=0.5)), {"block_size": 2, "output_dtype": 3}),
    Case("uint16", (X, Arg(value=0.001), Arg((), "uint16", value=30000))),
    Case("int16", (X, Arg(value=0.0001)), {"output_dtype": 5}),
    Case("from_int32", (Arg((4,), "int32", -500, 500), Arg(value=2.0), Arg((), "int8", value=0))),
))
