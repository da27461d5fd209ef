"""DequantizeLinear: ``(x - zero point) * scale``, per tensor, axis or block, in the scale's dtype or that of ``output_dtype``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...formats.graph import Node
from ._cast import dtype_of
from ._check import given, need, want_dtype, want_same_dtype, where
from ._known import with_value
from ._linear import SCALES, per_element, want_table
from ._op import Arg, Case, Op, Type
from .quantize_linear import OP as QUANTIZE

CODES = ("int8", "uint8", "int16", "uint16", "int32", "uint32")


def _infer(node: Node, attrs: Mapping[str, Any], args: Sequence[Type | None]) -> list[Type]:
    x, scale, zero = need(node, args, 0, "data"), need(node, args, 1, "scale"), given(args, 2)
    want_dtype(node, x, CODES)
    want_dtype(node, scale, SCALES, "scale")
    want_same_dtype(node, (x, zero))
    for table, what in ((scale, "scale"), (zero, "zero point")):
        if table is not None:
            want_table(node, x, table, attrs["axis"], attrs["block_size"], what)
    found = Type(_dtype(where(node), attrs, scale.dtype), x.shape)
    want_dtype(node, found, SCALES, "output_dtype")
    return [with_value(found, args, lambda *values: _run(attrs, *values))]


def _dtype(place: str, attrs: Mapping[str, Any], scale: str) -> str:
    return dtype_of(place, attrs["output_dtype"]) if attrs["output_dtype"] else scale


def _run(attrs: Mapping[str, Any], x: np.ndarray, scale: np.ndarray, zero: np.ndarray | None = None) -> tuple[np.ndarray, ...]:
    centred = x.astype(np.int64)
    if zero is not None:
        centred = centred - per_element(zero, x.shape, attrs["axis"], attrs["block_size"])
    dtype = _dtype("DequantizeLinear", attrs, scale.dtype.name)
    return (centred.astype(dtype) * per_element(scale, x.shape, attrs["axis"], attrs["block_size"]).astype(dtype, copy=False),)


X = Arg((3, 4), "int8", -128, 127)
OP = Op("DequantizeLinear", {"axis": 1, "block_size": 0, "output_dtype": 0}, (2, 3), _infer, _run, flow=QUANTIZE.flow, cases=(
    Case("tensor", (X, Arg(value=0.0625))),
    Case("zero_point", (X, Arg(value=0.0625), Arg((), "int8", value=-3))),
    Case("axis", (Arg((3, 4), "uint8", 0, 255), Arg((4,), low=0.1, high=1), Arg((4,), "uint8", 0, 255))),
    Case("middle_axis", (Arg((2, 3, 2), "int8", -128, 127), Arg((3,), low=0.1, high=1), Arg((3,), "int8", -9, 9))),
    Case("last_axis", (X, Arg((4,), low=0.1, high=1)), {"axis": -1}),
    Case("blocks", (Arg((3, 5), "int8", -8, 7), Arg((3, 3), low=0.1, high=0.5), Arg((3, 3), "int8", -8, 7)), {"block_size": 2}),
    Case("uint16", (Arg((5,), "uint16", 0, 65535), Arg(value=0.5), Arg((), "uint16", value=30000))),
    Case("int32", (Arg((5,), "int32", -999, 999), Arg(value=0.5))),
))
