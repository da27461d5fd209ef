"""Makes CumSum and CumProd."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...formats.graph import Node
from ._check import INDICES, need, positive_axis, text, want_dtype, want_rank, where
from ._dtype import widened
from ._flow import tie_same
from ._known import known_ints, with_value
from ._op import Arg, Case, Op, OpError, Tie, Type
from ._reduce import SUMS


def cumulative(name: str, fold: np.ufunc, start: int) -> Op:
    """The operator that folds all elements up to each one along an axis (input 1), or from it on with reverse.

    With exclusive the element itself is left out, so that the first result is ``start``.
    """
    def infer(node: Node, attrs: Mapping[str, Any], args: Sequence[Type | None]) -> list[Type]:
        x, axis = need(node, args, 0, "data"), need(node, args, 1, "axis")
        want_dtype(node, x, SUMS)
        want_dtype(node, axis, INDICES, "axis")
        want_rank(node, x, 1)
        if axis.size != 1:
            raise OpError(f"{where(node)} has an axis of the shape {text(axis.shape)}; it takes a scalar")
        if axis.value is not None:
            positive_axis(where(node), axis.value.item(), len(x.shape))
        return [with_value(Type(x.dtype, x.shape), [x, axis], lambda *values: run(attrs, *values))]

    def run(attrs: Mapping[str, Any], x: np.ndarray, axis: np.ndarray) -> tuple[np.ndarray, ...]:
        along = positive_axis(name, axis.item(), x.ndim)
        (wide,) = widened(x)
        wide = np.flip(wide, along) if attrs["reverse"] else wide
        found = fold.accumulate(wide, along, wide.dtype)
        if attrs["exclusive"] and x.shape[along]:
            first = np.full_like(np.take(found, [0], along), start)
            found = np.concatenate([first, np.delete(found, -1, along)], along)
        return ((np.flip(found, along) if attrs["reverse"] else found).astype(x.dtype, copy=False),)

    return Op(name, {"exclusive": 0, "reverse": 0}, (2, 2), infer, run, _cases(), flow=_flow)


def _flow(node: Node, attrs: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]], tie: Tie) -> None:
    """Along the axis every element counts; the other axes pass through if the axis is known."""
    x, y = node.inputs[0], node.outputs[0]
    rank, axes = len(shapes[x]), known_ints(shapes, node, 1)
    if axes is not None:
        tie_same(tie, x, y, (axis for axis in range(rank) if axis != axes[0] % rank))


def _cases() -> tuple[Case, ...]:
    def case(name: str, x: Arg, axis: int, dtype: str = "int64", **attrs: int) -> Case:
        return Case(name, (x, Arg((), dtype, value=axis, constant=True)), attrs)

    floats = Arg((2, 5, 3))
    return (case("first", floats, 0), case("middle", floats, 1, "int32"), case("last", floats, -1),
            case("vector", Arg((33,)), 0),
            case("exclusive", floats, 1, exclusive=1),
            case("reverse", floats, 1, reverse=1),
            case("reverse_exclusive", floats, 2, reverse=1, exclusive=1),
            case("int32", Arg((4, 6), "int32", -9, 9), 1),
            case("int64_exclusive", Arg((5,), "int64", -9, 9), 0, exclusive=1))
