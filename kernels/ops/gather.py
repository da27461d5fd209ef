"""Gather: the slices of ``axis`` that an index tensor names; negative indices count from the end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...formats.graph import Node
from ._check import INDICES, need, positive_axis, want_dtype, want_rank, where
from ._flow import tie_pairs
from ._index import checked
from ._known import with_value
from ._op import Arg, Case, Op, Tie, Type


def _infer(node: Node, attrs: Mapping[str, Any], args: Sequence[Type | None]) -> list[Type]:
    x, indices = need(node, args, 0, "data"), need(node, args, 1, "indices")
    want_rank(node, x, 1)
    want_dtype(node, indices, INDICES, "indices")
    axis = positive_axis(where(node), attrs["axis"], len(x.shape))
    if indices.value is not None:
        checked(where(node), indices.value, x.shape[axis])
    kind = Type(x.dtype, x.shape[:axis] + indices.shape + x.shape[axis + 1:])
    return [with_value(kind, args, lambda *values: _run(attrs, *values))]


def _run(attrs: Mapping[str, Any], x: np.ndarray, indices: np.ndarray) -> tuple[np.ndarray, ...]:
    picked = checked("Gather", indices, x.shape[attrs["axis"]])
    return (np.asarray(np.take(x, picked.astype(np.intp), axis=attrs["axis"]), x.dtype),)


def _flow(node: Node, attrs: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]], tie: Tie) -> None:
    """The other axes pass through; the one that is indexed, and the indices themselves, stay as they are."""
    (x, indices), y = node.inputs, node.outputs[0]
    rank, added = len(shapes[x]), len(shapes[indices])
    axis = positive_axis(where(node), attrs["axis"], rank)
    tie_pairs(tie, x, y, ((other, other if other < axis else other + added - 1) for other in range(rank) if other != axis))


def _case(name: str, x: Arg, indices: Any, axis: int = 0, dtype: str = "int64") -> Case:
    array = np.asarray(indices)
    return Case(name, (x, Arg(array.shape, dtype, value=indices)), {"axis": axis} if axis else {})


OP = Op("Gather", {"axis": 0}, (2, 2), _infer, _run, flow=_flow, cases=(
    _case("rows", Arg((7, 3), weight=True), [0, 6, 2, 2]),
    _case("matrix_of_rows", Arg((7, 3), weight=True), [[0, 6], [-1, 1], [3, 3]]),
    _case("columns", Arg((2, 5, 3)), [4, 0], axis=1),
    _case("negative_axis", Arg((2, 5, 3)), [[2, 0]], axis=-1),
    _case("scalar_index", Arg((2, 5, 3)), 3, axis=1),
    _case("shape", Arg((4,), "int64", value=[1, 3, 224, 224]), 2),
    _case("int32_indices", Arg((7, 3)), [5, -7], dtype="int32"),
    _case("none", Arg((4, 2)), np.zeros((0,), np.int64)),
))
