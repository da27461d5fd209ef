"""Unsqueeze: with axes of length 1 inserted; the axes (input 1) count in the output."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...formats.graph import Node
from ._check import need, positive_axes, where
from ._known import ints, with_value
from ._op import Arg, Case, Op, Tie, Type
from ._reshape import tie_reshaped


def _shape(place: str, shape: tuple[int, ...], axes: Sequence[int]) -> tuple[int, ...]:
    rank = len(shape) + len(axes)
    new = positive_axes(place, axes, rank)
    rest = iter(shape)
    return tuple(1 if axis in new else next(rest) for axis in range(rank))


def _infer(node: Node, attrs: Mapping[str, Any], args: Sequence[Type | None]) -> list[Type]:
    x = need(node, args, 0, "data")
    axes = ints(need(node, args, 1, "axes"))
    if axes is None:
        return []
    kind = Type(x.dtype, _shape(where(node), x.shape, axes))
    return [with_value(kind, args, lambda *values: _run(attrs, *values))]


def _run(attrs: Mapping[str, Any], x: np.ndarray, axes: np.ndarray) -> tuple[np.ndarray, ...]:
    return (x.reshape(_shape("Unsqueeze", x.shape, [int(axis) for axis in axes.ravel()])),)


def _flow(node: Node, attrs: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]], tie: Tie) -> None:
    x, y = node.inputs[0], node.outputs[0]
    tie_reshaped(tie, x, shapes[x], y, shapes[y])


def _case(name: str, x: tuple[int, ...], axes: Sequence[int], dtype: str = "float32") -> Case:
    return Case(name, (Arg(x, dtype, -9, 9), Arg((len(axes),), "int64", value=list(axes), constant=True)))


OP = Op("Unsqueeze", {}, (2, 2), _infer, _run, flow=_flow, cases=(
    _case("image", (2, 5), (2, 3)),
    _case("first", (3, 4), (0,)),
    _case("negative", (3, 4), (-1,)),
    _case("unordered", (3, 4), (3, 0)),
    _case("scalar", (), (0,), "int64"),
    _case("between", (3, 4, 5), (1, -2)),
))
