"""MeanVarianceNormalization: ``(x - mean) / √(variance)`` over ``axes``; 1e-9 is added to the deviation, as in ONNX's own function."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...formats.graph import Node
from ._check import FLOATS, need, positive_axes, want_dtype, where
from ._dtype import widened
from ._flow import tie_same
from ._op import Arg, Case, Op, Tie, Type

SMALL = 1e-9


def _infer(node: Node, attrs: Mapping[str, Any], args: Sequence[Type | None]) -> list[Type]:
    x = need(node, args, 0, "data")
    want_dtype(node, x, FLOATS)
    positive_axes(where(node), attrs["axes"], len(x.shape))
    return [Type(x.dtype, x.shape)]


def _run(attrs: Mapping[str, Any], x: np.ndarray) -> tuple[np.ndarray, ...]:
    (wide,) = widened(x)
    axes = positive_axes("MeanVarianceNormalization", attrs["axes"], x.ndim)
    centred = wide - wide.mean(axis=axes, keepdims=True)
    deviation = np.sqrt(np.square(centred).mean(axis=axes, keepdims=True)) + wide.dtype.type(SMALL)
    return ((centred / deviation).astype(x.dtype, copy=False),)


def _flow(node: Node, attrs: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]], tie: Tie) -> None:
    """Axes that the statistics do not run over pass through."""
    rank = len(shapes[node.inputs[0]])
    gone = positive_axes(where(node), attrs["axes"], rank)
    tie_same(tie, node.inputs[0], node.outputs[0], (axis for axis in range(rank) if axis not in gone))


OP = Op("MeanVarianceNormalization", {"axes": (0, 2, 3)}, (1, 1), _infer, _run, flow=_flow, cases=(
    Case("image", (Arg((2, 3, 4, 5), low=-3, high=3),), {"axes": (0, 2, 3)}),
    Case("last", (Arg((2, 5, 7), low=-3, high=3),), {"axes": (-1,)}),
    Case("everything", (Arg((4, 6), low=-3, high=3),), {"axes": (0, 1)}),
))
