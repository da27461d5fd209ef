"""Tile: the input repeated along each axis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...formats.graph import Node
from ._check import need, text, want_dtype, want_rank, where
from ._known import ints, known_ints, with_value
from ._op import Arg, Case, Op, OpError, Tie, Type


def _check(place: str, repeats: Sequence[int], shape: Sequence[int]) -> None:
    if len(repeats) != len(shape) or any(count < 0 for count in repeats):
        raise OpError(f"{place} has the repeats {tuple(repeats)} for data of the shape {text(shape)}; it takes one of 0 or more for each axis")


def _infer(node: Node, attrs: Mapping[str, Any], args: Sequence[Type | None]) -> list[Type]:
    x, repeats = need(node, args, 0, "data"), need(node, args, 1, "repeats")
    want_dtype(node, repeats, ("int64",), "repeats")
    want_rank(node, repeats, 1, "repeats'", 1)
    counts = ints(repeats)
    if counts is None:
        return []
    _check(where(node), counts, x.shape)
    kind = Type(x.dtype, tuple(length * count for length, count in zip(x.shape, counts)))
    return [with_value(kind, args, lambda *values: _run(attrs, *values))]


def _run(attrs: Mapping[str, Any], x: np.ndarray, repeats: np.ndarray) -> tuple[np.ndarray, ...]:
    _check("Tile", repeats.tolist(), x.shape)
    return (np.tile(x, repeats.tolist()),)


def _flow(node: Node, attrs: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]], tie: Tie) -> None:
    """An index goes with all of its repetitions."""
    x, y = node.inputs[0], node.outputs[0]
    for axis, count in enumerate(known_ints(shapes, node, 1) or ()):
        length = shapes[x][axis]
        tie((x, axis), (y, axis), np.tile(np.arange(length), count), np.arange(length * count))


def _case(name: str, x: Arg, *repeats: int) -> Case:
    return Case(name, (x, Arg((len(repeats),), "int64", value=list(repeats), constant=True)))


OP = Op("Tile", {}, (2, 2), _infer, _run, flow=_flow, cases=(
    _case("channels", Arg((2, 3, 2, 2)), 1, 2, 1, 1),
    _case("all", Arg((2, 3)), 2, 3),
    _case("once", Arg((2, 3, 4)), 1, 1, 1),
    _case("stretched", Arg((2, 4, 1, 1)), 1, 1, 3, 5),
    _case("never", Arg((2, 3)), 1, 0),
    _case("scalar", Arg(())),
    _case("shape", Arg((2,), "int64", value=[3, 4]), 2),
    _case("bool", Arg((2, 2), "bool"), 2, 1),
))
