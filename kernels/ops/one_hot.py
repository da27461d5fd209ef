"""OneHot: along a new ``axis`` of the length ``depth`` the value ``on`` at the place that the index names, elsewhere ``off``.

``values`` is [off, on]. Negative indices count from the end; one that is outside gets ``off`` everywhere.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...formats.graph import Node
from ._check import NUMBERS, need, positive_axis, text, want_dtype, where
from ._known import with_value
from ._op import Arg, Case, Op, OpError, Type


def _infer(node: Node, attrs: Mapping[str, Any], args: Sequence[Type | None]) -> list[Type]:
    indices, depth, values = need(node, args, 0, "indices"), need(node, args, 1, "depth"), need(node, args, 2, "values")
    want_dtype(node, indices, NUMBERS, "indices")
    want_dtype(node, depth, NUMBERS, "depth")
    if depth.size != 1:
        raise OpError(f"{where(node)} has a depth of the shape {text(depth.shape)}; it takes one number")
    if values.shape != (2,):
        raise OpError(f"{where(node)} has values of the shape {text(values.shape)}; it takes off and on")
    axis = positive_axis(where(node), attrs["axis"], len(indices.shape) + 1)
    if depth.value is None:
        return []
    kind = Type(values.dtype, (*indices.shape[:axis], _depth(where(node), depth.value), *indices.shape[axis:]))
    return [with_value(kind, args, lambda *known: _run(attrs, *known))]


def _depth(place: str, depth: np.ndarray) -> int:
    found = int(depth.reshape(()).astype(np.int64))
    if found < 0:
        raise OpError(f"{place} has the depth {found}; it takes 0 or more")
    return found


def _run(attrs: Mapping[str, Any], indices: np.ndarray, depth: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, ...]:
    length, axis = _depth("OneHot", depth), positive_axis("OneHot", attrs["axis"], indices.ndim + 1)
    whole = indices.astype(np.int64)
    counted = np.expand_dims(np.where(whole < 0, whole + length, whole), axis)
    places = np.arange(length).reshape(-1, *(1,) * (indices.ndim - axis))
    return (np.where(counted == places, values[1], values[0]),)


def _case(name: str, indices: Arg, depth: Any, values: Arg, dtype: str = "int64", **attrs: int) -> Case:
    return Case(name, (indices, Arg(np.shape(depth), dtype, value=depth, constant=True), values), attrs)


OP = Op("OneHot", {"axis": -1}, (3, 3), _infer, _run, cases=(
    _case("labels", Arg((5,), "int64", 0, 6), 7, Arg((2,), value=[0, 1])),
    _case("axis", Arg((2, 3), "int32", 0, 3), [4], Arg((2,), "int32", value=[1, 3]), axis=1),
    _case("first_axis", Arg((2, 3), "int64", 0, 3), 4, Arg((2,), value=[-1, 2]), axis=0),
    _case("negative_and_outside", Arg((4,), "int64", value=[-1, -7, 6, 7]), 7, Arg((2,), value=[0, 1])),
    _case("float_indices", Arg((3,), value=[0, 2, -1]), 3.0, Arg((2,), "bool", value=[False, True]), "float32"),
    _case("int8", Arg((2,), "int64", value=[2, 0]), 4, Arg((2,), "int8", value=[0, 1])),
))
