"""ScatterND: y = x, with the block y[row] = updates[...] (or reduced with it) for each row of the indices [..., k]."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...formats.graph import Node
from ._check import need, text, want_dtype, want_rank, want_same_dtype, where
from ._index import tuples, tuples_fit
from ._known import with_value
from ._op import Arg, Case, Op, OpError, Type
from ._scatter import check_reduction, scattered


def _infer(node: Node, attrs: Mapping[str, Any], args: Sequence[Type | None]) -> list[Type]:
    x, indices, updates = need(node, args, 0, "data"), need(node, args, 1, "indices"), need(node, args, 2, "updates")
    place = where(node)
    want_rank(node, x, 1)
    want_dtype(node, indices, ("int64",), "indices")
    want_same_dtype(node, (x, updates))
    check_reduction(place, attrs["reduction"], x)
    wanted = tuples_fit(place, indices.shape, x.shape)
    if updates.shape != wanted:
        raise OpError(f"{place} has updates of the shape {text(updates.shape)}; its indices ask for {text(wanted)}")
    if indices.value is not None:
        tuples(place, indices.value, x.shape)
    return [with_value(Type(x.dtype, x.shape), args, lambda *values: _run(attrs, *values))]


def _run(attrs: Mapping[str, Any], x: np.ndarray, indices: np.ndarray, updates: np.ndarray) -> tuple[np.ndarray, ...]:
    return (scattered(x, tuples("ScatterND", indices, x.shape), updates, attrs["reduction"]),)


def _case(name: str, x: Arg, indices: Any, reduction: str = "none") -> Case:
    shape = np.shape(indices)
    updates = (*shape[:-1], *x.shape[shape[-1]:])
    return Case(name, (x, Arg(shape, "int64", value=indices), Arg(updates, x.dtype, x.low, x.high)),
                {"reduction": reduction} if reduction != "none" else {})


OP = Op("ScatterND", {"reduction": "none"}, (3, 3), _infer, _run, cases=(
    _case("elements", Arg((8,)), [[4], [3], [-1]]),
    _case("rows", Arg((4, 3)), [[0], [-2]]),
    _case("corners", Arg((2, 2, 3), "float64"), [[[0, 1]], [[1, 0]]]),
    _case("added", Arg((4, 3)), [[0], [0], [2]], "add"),
    _case("multiplied", Arg((4, 3)), [[0], [0], [2]], "mul"),
    _case("least", Arg((4, 3), "int32", -9, 9), [[0], [0], [2]], "min"),
    _case("greatest", Arg((4, 3)), [[0], [0], [2]], "max"),
    _case("bool", Arg((2, 2), "bool"), [[0, 1]]),
    _case("none", Arg((4, 2)), np.zeros((0, 1), np.int64)),
))
