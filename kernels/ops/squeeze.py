"""Squeeze: without the given axes of length 1 (input 1), or without all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...formats.graph import Node
from ._check import given, need, positive_axes, text, where
from ._known import ints, with_value
from ._op import Arg, Case, Op, OpError, Tie, Type
from ._reshape import tie_reshaped


def _shape(place: str, shape: tuple[int, ...], axes: Sequence[int] | None) -> tuple[int, ...]:
    if axes is None:
        return tuple(length for length in shape if length != 1)
    gone = positive_axes(place, axes, len(shape))
    for axis in gone:
        if shape[axis] != 1:
            raise OpError(f"{place} removes axis {axis} of {text(shape)}, whose length is not 1")
    return tuple(length for axis, length in enumerate(shape) if axis not in gone)


def _infer(node: Node, attrs: Mapping[str, Any], args: Sequence[Type | None]) -> list[Type]:
    x, axes = need(node, args, 0, "data"), given(args, 1)
    if axes is not None and axes.value is None:
        return []
    kind = Type(x.dtype, _shape(where(node), x.shape, ints(axes)))
    return [with_value(kind, args, lambda *values: _run(attrs, *values))]


def _run(attrs: Mapping[str, Any], x: np.ndarray, axes: np.ndarray | None = None) -> tuple[np.ndarray, ...]:
    return (x.reshape(_shape("Squeeze", x.shape, None if axes is None else [int(axis) for axis in axes.ravel()])),)


def _flow(node: Node, attrs: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]], tie: Tie) -> None:
    """Nothing may go where the axes are not named: one left with length 1 would vanish too."""
    x, y = node.inputs[0], node.outputs[0]
    if len(node.inputs) < 2 or not node.inputs[1]:
        return
    tie_reshaped(tie, x, shapes[x], y, shapes[y])


def _case(name: str, x: tuple[int, ...], axes: Sequence[int] | None = None) -> Case:
    return Case(name, (Arg(x), *(() if axes is None else (Arg((len(axes),), "int64", value=list(axes), constant=True),))))


OP = Op("Squeeze", {}, (1, 2), _infer, _run, flow=_flow, cases=(
    _case("pooled", (2, 5, 1, 1), (2, 3)),
    _case("negative", (1, 5, 1), (-1,)),
    _case("all", (1, 3, 1, 4)),
    _case("to_scalar", (1,), (0,)),
    _case("batch_of_one", (1, 5, 1, 1), (3, 2)),
))
