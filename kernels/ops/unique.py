"""Unique: the different elements (with ``axis``: slices), the place of each one's first occurrence, for each element the number of what
it equals, and how often each occurs. In ascending order, or in order of occurrence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...formats.graph import Node
from ._check import need, positive_axis, where
from ._known import only_values
from ._op import Arg, Case, Op, Type


def _infer(node: Node, attrs: Mapping[str, Any], args: Sequence[Type | None]) -> list[Type]:
    x = need(node, args, 0, "data")
    if attrs["axis"] is not None:
        positive_axis(where(node), attrs["axis"], len(x.shape))
    return only_values(args, lambda value: _run(attrs, value))


def _run(attrs: Mapping[str, Any], x: np.ndarray) -> tuple[np.ndarray, ...]:
    axis = attrs["axis"]
    y, first, numbers, counts = np.unique(x, return_index=True, return_inverse=True, return_counts=True, axis=axis)
    numbers = numbers.ravel()  # NumPy 2 shapes it like the input
    if not attrs["sorted"]:
        order = np.argsort(first)
        y = np.take(y, order, 0 if axis is None else axis)
        first, counts, numbers = first[order], counts[order], np.argsort(order)[numbers]
    return y, *(array.astype(np.int64) for array in (first, numbers, counts))


OP = Op("Unique", {"axis": None, "sorted": 1}, (1, 1), _infer, _run, cases=(
    Case("flat", (Arg((3, 4), "int64", 0, 5),)),
    Case("by_occurrence", (Arg((9,), "int64", 0, 5),), {"sorted": 0}),
    Case("rows", (Arg((6, 2), "int64", 0, 1),), {"axis": 0}),
    Case("columns_by_occurrence", (Arg((2, 7), "int64", 0, 1),), {"axis": -1, "sorted": 0}),
    Case("floats", (Arg((6,), value=[2.5, 1, 1, 3, 4, 3]),)),
    Case("uint8", (Arg((5,), "uint8", 0, 2),)),
))
