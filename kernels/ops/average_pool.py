"""AveragePool: the mean of each window, over its elements inside the image or (count_include_pad) inside the padded image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...formats.graph import Node
from ._check import FLOATS, need, want_dtype, want_rank, where
from ._dtype import widened
from ._flow import batch_and_channels
from ._op import REQUIRED, Arg, Case, Op, Type
from ._pool_cases import pool_cases
from ._window import ATTRIBUTES, Window, window


def _infer(node: Node, attrs: Mapping[str, Any], args: Sequence[Type | None]) -> list[Type]:
    x = need(node, args, 0, "data")
    want_dtype(node, x, FLOATS)
    want_rank(node, x, 3)
    return [Type(x.dtype, (*x.shape[:2], *window(where(node), attrs, x.shape[2:], attrs["kernel_shape"]).out))]


def _run(attrs: Mapping[str, Any], x: np.ndarray) -> tuple[np.ndarray, ...]:
    found = window("AveragePool", attrs, x.shape[2:], attrs["kernel_shape"])
    (wide,) = widened(x)
    total = np.zeros((*x.shape[:2], *found.out), wide.dtype)
    for _, view in found.taps(found.pad(wide, 0)):
        total += view
    total /= _counts(found, x.shape[2:], attrs["count_include_pad"]).astype(total.dtype)
    return (total.astype(x.dtype, copy=False),)


def _counts(found: Window, spatial: Sequence[int], include_pad: int) -> np.ndarray:
    """How many elements count in each window. What hangs over the padded image (ceil_mode) never does."""
    counts = np.ones((), np.int64)
    for axis, length in enumerate(spatial):
        low = -found.begin[axis] if include_pad else 0
        high = length + (found.end[axis] if include_pad else 0)
        taps = np.arange(found.kernel[axis]) * found.dilations[axis]
        places = np.arange(found.out[axis])[:, None] * found.strides[axis] - found.begin[axis] + taps
        counts = counts[..., None] * ((places >= low) & (places < high)).sum(1)
    return counts


OP = Op("AveragePool", {**ATTRIBUTES, "kernel_shape": REQUIRED, "ceil_mode": 0, "count_include_pad": 0}, (1, 1), _infer, _run,
        flow=batch_and_channels, cases=(
    *pool_cases(),
    *(Case(f"{case.name}_counted", case.args, {**case.attrs, "count_include_pad": 1})
      for case in pool_cases() if "pads" in case.attrs or "ceil_mode" in case.attrs),
    Case("mobilenet", (Arg((1, 1280, 7, 7)),), {"kernel_shape": (7, 7)}, bench=True),
))
