"""Concat: the inputs one after another along ``axis``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...formats.graph import Node
from ._check import need, positive_axis, text, want_rank, want_same_dtype, where
from ._flow import tie_same
from ._known import with_value
from ._op import REQUIRED, VARIADIC, Arg, Case, Op, OpError, Tie, Type


def _infer(node: Node, attrs: Mapping[str, Any], args: Sequence[Type | None]) -> list[Type]:
    kinds = [need(node, args, place, "part") for place in range(len(args))]
    want_same_dtype(node, args)
    want_rank(node, kinds[0], 1)
    axis = positive_axis(where(node), attrs["axis"], len(kinds[0].shape))
    rest = [_without(kind.shape, axis) for kind in kinds]
    if any(len(kind.shape) != len(kinds[0].shape) for kind in kinds) or any(other != rest[0] for other in rest):
        shapes = ", ".join(text(kind.shape) for kind in kinds)
        raise OpError(f"{where(node)} joins {shapes} along axis {axis}; all other lengths must be equal")
    total = sum(kind.shape[axis] for kind in kinds)
    kind = Type(kinds[0].dtype, (*kinds[0].shape[:axis], total, *kinds[0].shape[axis + 1:]))
    return [with_value(kind, args, lambda *values: _run(attrs, *values))]


def _without(shape: tuple[int, ...], axis: int) -> tuple[int, ...]:
    return shape[:axis] + shape[axis + 1:]


def _run(attrs: Mapping[str, Any], *parts: np.ndarray) -> tuple[np.ndarray, ...]:
    return (np.concatenate(parts, axis=attrs["axis"]),)


def _flow(node: Node, attrs: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]], tie: Tie) -> None:
    """Along the axis each input has its stretch of the output; the other axes pass through."""
    output = node.outputs[0]
    rank = len(shapes[output])
    axis = positive_axis(where(node), attrs["axis"], rank)
    start = 0
    for name in node.inputs:
        length = shapes[name][axis]
        tie((name, axis), (output, axis), np.arange(length), np.arange(start, start + length))
        tie_same(tie, name, output, (other for other in range(rank) if other != axis))
        start += length


def _case(name: str, axis: int, *shapes: tuple[int, ...], bench: bool = False) -> Case:
    return Case(name, tuple(map(Arg, shapes)), {"axis": axis}, bench)


OP = Op("Concat", {"axis": REQUIRED}, (1, VARIADIC), _infer, _run, flow=_flow, cases=(
    _case("channels", 1, (2, 3, 5, 7), (2, 4, 5, 7)),
    _case("three", 1, (1, 3, 4, 4), (1, 1, 4, 4), (1, 5, 4, 4)),
    _case("first", 0, (2, 5), (3, 5)),
    _case("negative", -1, (2, 3, 4), (2, 3, 1)),
    _case("alone", 0, (3, 4)),
    _case("vectors", 0, (3,), (1,), (5,)),
    Case("shape", (Arg((1,), "int64", value=[7]), Arg((2,), "int64", value=[-1, 3])), {"axis": 0}),
    _case("densenet", 1, (1, 128, 28, 28), (1, 32, 28, 28), bench=True),
))
