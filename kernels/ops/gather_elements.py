"""GatherElements: y[i, j, k] = x[i, indices[i, j, k], k], for axis 1; negative indices count from the end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...formats.graph import Node
from ._check import INDICES, need, positive_axis, want_dtype, want_rank, where
from ._index import along, check_reach, checked
from ._known import with_value
from ._op import Arg, Case, Op, Type


def _infer(node: Node, attrs: Mapping[str, Any], args: Sequence[Type | None]) -> list[Type]:
    x, indices = need(node, args, 0, "data"), need(node, args, 1, "indices")
    want_rank(node, x, 1)
    want_dtype(node, indices, INDICES, "indices")
    axis = positive_axis(where(node), attrs["axis"], len(x.shape))
    check_reach(where(node), "indices", indices.shape, x.shape, axis)
    if indices.value is not None:
        checked(where(node), indices.value, x.shape[axis])
    return [with_value(Type(x.dtype, indices.shape), args, lambda *values: _run(attrs, *values))]


def _run(attrs: Mapping[str, Any], x: np.ndarray, indices: np.ndarray) -> tuple[np.ndarray, ...]:
    axis = positive_axis("GatherElements", attrs["axis"], x.ndim)
    return (x[along(axis, checked("GatherElements", indices, x.shape[axis]))],)


def _case(name: str, x: Arg, indices: Any, axis: int = 0, dtype: str = "int64") -> Case:
    array = np.asarray(indices)
    return Case(name, (x, Arg(array.shape, dtype, value=indices)), {"axis": axis} if axis else {})


OP = Op("GatherElements", {"axis": 0}, (2, 2), _infer, _run, cases=(
    _case("rows", Arg((3, 3)), [[1, 2, 0], [2, 0, 0]]),
    _case("negative", Arg((3, 3)), [[-1, -2, 0], [-2, 0, 0]]),
    _case("columns", Arg((2, 5)), [[4, 0, 0], [-5, 1, 3]], axis=1, dtype="int32"),
    _case("negative_axis", Arg((2, 3, 2), "int16", -9, 9), [[[1, 0, 1]] * 3] * 2, axis=-1),
    _case("bool", Arg((4,), "bool"), [3, 3, 0]),
    _case("none", Arg((4, 2)), np.zeros((0, 2), np.int64)),
))
