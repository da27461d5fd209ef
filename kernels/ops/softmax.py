"""Softmax: ``exp(x) / Σ exp(x)`` along one axis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...formats.graph import Node
from ._check import FLOATS, need, positive_axis, want_dtype, want_rank, where
from ._dtype import widened
from ._flow import tie_same
from ._op import Arg, Case, Op, Tie, Type


def _infer(node: Node, attrs: Mapping[str, Any], args: Sequence[Type | None]) -> list[Type]:
    x = need(node, args, 0, "data")
    want_dtype(node, x, FLOATS)
    want_rank(node, x, 1)
    positive_axis(where(node), attrs["axis"], len(x.shape))
    return [Type(x.dtype, x.shape)]


def _run(attrs: Mapping[str, Any], x: np.ndarray) -> tuple[np.ndarray, ...]:
    (wide,) = widened(x)
    axis = attrs["axis"]
    y = np.exp(wide - wide.max(axis=axis, keepdims=True, initial=-np.inf))
    y /= y.sum(axis=axis, keepdims=True)
    return (y.astype(x.dtype, copy=False),)


def _flow(node: Node, attrs: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]], tie: Tie) -> None:
    """Along the axis every element counts, even one that is zero; the other axes pass through."""
    rank = len(shapes[node.inputs[0]])
    axis = positive_axis(where(node), attrs["axis"], rank)
    tie_same(tie, node.inputs[0], node.outputs[0], (other for other in range(rank) if other != axis))


def _case(name: str, x: tuple[int, ...], low: float = -4, high: float = 4, bench: bool = False, **attrs: Any) -> Case:
    return Case(name, (Arg(x, low=low, high=high),), attrs, bench)


OP = Op("Softmax", {"axis": -1}, (1, 1), _infer, _run, flow=_flow, cases=(
    _case("classes", (3, 17)),
    _case("channels", (2, 5, 3, 7), axis=1),
    _case("first", (4, 3), axis=0),
    _case("negative", (2, 5, 3, 7), axis=-2),
    _case("vector", (33,)),
    _case("one", (5, 1)),
    _case("large", (2, 9), low=900, high=1000),
    _case("small", (2, 9), low=-1000, high=-900),
    _case("imagenet", (1, 1000), bench=True),
    _case("attention", (8, 64, 64), bench=True),
))
