"""Shape: the lengths of the axes from ``start`` up to ``end``, as int64."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...formats.graph import Node
from ._check import need
from ._op import Arg, Case, Op, Tie, Type


def _span(attrs: Mapping[str, Any], rank: int) -> range:
    """The axes asked for; ``start`` and ``end`` beyond the rank stop there, as Python's slices do."""
    return range(rank)[attrs["start"]:attrs["end"]]


def _lengths(attrs: Mapping[str, Any], shape: Sequence[int]) -> np.ndarray:
    return np.array([shape[axis] for axis in _span(attrs, len(shape))], np.int64)


def _infer(node: Node, attrs: Mapping[str, Any], args: Sequence[Type | None]) -> list[Type]:
    return [Type.of(_lengths(attrs, need(node, args, 0, "data").shape))]


def _run(attrs: Mapping[str, Any], x: np.ndarray) -> tuple[np.ndarray, ...]:
    return (_lengths(attrs, x.shape),)


def _flow(node: Node, attrs: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]], tie: Tie) -> None:
    """Axes whose length nobody asks for may change: they are tied to themselves."""
    x = node.inputs[0]
    rank = len(shapes[x])
    for axis in set(range(rank)) - set(_span(attrs, rank)):
        tie((x, axis), (x, axis))


def _case(name: str, x: tuple[int, ...], **attrs: int) -> Case:
    return Case(name, (Arg(x),), attrs)


OP = Op("Shape", {"start": 0, "end": None}, (1, 1), _infer, _run, flow=_flow, cases=(
    _case("all", (2, 3, 5, 7)),
    _case("scalar", ()),
    _case("batch", (2, 3, 5), start=0, end=1),
    _case("last_two", (2, 3, 5), start=-2),
    _case("beyond", (2, 3), start=-9, end=9),
    _case("none", (2, 3), start=2, end=1),
    _case("empty", (0, 3)),
))
