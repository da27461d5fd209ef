"""LpNormalization: ``x / ‖x‖`` along one axis, by the 1-norm or the 2-norm; zeros where the norm is 0."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...formats.graph import Node
from ._check import FLOATS, need, positive_axis, want_dtype, want_rank, where
from ._dtype import widened
from ._flow import tie_same
from ._op import Arg, Case, Op, OpError, Tie, Type


def _infer(node: Node, attrs: Mapping[str, Any], args: Sequence[Type | None]) -> list[Type]:
    x = need(node, args, 0, "data")
    want_dtype(node, x, FLOATS)
    want_rank(node, x, 1)
    positive_axis(where(node), attrs["axis"], len(x.shape))
    if attrs["p"] not in (1, 2):
        raise OpError(f"{where(node)} has p {attrs['p']}; it takes 1 or 2")
    return [Type(x.dtype, x.shape)]


def _run(attrs: Mapping[str, Any], x: np.ndarray) -> tuple[np.ndarray, ...]:
    (wide,) = widened(x)
    total = (np.abs(wide) if attrs["p"] == 1 else np.square(wide)).sum(axis=attrs["axis"], keepdims=True)
    norm = total if attrs["p"] == 1 else np.sqrt(total)
    return (np.where(norm == 0, wide.dtype.type(0), wide / np.where(norm == 0, wide.dtype.type(1), norm)).astype(x.dtype, copy=False),)


def _flow(node: Node, attrs: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]], tie: Tie) -> None:
    """Along the axis an element that is absent counts no more than a zero, so that every axis passes through."""
    tie_same(tie, node.inputs[0], node.outputs[0], range(len(shapes[node.inputs[0]])))


def _case(name: str, *shape: int, **attrs: Any) -> Case:
    return Case(name, (Arg(shape, low=-3, high=3),), attrs)


OP = Op("LpNormalization", {"axis": -1, "p": 2}, (1, 1), _infer, _run, flow=_flow, cases=(
    _case("vectors", 3, 17),
    _case("absolute", 3, 17, p=1),
    _case("channels", 2, 5, 3, 4, axis=1),
    _case("first_absolute", 4, 5, axis=0, p=1),
    Case("zeros", (Arg((2, 3), value=[[0, 0, 0], [1, -2, 2]]),)),
))
