"""InstanceNormalization: mean 0 and variance 1 per sample and channel, then scaled and shifted per channel (axis 1)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...formats.graph import Node
from ._check import FLOATS, need, want_dtype, want_rank, want_same_dtype
from ._flow import tie_same
from ._norm import EPSILON, scaled, standardized, want_per_channel
from ._op import Arg, Case, Op, Tie, Type


def _infer(node: Node, attrs: Mapping[str, Any], args: Sequence[Type | None]) -> list[Type]:
    x = need(node, args, 0, "data")
    want_dtype(node, x, FLOATS)
    want_same_dtype(node, args)
    want_rank(node, x, 3)
    for place, what in enumerate(("scale", "bias"), 1):
        want_per_channel(node, need(node, args, place, what), x.shape[1], what)
    return [Type(x.dtype, x.shape)]


def _run(attrs: Mapping[str, Any], x: np.ndarray, scale: np.ndarray, bias: np.ndarray) -> tuple[np.ndarray, ...]:
    normal, *_ = standardized(x, range(2, x.ndim), attrs["epsilon"], "float32")
    along = (-1, *(1,) * (x.ndim - 2))
    return (scaled(normal, x.dtype, scale.reshape(along), bias.reshape(along)),)


def _flow(node: Node, attrs: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]], tie: Tie) -> None:
    tie_same(tie, node.inputs[0], node.outputs[0], (0, 1))
    for name in node.inputs[1:]:
        tie((node.inputs[0], 1), (name, 0))


def _case(name: str, x: tuple[int, ...], bench: bool = False, **attrs: Any) -> Case:
    channels = x[1:2]
    return Case(name, (Arg(x, low=-3, high=3), Arg(channels, low=0.5, high=2, weight=True), Arg(channels, weight=True)), attrs, bench)


OP = Op("InstanceNormalization", {"epsilon": EPSILON}, (3, 3), _infer, _run, flow=_flow, cases=(
    _case("image", (2, 5, 7, 3)),
    _case("line", (2, 3, 11)),
    _case("volume", (1, 3, 2, 4, 3)),
    _case("epsilon", (1, 6, 5, 5), epsilon=0.125),
    _case("style", (1, 32, 56, 56), bench=True),
))
