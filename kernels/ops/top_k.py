"""TopK: the ``k`` largest (or smallest) elements along ``axis`` and their places, sorted; of equal ones the first comes first.

NaN counts as the greatest of all, as NumPy and torch sort it. The order without ``sorted`` is ours to choose: it is the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...formats.graph import Node
from ._check import NUMBERS, need, positive_axis, text, want_dtype, want_rank, where
from ._flow import tie_same
from ._known import with_values
from ._op import Arg, Case, Op, OpError, Tie, Type


def _count(place: str, k: np.ndarray, length: int) -> int:
    found = int(k.reshape(()))
    if not 0 <= found <= length:
        raise OpError(f"{place} asks for {found} elements along an axis of {length}")
    return found


def _infer(node: Node, attrs: Mapping[str, Any], args: Sequence[Type | None]) -> list[Type]:
    x, k = need(node, args, 0, "data"), need(node, args, 1, "k")
    want_dtype(node, x, NUMBERS)
    want_rank(node, x, 1)
    want_dtype(node, k, ("int64",), "k")
    if k.size != 1:
        raise OpError(f"{where(node)} has a k of the shape {text(k.shape)}; it takes one number")
    axis = positive_axis(where(node), attrs["axis"], len(x.shape))
    if k.value is None:
        return []
    shape = (*x.shape[:axis], _count(where(node), k.value, x.shape[axis]), *x.shape[axis + 1:])
    return with_values([Type(x.dtype, shape), Type("int64", shape)], args, lambda *values: _run(attrs, *values))


def _run(attrs: Mapping[str, Any], x: np.ndarray, k: np.ndarray) -> tuple[np.ndarray, ...]:
    axis = positive_axis("TopK", attrs["axis"], x.ndim)
    count, length = _count("TopK", k, x.shape[axis]), x.shape[axis]
    # For the largest, sorted backwards and turned round, so that of equal elements the first stays first.
    order = np.argsort(np.flip(x, axis) if attrs["largest"] else x, axis, kind="stable")
    places = np.take(length - 1 - np.flip(order, axis) if attrs["largest"] else order, np.arange(count, dtype=np.intp), axis)
    return np.take_along_axis(x, places, axis), places.astype(np.int64)


def _flow(node: Node, attrs: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]], tie: Tie) -> None:
    """Each line along the axis is sorted alone, so that the other axes pass through."""
    rank = len(shapes[node.inputs[0]])
    for output in filter(None, node.outputs):
        tie_same(tie, node.inputs[0], output, (axis for axis in range(rank) if axis != attrs["axis"] % rank))


def _case(name: str, x: Arg, k: int, **attrs: int) -> Case:
    return Case(name, (x, Arg((1,), "int64", value=[k], constant=True)), attrs)


OP = Op("TopK", {"axis": -1, "largest": 1, "sorted": 1}, (2, 2), _infer, _run, flow=_flow, cases=(
    _case("classes", Arg((3, 7)), 3),
    _case("smallest", Arg((3, 7)), 2, largest=0),
    _case("axis", Arg((4, 5, 2)), 2, axis=1),
    _case("equal", Arg((1, 6), value=[[1, 2, 2, 0, 2, 1]]), 4),
    _case("equal_smallest", Arg((6,), "uint8", value=[1, 0, 2, 0, 2, 1]), 3, largest=0),
    _case("int64", Arg((2, 5), "int64", -9, 9), 5, axis=-1),
    _case("unsorted", Arg((2, 5)), 1, sorted=0),
    _case("none", Arg((2, 5)), 0),
))
