"""BatchNormalization in inference: ``(x - mean) · scale / √(variance + epsilon) + bias`` per channel (axis 1)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...formats.graph import Node
from ._check import FLOATS, need, text, want_dtype, want_rank, where
from ._flow import same_everywhere
from ._op import Arg, Case, Op, OpError, Tie, Type

PARAMETERS = ("scale", "bias", "mean", "variance")


def _infer(node: Node, attrs: Mapping[str, Any], args: Sequence[Type | None]) -> list[Type]:
    x = need(node, args, 0, "data")
    want_dtype(node, x, FLOATS)
    want_rank(node, x, 2)
    if attrs["training_mode"]:
        raise OpError(f"{where(node)} has training_mode {attrs['training_mode']}; only inference (0) is supported")
    if any(node.outputs[1:]):
        raise OpError(f"{where(node)} has {len(node.outputs)} outputs; in inference it has one")
    for place, what in enumerate(PARAMETERS, 1):
        found = need(node, args, place, what)
        want_dtype(node, found, FLOATS, what)
        if found.shape != x.shape[1:2]:
            raise OpError(f"{where(node)} has a {what} of the shape {text(found.shape)}; it takes {x.shape[1]} numbers")
    return [Type(x.dtype, x.shape)]


def _run(attrs: Mapping[str, Any], x: np.ndarray, scale: np.ndarray, bias: np.ndarray, mean: np.ndarray,
         variance: np.ndarray) -> tuple[np.ndarray, ...]:
    wide = np.result_type(x, variance, np.float32)
    factor = scale.astype(wide) / np.sqrt(variance.astype(wide) + wide.type(attrs["epsilon"]))
    along = (-1, *(1,) * (x.ndim - 2))
    y = (x - mean.astype(wide).reshape(along)) * factor.reshape(along) + bias.astype(wide).reshape(along)
    return (y.astype(x.dtype, copy=False),)


def _flow(node: Node, attrs: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]], tie: Tie) -> None:
    same_everywhere(node, attrs, shapes, tie)
    for name in node.inputs[1:]:
        tie((node.inputs[0], 1), (name, 0))


def _case(name: str, x: tuple[int, ...], bench: bool = False, **attrs: Any) -> Case:
    channels = x[1:2]
    parameters = (Arg(channels, low=0.5, high=2, weight=True), Arg(channels, weight=True), Arg(channels, weight=True),
                  Arg(channels, low=0.1, high=3, weight=True))
    return Case(name, (Arg(x), *parameters), attrs, bench)


OP = Op("BatchNormalization", {"epsilon": float(np.float32(1e-5)), "momentum": float(np.float32(0.9)), "training_mode": 0}, (5, 5),
        _infer, _run, flow=_flow, cases=(
    _case("image", (2, 5, 7, 3)),
    _case("features", (3, 17)),
    _case("line", (2, 3, 11)),
    _case("volume", (1, 3, 2, 4, 3)),
    _case("epsilon", (1, 6, 5, 5), epsilon=0.125),
    _case("mobilenet", (1, 96, 56, 56), bench=True),
))
