"""Pow: ``x`` to the power ``y``, with broadcasting, in the dtype of x; y may have another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...formats.graph import Node
from ._broadcast import broadcast
from ._cast import cast
from ._check import FLOATS, NUMBERS, need, want_dtype, where
from ._dtype import widened
from ._elementwise import broadcast_flow
from ._known import with_value
from ._op import Arg, Case, Op, Type


def _infer(node: Node, attrs: Mapping[str, Any], args: Sequence[Type | None]) -> list[Type]:
    x, y = need(node, args, 0, "base"), need(node, args, 1, "exponent")
    want_dtype(node, x, (*FLOATS, "int32", "int64"), "base")
    want_dtype(node, y, NUMBERS, "exponent")
    kind = Type(x.dtype, broadcast(where(node), (x.shape, y.shape)))
    return [with_value(kind, [x, y], lambda a, b: _run(attrs, a, b))]


def _run(attrs: Mapping[str, Any], x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, ...]:
    if x.dtype.kind == "f" or y.dtype.kind == "f":
        base, exponent = widened(x, y)
        if y.size == 1 and y.item() == 0.5:  # NumPy takes the root, which differs from the power at -Inf and -0
            base = np.where(base == -np.inf, np.inf, base + 0)
        return (cast(np.asarray(np.power(base, exponent)), x.dtype.name),)
    # Integers wrap: modulo 2⁶⁴, then modulo the width of x. A negative power leaves something only of 1 and -1.
    whole = np.power(x.astype(np.uint64), y.astype(np.uint64)).astype(x.dtype)
    inverse = np.where(np.abs(x) == 1, np.where(y % 2 == 0, x * x, x), x.dtype.type(0))
    return (np.asarray(np.where(y < 0, inverse, whole), x.dtype),)


def _mixed(x: str, y: str, low: int, high: int) -> Case:
    return Case(f"{x}_{y}", (Arg((3, 4), x, 1, 5), Arg((4,), y, low, high)))


OP = Op("Pow", {}, (2, 2), _infer, _run, flow=broadcast_flow, cases=(
    Case("same", (Arg((2, 3, 5, 7), low=0.25, high=3), Arg((2, 3, 5, 7), low=-2, high=2))),
    Case("square", (Arg((2, 3, 5)), Arg((), value=2, constant=True))),
    Case("cube", (Arg((2, 3, 5)), Arg((1,), value=[3], constant=True))),
    Case("root", (Arg((2, 3, 5), low=0, high=4), Arg((), value=0.5, constant=True))),
    Case("inverse_root", (Arg((2, 3, 5), low=0.25, high=4), Arg((), value=-0.5, constant=True))),
    Case("other_exponent", (Arg((2, 3, 5), low=0.25, high=4), Arg((), value=1.75, constant=True))),
    Case("both_stretched", (Arg((3, 1, 5), low=0.25, high=3), Arg((4, 1), low=-2, high=2))),
    _mixed("float32", "int64", -3, 3), _mixed("float32", "uint8", 0, 3), _mixed("int32", "float32", 0, 3), _mixed("int64", "int64", 0, 3),
    _mixed("int64", "float64", 0, 3),
    Case("negative_integers", (Arg((5,), "int64", value=[-3, -1, 1, 2, 5]), Arg((4, 1), "int64", value=[[0], [1], [2], [5]]))),
))
