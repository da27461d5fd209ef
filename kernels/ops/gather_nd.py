"""GatherND: each row of the indices [..., k] picks the block x[row]; the first ``batch_dims`` axes of both go together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...formats.graph import Node
from ._check import need, want_dtype, want_rank, where
from ._index import tuples, tuples_fit
from ._known import with_value
from ._op import Arg, Case, Op, Type


def _infer(node: Node, attrs: Mapping[str, Any], args: Sequence[Type | None]) -> list[Type]:
    x, indices = need(node, args, 0, "data"), need(node, args, 1, "indices")
    want_rank(node, x, 1)
    want_dtype(node, indices, ("int64",), "indices")
    kind = Type(x.dtype, tuples_fit(where(node), indices.shape, x.shape, attrs["batch_dims"]))
    if indices.value is not None:
        tuples(where(node), indices.value, x.shape, attrs["batch_dims"])
    return [with_value(kind, args, lambda *values: _run(attrs, *values))]


def _run(attrs: Mapping[str, Any], x: np.ndarray, indices: np.ndarray) -> tuple[np.ndarray, ...]:
    return (np.asarray(x[tuples("GatherND", indices, x.shape, attrs["batch_dims"])], x.dtype),)


def _case(name: str, x: Arg, indices: Any, **attrs: int) -> Case:
    return Case(name, (x, Arg(np.shape(indices), "int64", value=indices)), attrs)


OP = Op("GatherND", {"batch_dims": 0}, (2, 2), _infer, _run, cases=(
    _case("elements", Arg((2, 3)), [[0, 0], [1, -1]]),
    _case("rows", Arg((2, 3)), [[1], [0], [-2]]),
    _case("blocks", Arg((2, 2, 3), "uint8", 0, 99), [[[0, 1]], [[1, 0]]]),
    _case("batch", Arg((2, 2, 3)), [[1], [0]], batch_dims=1),
    _case("two_batches", Arg((2, 3, 4)), [[[0], [1], [-1]], [[2], [3], [0]]], batch_dims=2),
    _case("scalar", Arg((4,), "bool"), [2]),
    _case("none", Arg((4, 2)), np.zeros((0, 1), np.int64)),
))
