"""ReduceMean: the mean over some axes (input 1), over all of them if none are given and noop_with_empty_axes is 0."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np

from ...formats.graph import Node
from ._check import NUMBERS, given, need, positive_axes, want_dtype, where
from ._dtype import widened
from ._flow import tie_pairs
from ._known import ints, known_ints, with_value
from ._op import Arg, Case, Op, OpError, Tie, Type


def _reduced(place: str, attrs: Mapping[str, Any], axes: Sequence[int] | None, rank: int) -> tuple[int, ...]:
    """The axes that go, in order."""
    if not axes:
        return () if attrs["noop_with_empty_axes"] else tuple(range(rank))
    return positive_axes(place, axes, rank)


def _infer(node: Node, attrs: Mapping[str, Any], args: Sequence[Type | None]) -> list[Type]:
    x, axes = need(node, args, 0, "data"), given(args, 1)
    want_dtype(node, x, NUMBERS)
    if axes is not None and axes.value is None:
        return []
    gone = _reduced(where(node), attrs, ints(axes), len(x.shape))
    if attrs["keepdims"]:
        shape = tuple(1 if axis in gone else length for axis, length in enumerate(x.shape))
    else:
        shape = tuple(length for axis, length in enumerate(x.shape) if axis not in gone)
    if any(x.shape[axis] == 0 for axis in gone):
        raise OpError(f"{where(node)} takes the mean over an axis of length 0")
    return [with_value(Type(x.dtype, shape), args, lambda *values: _run(attrs, *values))]


def _run(attrs: Mapping[str, Any], x: np.ndarray, axes: np.ndarray | None = None) -> tuple[np.ndarray, ...]:
    gone = _reduced("ReduceMean", attrs, None if axes is None else [int(axis) for axis in axes.ravel()], x.ndim)
    (wide,) = widened(x)
    mean = np.asarray(wide.mean(axis=gone, keepdims=bool(attrs["keepdims"])))
    return ((np.trunc(mean) if x.dtype.kind in "iu" else mean).astype(x.dtype, copy=False),)


def _flow(node: Node, attrs: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]], tie: Tie) -> None:
    """Axes that are kept pass through. Where the axes are not known, only what the two shapes leave no doubt about does."""
    x, y = node.inputs[0], node.outputs[0]
    axes = known_ints(shapes, node, 1)
    if axes is not None or len(node.inputs) < 2 or not node.inputs[1]:
        gone = _reduced(where(node), attrs, axes, len(shapes[x]))
        kept = [axis for axis in range(len(shapes[x])) if axis not in gone]
        tie_pairs(tie, x, y, ((axis, axis if attrs["keepdims"] else place) for place, axis in enumerate(kept)))
    elif attrs["keepdims"]:
        tie_pairs(tie, x, y, ((axis, axis) for axis, length in enumerate(shapes[x]) if length == shapes[y][axis] != 1))
    else:
        tie_pairs(tie, x, y, set.intersection(*map(set, _alignments(shapes[x], shapes[y]))))


def _alignments(shape: tuple[int, ...], result: tuple[int, ...]) -> Iterator[list[tuple[int, int]]]:
    """Every way to read ``result`` as the kept axes of ``shape``, as pairs of axes."""
    for kept in combinations(range(len(shape)), len(result)):
        if tuple(shape[axis] for axis in kept) == result:
            yield list(zip(kept, range(len(result))))


def _case(name: str, x: tuple[int, ...], axes: Sequence[int] | None = None, bench: bool = False, **attrs: Any) -> Case:
    extra = () if axes is None else (Arg((len(axes),), "int64", value=list(axes), constant=True),)
    return Case(name, (Arg(x), *extra), attrs, bench)


OP = Op("ReduceMean", {"keepdims": 1, "noop_with_empty_axes": 0}, (1, 2), _infer, _run, flow=_flow, cases=(
    _case("spatial", (2, 5, 7, 9), (2, 3)),
    _case("spatial_flat", (2, 5, 7, 9), (-1, -2), keepdims=0),
    _case("channels", (2, 5, 3), (1,)),
    _case("first", (4, 3), (0,), keepdims=0),
    _case("everything", (3, 4, 5)),
    _case("everything_flat", (3, 4), keepdims=0),
    _case("no_axes", (3, 4), (), keepdims=0),
    _case("noop", (3, 4), (), noop_with_empty_axes=1),
    _case("mobilenet", (1, 1280, 7, 7), (2, 3), keepdims=0, bench=True),
))
