"""GroupNormalization: mean 0 and variance 1 per sample and group of channels, then scaled and shifted per channel (axis 1)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...formats.graph import Node
from ._check import FLOATS, need, want_dtype, want_rank, want_same_dtype, where
from ._flow import tie_same
from ._norm import EPSILON, scaled, standardized, stash, want_per_channel
from ._op import REQUIRED, Arg, Case, Op, OpError, Tie, Type


def _infer(node: Node, attrs: Mapping[str, Any], args: Sequence[Type | None]) -> list[Type]:
    x = need(node, args, 0, "data")
    want_dtype(node, x, FLOATS)
    want_same_dtype(node, args)
    want_rank(node, x, 3)
    stash(where(node), attrs["stash_type"])
    for place, what in enumerate(("scale", "bias"), 1):
        want_per_channel(node, need(node, args, place, what), x.shape[1], what)
    if attrs["num_groups"] < 1 or x.shape[1] % attrs["num_groups"]:
        raise OpError(f"{where(node)} has num_groups {attrs['num_groups']}; it takes a divisor of its {x.shape[1]} channels")
    return [Type(x.dtype, x.shape)]


def _run(attrs: Mapping[str, Any], x: np.ndarray, scale: np.ndarray, bias: np.ndarray) -> tuple[np.ndarray, ...]:
    groups = attrs["num_groups"]
    grouped = x.reshape(x.shape[0], groups, x.shape[1] // groups, *x.shape[2:])
    normal, *_ = standardized(grouped, range(2, grouped.ndim), attrs["epsilon"], stash("GroupNormalization", attrs["stash_type"]))
    along = (-1, *(1,) * (x.ndim - 2))
    return (scaled(normal.reshape(x.shape), x.dtype, scale.reshape(along), bias.reshape(along)),)


def _flow(node: Node, attrs: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]], tie: Tie) -> None:
    """A channel less changes the statistics of its group; only the batch passes through."""
    tie_same(tie, node.inputs[0], node.outputs[0], (0,))


def _case(name: str, x: tuple[int, ...], groups: int, bench: bool = False, **attrs: Any) -> Case:
    channels = x[1:2]
    args = (Arg(x, low=-3, high=3), Arg(channels, low=0.5, high=2, weight=True), Arg(channels, weight=True))
    return Case(name, args, {"num_groups": groups, **attrs}, bench)


OP = Op("GroupNormalization", {"epsilon": EPSILON, "num_groups": REQUIRED, "stash_type": 1}, (3, 3), _infer, _run, flow=_flow, cases=(
    _case("image", (2, 6, 5, 3), 3),
    _case("one_group", (2, 5, 4, 4), 1),
    _case("instances", (1, 5, 4, 4), 5),
    _case("line", (2, 4, 11), 2),
    _case("volume", (1, 4, 2, 4, 3), 2),
    _case("epsilon", (1, 6, 5, 5), 2, epsilon=0.125),
    _case("unet", (1, 64, 28, 28), 32, bench=True),
))
