"""ScatterElements: y = x, with y[i, indices[i, j, k], k] = updates[i, j, k] (or reduced with it), for axis 1."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...formats.graph import Node
from ._check import INDICES, need, positive_axis, text, want_dtype, want_rank, want_same_dtype, where
from ._index import along, check_reach, checked
from ._known import with_value
from ._op import Arg, Case, Op, OpError, Type
from ._scatter import check_reduction, scattered


def _infer(node: Node, attrs: Mapping[str, Any], args: Sequence[Type | None]) -> list[Type]:
    x, indices, updates = need(node, args, 0, "data"), need(node, args, 1, "indices"), need(node, args, 2, "updates")
    place = where(node)
    want_rank(node, x, 1)
    want_dtype(node, indices, INDICES, "indices")
    want_same_dtype(node, (x, updates))
    check_reduction(place, attrs["reduction"], x)
    axis = positive_axis(place, attrs["axis"], len(x.shape))
    if updates.shape != indices.shape:
        raise OpError(f"{place} has updates of the shape {text(updates.shape)} for indices of the shape {text(indices.shape)}")
    check_reach(place, "indices", indices.shape, x.shape, axis)
    if indices.value is not None:
        checked(place, indices.value, x.shape[axis])
    return [with_value(Type(x.dtype, x.shape), args, lambda *values: _run(attrs, *values))]


def _run(attrs: Mapping[str, Any], x: np.ndarray, indices: np.ndarray, updates: np.ndarray) -> tuple[np.ndarray, ...]:
    axis = positive_axis("ScatterElements", attrs["axis"], x.ndim)
    return (scattered(x, along(axis, checked("ScatterElements", indices, x.shape[axis])), updates, attrs["reduction"]),)


def _case(name: str, x: Arg, indices: Any, dtype: str = "int64", **attrs: Any) -> Case:
    return Case(name, (x, Arg(np.shape(indices), dtype, value=indices), Arg(np.shape(indices), x.dtype, x.low, x.high)), attrs)


TWICE = [[1, 1], [-1, 2], [1, 1]]

OP = Op("ScatterElements", {"axis": 0, "reduction": "none"}, (3, 3), _infer, _run, cases=(
    _case("rows", Arg((3, 3)), [[1, 0, 2], [0, 2, 1]]),
    _case("columns", Arg((1, 5)), [[1, 3]], axis=1),
    _case("negative", Arg((1, 5), "int8", -9, 9), [[1, -2]], "int32", axis=-1),
    _case("added", Arg((3, 3)), TWICE, axis=1, reduction="add"),
    _case("multiplied", Arg((3, 3)), TWICE, axis=1, reduction="mul"),
    _case("least", Arg((3, 3)), TWICE, axis=1, reduction="min"),
    _case("greatest", Arg((3, 3), "int64", -9, 9), TWICE, axis=1, reduction="max"),
    _case("bool", Arg((4,), "bool"), [3, 0]),
    _case("none", Arg((4, 2)), np.zeros((0, 2), np.int64)),
))
