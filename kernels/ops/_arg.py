"""Makes ArgMax and ArgMin."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ...formats.graph import Node
from ._check import NUMBERS, need, positive_axis, want_dtype, want_rank, where
from ._flow import tie_pairs
from ._known import with_value
from ._op import Arg, Case, Op, OpError, Tie, Type


def arg_extreme(name: str, find: Callable[..., Any]) -> Op:
    """The operator that gives int64 indices along one axis, by NumPy's ``find``, which gives the first where several are alike."""
    def infer(node: Node, attrs: Mapping[str, Any], args: Sequence[Type | None]) -> list[Type]:
        x = need(node, args, 0, "data")
        want_dtype(node, x, NUMBERS)
        want_rank(node, x, 1)
        axis = _axis(where(node), attrs, x.shape)
        middle = (1,) if attrs["keepdims"] else ()
        return [with_value(Type("int64", (*x.shape[:axis], *middle, *x.shape[axis + 1:])), [x], lambda value: run(attrs, value))]

    def run(attrs: Mapping[str, Any], x: np.ndarray) -> tuple[np.ndarray, ...]:
        axis = _axis(name, attrs, x.shape)
        found = find(np.flip(x, axis) if attrs["select_last_index"] else x, axis=axis)
        indices = np.asarray(x.shape[axis] - 1 - found if attrs["select_last_index"] else found, np.int64)
        return (np.expand_dims(indices, axis) if attrs["keepdims"] else indices,)

    return Op(name, {"axis": 0, "keepdims": 1, "select_last_index": 0}, (1, 1), infer, run, _cases(), flow=_flow)


def _axis(place: str, attrs: Mapping[str, Any], shape: Sequence[int]) -> int:
    axis = positive_axis(place, attrs["axis"], len(shape))
    if shape[axis] == 0:
        raise OpError(f"{place} looks for an element along axis {axis} of length 0")
    return axis


def _flow(node: Node, attrs: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]], tie: Tie) -> None:
    """Along the axis every element counts; the other axes pass through."""
    x, y = node.inputs[0], node.outputs[0]
    rank = len(shapes[x])
    kept = [axis for axis in range(rank) if axis != positive_axis(where(node), attrs["axis"], rank)]
    tie_pairs(tie, x, y, ((axis, axis if attrs["keepdims"] else place) for place, axis in enumerate(kept)))


def _cases() -> tuple[Case, ...]:
    alike = Arg((3, 6), "int32", value=[[1, 3, 3, 0, 0, 2], [2, 2, 2, 2, 2, 2], [-1, 5, -1, 5, -1, 5]])
    return (Case("default", (Arg((3, 4)),)),
            Case("classes", (Arg((2, 9)),), {"axis": -1, "keepdims": 0}),
            Case("channels", (Arg((2, 5, 3, 4)),), {"axis": 1}),
            Case("first_alike", (alike,), {"axis": 1}),
            Case("last_alike", (alike,), {"axis": 1, "select_last_index": 1, "keepdims": 0}),
            Case("last_default", (Arg((4, 3), "uint8", 0, 2),), {"select_last_index": 1}))
