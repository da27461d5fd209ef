"""Split: consecutive stretches along ``axis``, of the lengths of input 1, or ``num_outputs`` equal ones of which the last may be shorter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any

import numpy as np

from ...formats.graph import Node
from ._check import given, need, positive_axis, want_dtype, want_rank, where
from ._flow import tie_same
from ._known import ints, known_ints, with_values
from ._op import Arg, Case, Gone, Op, OpError, Tie, Type


def _lengths(place: str, attrs: Mapping[str, Any], whole: int, sizes: Sequence[int] | None) -> list[int]:
    """The length of every part. Raises OpError if they do not make up the ``whole``."""
    count = attrs["num_outputs"]
    if (sizes is None) == (count is None):
        raise OpError(f"{place} has {'neither' if sizes is None else 'both'} lengths {'nor' if sizes is None else 'and'} num_outputs; "
                      "it takes one of them")
    if sizes is None:
        if count < 1:
            raise OpError(f"{place} has num_outputs {count}; it takes 1 or more")
        each = -(-whole // count)
        sizes = [each] * (count - 1) + [whole - each * (count - 1)]
    if sum(sizes) != whole or min(sizes, default=0) < 0:
        raise OpError(f"{place} splits an axis of {whole} into {', '.join(map(str, sizes)) or 'nothing'}")
    return list(sizes)


def _infer(node: Node, attrs: Mapping[str, Any], args: Sequence[Type | None]) -> list[Type]:
    x, sizes = need(node, args, 0, "data"), given(args, 1)
    want_rank(node, x, 1)
    axis = positive_axis(where(node), attrs["axis"], len(x.shape))
    if sizes is not None:
        want_dtype(node, sizes, ("int64",), "lengths")
        want_rank(node, sizes, 1, "lengths'", 1)
        if sizes.value is None:
            return []
    lengths = _lengths(where(node), attrs, x.shape[axis], ints(sizes))
    if len(node.outputs) > len(lengths):
        raise OpError(f"{where(node)} has {len(node.outputs)} outputs for {len(lengths)} parts")
    kinds = [Type(x.dtype, (*x.shape[:axis], length, *x.shape[axis + 1:])) for length in lengths]
    return with_values(kinds, args, lambda *values: _run(attrs, *values))


def _run(attrs: Mapping[str, Any], x: np.ndarray, sizes: np.ndarray | None = None) -> tuple[np.ndarray, ...]:
    axis = positive_axis("Split", attrs["axis"], x.ndim)
    lengths = _lengths("Split", attrs, x.shape[axis], None if sizes is None else [int(size) for size in sizes.ravel()])
    return tuple(np.split(x, list(accumulate(lengths))[:-1], axis))


def _flow(node: Node, attrs: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]], tie: Tie) -> None:
    """Each part has its stretch of the input; the other axes pass through. Without lengths of their own all parts stay equally long."""
    x = node.inputs[0]
    rank = len(shapes[x])
    axis = positive_axis(where(node), attrs["axis"], rank)
    sizes = known_ints(shapes, node, 1)
    follows = sizes is not None or len(node.inputs) < 2 or not node.inputs[1]
    lengths = _lengths(where(node), attrs, shapes[x][axis], sizes) if follows else []
    if sizes is None and len(set(lengths)) > 1:
        lengths = []
    starts = [0, *accumulate(lengths)]
    for place, y in enumerate(node.outputs):
        if y:
            tie_same(tie, x, y, (other for other in range(rank) if other != axis))
            if lengths:
                tie((x, axis), (y, axis), np.arange(starts[place], starts[place + 1]), np.arange(lengths[place]))
    for start in starts[1:-1] if sizes is None else ():
        tie((x, axis), (x, axis), np.arange(lengths[0]), np.arange(start, start + lengths[0]))


def _resize_constants(attrs: Mapping[str, Any], constants: Mapping[int, np.ndarray], outputs: Sequence[tuple[int, ...]],
                      gone: Gone) -> dict[int, np.ndarray]:
    """The lengths after channels were removed."""
    if 1 not in constants:
        return {}
    sizes = constants[1].copy()
    _, removed = gone.get((0, attrs["axis"] % len(outputs[0])), (0, ()))
    bounds = np.concatenate([[0], np.cumsum(constants[1])])
    for place in range(sizes.size):
        sizes[place] -= sum(bounds[place] <= index < bounds[place + 1] for index in removed)
    return {1: sizes}


def _case(name: str, x: Arg, sizes: Sequence[int] | None = None, **attrs: int) -> Case:
    given_sizes = () if sizes is None else (Arg((len(sizes),), "int64", value=list(sizes), constant=True),)
    return Case(name, (x, *given_sizes), attrs)


OP = Op("Split", {"axis": 0, "num_outputs": None}, (1, 2), _infer, _run, flow=_flow, resize_constants=_resize_constants, cases=(
    _case("halves", Arg((2, 6, 3, 3)), axis=1, num_outputs=2),
    _case("uneven", Arg((2, 7)), axis=1, num_outputs=3),
    _case("lengths", Arg((2, 6, 2, 2)), (2, 3, 1), axis=1),
    _case("first", Arg((6, 2)), (4, 2)),
    _case("negative", Arg((2, 3, 4)), axis=-1, num_outputs=2),
    _case("with_empty", Arg((5,), "int8", -9, 9), (3, 0, 2)),
    _case("shape", Arg((4,), "int64", value=[1, 3, 7, 5]), (2, 2)),
    _case("alone", Arg((3, 2)), axis=0, num_outputs=1),
))
