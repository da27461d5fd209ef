"""CenterCropPad: along each of ``axes`` as long as the shape says, cut off or padded with zeros on both sides alike.

Of an odd number the end gets one more, of what is cut as of what is padded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...formats.graph import Node
from ._check import INDICES, need, positive_axis, want_dtype, want_rank, where
from ._flow import tie_same
from ._known import ints, with_value
from ._op import Arg, Case, Op, OpError, Tie, Type


def _axes(place: str, attrs: Mapping[str, Any], rank: int) -> list[int]:
    return list(range(rank)) if attrs["axes"] is None else [positive_axis(place, axis, rank) for axis in attrs["axes"]]


def _target(place: str, attrs: Mapping[str, Any], shape: Sequence[int], wanted: Sequence[int]) -> tuple[int, ...]:
    axes = _axes(place, attrs, len(shape))
    if len(wanted) != len(axes) or len(set(axes)) < len(axes) or any(length < 0 for length in wanted):
        raise OpError(f"{place} has the lengths {tuple(wanted)} for the axes {tuple(axes)}; it takes one of 0 or more for each")
    found = list(shape)
    for axis, length in zip(axes, wanted):
        found[axis] = length
    return tuple(found)


def _infer(node: Node, attrs: Mapping[str, Any], args: Sequence[Type | None]) -> list[Type]:
    x, shape = need(node, args, 0, "data"), need(node, args, 1, "shape")
    want_dtype(node, shape, INDICES, "shape")
    want_rank(node, shape, 1, "shape's", 1)
    wanted = ints(shape)
    if wanted is None:
        return []
    return [with_value(Type(x.dtype, _target(where(node), attrs, x.shape, wanted)), args, lambda *values: _run(attrs, *values))]


def _run(attrs: Mapping[str, Any], x: np.ndarray, shape: np.ndarray) -> tuple[np.ndarray, ...]:
    y = np.zeros(_target("CenterCropPad", attrs, x.shape, [int(length) for length in shape]), x.dtype)
    common = [min(old, new) for old, new in zip(x.shape, y.shape)]
    taken, filled = (tuple(slice((length - count) // 2, (length - count) // 2 + count) for length, count in zip(lengths, common))
                     for lengths in (x.shape, y.shape))
    y[filled] = x[taken]
    return (y,)


def _flow(node: Node, attrs: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]], tie: Tie) -> None:
    """Axes that are not named pass through."""
    rank = len(shapes[node.inputs[0]])
    named = _axes(where(node), attrs, rank)
    tie_same(tie, node.inputs[0], node.outputs[0], (axis for axis in range(rank) if axis not in named))


def _case(name: str, x: Arg, shape: Sequence[int], dtype: str = "int64", **attrs: Any) -> Case:
    return Case(name, (x, Arg((len(shape),), dtype, value=list(shape), constant=True)), attrs)


OP = Op("CenterCropPad", {"axes": None}, (2, 2), _infer, _run, flow=_flow, cases=(
    _case("cropped", Arg((7, 6, 3)), (4, 4, 3)),
    _case("padded", Arg((4, 3, 2)), (7, 8, 2)),
    _case("both", Arg((5, 6), "int16", -9, 9), (8, 3), "int32"),
    _case("axes", Arg((1, 3, 7, 4)), (4, 7), axes=(2, 3)),
    _case("negative_axes", Arg((6, 5, 3)), (3, 8), axes=(-3, -2)),
    _case("empty", Arg((3, 2)), (0, 2)),
))
