"""GlobalAveragePool: the mean of each channel over all spatial positions; the spatial axes stay, with length 1."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...formats.graph import Node
from ._check import FLOATS, need, want_dtype, want_rank
from ._dtype import widened
from ._flow import batch_and_channels
from ._op import Arg, Case, Op, Type


def _infer(node: Node, attrs: Mapping[str, Any], args: Sequence[Type | None]) -> list[Type]:
    x = need(node, args, 0, "data")
    want_dtype(node, x, FLOATS)
    want_rank(node, x, 2)
    return [Type(x.dtype, (*x.shape[:2], *(1,) * (len(x.shape) - 2)))]


def _run(attrs: Mapping[str, Any], x: np.ndarray) -> tuple[np.ndarray, ...]:
    (wide,) = widened(x)
    return (np.asarray(wide.mean(axis=tuple(range(2, x.ndim)), keepdims=True)).astype(x.dtype, copy=False),)


OP = Op("GlobalAveragePool", {}, (1, 1), _infer, _run, flow=batch_and_channels, cases=(
    Case("image", (Arg((2, 5, 7, 9)),)),
    Case("one_pixel", (Arg((1, 17, 1, 1)),)),
    Case("line", (Arg((2, 3, 11)),)),
    Case("volume", (Arg((1, 3, 4, 5, 3)),)),
    Case("mobilenet", (Arg((1, 1280, 7, 7)),), bench=True),
))
