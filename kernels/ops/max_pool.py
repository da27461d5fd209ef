"""MaxPool: the largest element of each window, and optionally where it lies in the input."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

import numpy as np

from ...formats.graph import Node
from ._check import FLOATS, need, want_dtype, want_rank, where
from ._flow import batch_and_channels
from ._op import REQUIRED, Arg, Case, Op, OpError, Type
from ._pool_cases import pool_cases
from ._window import ATTRIBUTES, Window, window


def _infer(node: Node, attrs: Mapping[str, Any], args: Sequence[Type | None]) -> list[Type]:
    x = need(node, args, 0, "data")
    want_dtype(node, x, (*FLOATS, "int8", "uint8"))
    want_rank(node, x, 3)
    if attrs["storage_order"] not in (0, 1):
        raise OpError(f"{where(node)} has storage_order {attrs['storage_order']}; it takes 0 or 1")
    out = window(where(node), attrs, x.shape[2:], attrs["kernel_shape"]).out
    shape = (*x.shape[:2], *out)
    return [Type(x.dtype, shape), Type("int64", shape)]


def _run(attrs: Mapping[str, Any], x: np.ndarray) -> tuple[np.ndarray, ...]:
    found = window("MaxPool", attrs, x.shape[2:], attrs["kernel_shape"])
    padded = found.pad(x, -np.inf if x.dtype.kind == "f" else np.iinfo(x.dtype).min)
    y: np.ndarray | None = None
    for _, view in found.taps(padded):
        y = view.copy() if y is None else np.maximum(y, view, out=y)
    assert y is not None
    return y, _indices(x.shape, padded, y, found, attrs["storage_order"])


def _indices(shape: tuple[int, ...], padded: np.ndarray, y: np.ndarray, found: Window, column_major: int) -> np.ndarray:
    """int64, as y: where the first largest element of each window lies in the flattened input (spatial axes reversed if column major)."""
    winner = np.zeros(y.shape, np.int64)
    for k, (_, view) in reversed(list(enumerate(found.taps(padded)))):
        np.copyto(winner, k, where=(view == y) | (view != view))
    spatial = shape[2:]
    taps = np.unravel_index(winner, found.kernel)
    flat = np.arange(shape[0] * shape[1]).reshape(*shape[:2], *(1,) * len(spatial)) * prod(spatial)
    stride = 1
    for axis in range(len(spatial)) if column_major else reversed(range(len(spatial))):
        along = tuple(-1 if place == axis else 1 for place in range(len(spatial)))
        start = np.arange(found.out[axis]).reshape(along) * found.strides[axis] - found.begin[axis]
        # Only a window without anything above the padding value can name the padding; its first element is as good.
        place = np.clip(start + taps[axis] * found.dilations[axis], 0, spatial[axis] - 1)
        flat = flat + place * stride
        stride *= spatial[axis]
    return flat


OP = Op("MaxPool", {**ATTRIBUTES, "kernel_shape": REQUIRED, "ceil_mode": 0, "storage_order": 0}, (1, 1), _infer, _run,
        flow=batch_and_channels, cases=(
    *pool_cases(),
    Case("column_major", (Arg((2, 2, 5, 7)),), {"kernel_shape": (2, 3), "strides": (2, 2), "storage_order": 1}),
    Case("uint8", (Arg((1, 2, 7, 7), "uint8", 0, 255),), {"kernel_shape": (3, 3), "strides": (2, 2), "pads": (1, 1, 1, 1)}),
    Case("below_zero", (Arg((1, 3, 6, 6), low=-3, high=-2),), {"kernel_shape": (3, 3), "pads": (1, 1, 1, 1)}),
    Case("resnet", (Arg((1, 64, 112, 112)),), {"kernel_shape": (3, 3), "strides": (2, 2), "pads": (1, 1, 1, 1)}, bench=True),
))
