"""Slice: along each of ``axes`` the elements from ``starts`` up to ``ends`` by ``steps``.

Negative starts and ends count from the end, and what lies outside is brought inside: as Python's slices are read, but that a walk
backwards which starts before the first element takes that one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...formats.graph import Node
from ._check import INDICES, given, need, positive_axis, want_dtype, want_rank, where
from ._known import ints, known_ints, with_value
from ._op import Arg, Case, Gone, Op, OpError, Tie, Type

Walk = dict[int, range]
"""Axis → the indices that are taken, in order; axes that are not named are taken whole."""


def walk_of(place: str, shape: Sequence[int], starts: Sequence[int], ends: Sequence[int], axes: Sequence[int] | None,
            steps: Sequence[int] | None) -> Walk:
    """Raises OpError, which names the node by ``place``, for bounds that make no sense."""
    named = range(len(starts)) if axes is None else axes
    by = (1,) * len(starts) if steps is None else steps
    if not len(starts) == len(ends) == len(named) == len(by):
        raise OpError(f"{place} has {len(starts)} starts, {len(ends)} ends, {len(named)} axes and {len(by)} steps; it takes equally many")
    if 0 in by:
        raise OpError(f"{place} has the step 0")
    found: Walk = {}
    for start, end, axis, step in zip(starts, ends, named, by):
        at = positive_axis(place, axis, len(shape))
        if at in found:
            raise OpError(f"{place} names the axis {at} twice")
        found[at] = _taken(start, end, step, shape[at])
    return found


def _taken(start: int, end: int, step: int, length: int) -> range:
    """The specification's clamping: starts to [0, length], ends too; backwards to [0, length - 1] and [-1, length - 1]."""
    if length == 0:
        return range(0)
    low, last = (0, length) if step > 0 else (-1, length - 1)
    start, end = (bound + length if bound < 0 else bound for bound in (start, end))
    return range(min(max(start, 0), last), min(max(end, low), last), step)


def _infer(node: Node, attrs: Mapping[str, Any], args: Sequence[Type | None]) -> list[Type]:
    x, bounds = need(node, args, 0, "data"), [need(node, args, 1, "starts"), need(node, args, 2, "ends"), given(args, 3), given(args, 4)]
    for kind, what in zip(bounds, ("starts", "ends", "axes", "steps")):
        if kind is not None:
            want_dtype(node, kind, INDICES, what)
            want_rank(node, kind, 1, f"{what}'", 1)
    if any(kind is not None and kind.value is None for kind in bounds):
        return []
    starts, ends, axes, steps = map(ints, bounds)
    assert starts is not None
    assert ends is not None
    walk = walk_of(where(node), x.shape, starts, ends, axes, steps)
    kind = Type(x.dtype, tuple(len(walk.get(axis, range(length))) for axis, length in enumerate(x.shape)))
    return [with_value(kind, args, lambda *values: _run(attrs, *values))]


def _run(attrs: Mapping[str, Any], x: np.ndarray, starts: np.ndarray, ends: np.ndarray, axes: np.ndarray | None = None,
         steps: np.ndarray | None = None) -> tuple[np.ndarray, ...]:
    walk = walk_of("Slice", x.shape, *([int(i) for i in bound.ravel()] for bound in (starts, ends)),
                   *(None if bound is None else [int(i) for i in bound.ravel()] for bound in (axes, steps)))
    return (x[tuple(_slice(walk[axis]) if axis in walk else slice(None) for axis in range(x.ndim))],)


def _slice(taken: range) -> slice:
    """As NumPy wants it: a walk backwards to the front has no end that could be written as a number."""
    return slice(taken.start, None if taken.stop < 0 else taken.stop, taken.step) if len(taken) else slice(0, 0)


def _known_walk(node: Node, shape: Sequence[int], bounds: Sequence[Sequence[int] | None]) -> Walk | None:
    """The walk if all bounds that are there are known."""
    there = [place < len(node.inputs) and bool(node.inputs[place]) for place in (1, 2, 3, 4)]
    if any(here and bound is None for here, bound in zip(there, bounds)):
        return None
    starts, ends, axes, steps = bounds
    assert starts is not None
    assert ends is not None
    return walk_of(where(node), shape, starts, ends, axes, steps)


def _flow(node: Node, attrs: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]], tie: Tie) -> None:
    """Axes taken whole pass through; along one that is cut in steps of 1, what is taken goes to its place."""
    x, y = node.inputs[0], node.outputs[0]
    walk = _known_walk(node, shapes[x], [known_ints(shapes, node, place) for place in (1, 2, 3, 4)])
    for axis, length in enumerate(shapes[x] if walk is not None else ()):
        assert walk is not None
        taken = walk.get(axis, range(length))
        if taken == range(length):
            tie((x, axis), (y, axis))
        elif taken.step == 1:
            tie((x, axis), (y, axis), np.array(taken, np.int64), np.arange(len(taken)))


def _resize_constants(attrs: Mapping[str, Any], constants: Mapping[int, np.ndarray], outputs: Sequence[tuple[int, ...]],
                      gone: Gone) -> dict[int, np.ndarray]:
    """Starts and ends that take what is left of what was taken."""
    starts, ends = constants[1].copy(), constants[2].copy()
    axes = constants.get(3, np.arange(starts.size))
    for place, axis in enumerate(axes.tolist()):
        old, removed = gone.get((0, axis % len(outputs[0])), (0, ()))
        if len(removed):
            kept = np.ones(old, bool)
            kept[list(removed)] = False
            start, end, _ = slice(int(starts[place]), int(ends[place])).indices(old)
            starts[place], ends[place] = kept[:start].sum(), kept[:end].sum()
    return {1: starts, 2: ends}


def _case(name: str, x: tuple[int, ...], starts: Sequence[int], ends: Sequence[int], axes: Sequence[int] | None = None,
          steps: Sequence[int] | None = None, dtype: str = "float32", kind: str = "int64") -> Case:
    bounds = [starts, ends, *((axes,) if axes is not None or steps is not None else ()), *((steps,) if steps is not None else ())]
    return Case(name, (Arg(x, dtype, -9, 9), *(Arg(absent=True) if bound is None else Arg((len(bound),), kind, value=list(bound), constant=True)
                                               for bound in bounds)))


END = 2**63 - 1

OP = Op("Slice", {}, (3, 5), _infer, _run, flow=_flow, resize_constants=_resize_constants, cases=(
    _case("channels", (2, 7, 4, 3), (2,), (5,), (1,)),
    _case("steps", (5, 6, 5), (0, 1), (4, 6), (0, 1), (2, 3)),
    _case("default_axes", (5, 6, 2), (1, 0), (3, 4)),
    _case("negative", (5, 6), (-4,), (-1,), (-1,)),
    _case("clamped", (5, 6), (-99, 2), (2, END), (0, 1)),
    _case("backwards", (5, 6), (4, -1), (1, -99), (0, 1), (-1, -2)),
    _case("backwards_from_before", (5, 6), (-9, 2), (-99, -8), (0, 1), (-1, -2)),
    _case("no_axes", (5, 6), (0, 5), (5, 0), None, (2, -1)),
    _case("nothing", (5, 6), (3,), (3,), (1,)),
    _case("whole", (2, 5), (0,), (END,), (1,)),
    _case("focus", (1, 3, 6, 4), (1,), (END,), (2,), (2,)),
    _case("shape", (4,), (1,), (3,), dtype="int64"),
    _case("int32", (3, 4), (0, 1), (2, 3), kind="int32", dtype="int16"),
))
