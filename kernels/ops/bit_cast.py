"""BitCast: the same bits, read as another dtype of the same width."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...formats.graph import Node
from ._cast import CODE_OF_DTYPE, dtype_of
from ._check import need, where
from ._flow import same_everywhere
from ._known import with_value
from ._op import REQUIRED, Arg, Case, Op, OpError, Type


def _infer(node: Node, attrs: Mapping[str, Any], args: Sequence[Type | None]) -> list[Type]:
    x, dtype = need(node, args, 0, "data"), dtype_of(where(node), attrs["to"])
    widths = [np.dtype(name).itemsize * 8 for name in (x.dtype, dtype)]
    if widths[0] != widths[1]:
        raise OpError(f"{where(node)} reads {x.dtype} as {dtype}; {widths[0]} and {widths[1]} bits differ")
    return [with_value(Type(dtype, x.shape), [x], lambda value: _run(attrs, value))]


def _run(attrs: Mapping[str, Any], x: np.ndarray) -> tuple[np.ndarray, ...]:
    dtype = dtype_of("BitCast", attrs["to"])
    # A truth value is whatever is not 0, so that its bits are made as such.
    return (x != 0 if dtype == "bool" else x.view(dtype),)


def _case(name: str, arg: Arg, dtype: str) -> Case:
    return Case(name, (arg,), {"to": CODE_OF_DTYPE[dtype]})


OP = Op("BitCast", {"to": REQUIRED}, (1, 1), _infer, _run, flow=same_everywhere, cases=(
    _case("float_to_int", Arg((3, 5), "float64"), "int64"),
    _case("int_to_float", Arg((3, 5), "int32", 0, 2**30), "float32"),
    _case("unsigned", Arg((3,), "int8", value=[-1, 0, 5]), "uint8"),
    _case("wide", Arg((3,), "float64"), "uint64"),
    _case("scalar", Arg((), "float16"), "int16"),
))
