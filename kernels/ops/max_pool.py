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


def _run(attrs: Mapping[str, Any], x: np.ndarray, asked: Sequence[bool] = (True, True)) -> tuple[np.ndarray, ...]:
    found = window("MaxPool", attrs, x.shape[2:], attrs["kernel_shape"])
    least = -np.inf if x.dtype.kind == "f" else np.iinfo(x.dtype).min
    padded = found.pad(x, least)
    y: np.ndarray | None = None
    for _, view in found.taps(padded):
        y = view.copy() if y is None else np.maximum(y, view, out=y)
    assert y is not None
    if not any(asked[1:]):
        return (y,)
    winner = _winner(padded, y, found)
    doubtful = found.padded and bool((y == least).any())
    return y, _indices(x.shape, winner, found, attrs["storage_order"], doubtful)


def _winner(padded: np.ndarray, y: np.ndarray, found: Window) -> np.ndarray:
    """Number of the first tap that holds the largest element (or NaN) of each window."""
    dtype = np.min_scalar_type(prod(found.kernel))
    most = np.iinfo(dtype).max
    winner = np.full(y.shape, most, dtype)
    nan = padded.dtype.kind == "f" and bool(np.isnan(y).any())
    for k, (_, view) in enumerate(found.taps(padded)):
        other = (view != y) & ~np.isnan(view) if nan else view != y
        # k where equal, else the largest number: faster than a masked copy.
        np.minimum(winner, other.astype(dtype) * dtype.type(most - k) + dtype.type(k), out=winner)
    return winner


def _indices(shape: tuple[int, ...], winner: np.ndarray, found: Window, column_major: int, doubtful: bool) -> np.ndarray:
    """int64: where the winning taps lie in the flattened input (its spatial axes reversed if column major).

    ``doubtful``: some window may hold nothing above the padding value, so that its winner may lie in the padding; it is moved
    to the nearest element inside.
    """
    spatial = shape[2:]
    rank = len(spatial)
    flat = np.arange(shape[0] * shape[1]).reshape(*shape[:2], *(1,) * rank) * prod(spatial)
    taps = np.array(np.unravel_index(np.arange(prod(found.kernel)), found.kernel)) * np.array(found.dilations)[:, None]
    steps = np.cumprod([1, *spatial[:-1]]) if column_major else np.cumprod([1, *spatial[:0:-1]])[::-1]
    for axis, step in enumerate(steps):
        along = tuple(-1 if place == axis else 1 for place in range(rank))
        place = (np.arange(found.out[axis]) * found.strides[axis] - found.begin[axis]).reshape(along)
        flat = flat + step * (np.clip(place + taps[axis][winner], 0, spatial[axis] - 1) if doubtful else place)
    return flat if doubtful else flat + (taps * steps[:, None]).sum(0)[winner]


OP = Op("MaxPool", {**ATTRIBUTES, "kernel_shape": REQUIRED, "ceil_mode": 0, "storage_order": 0}, (1, 1), _infer, _run,
        flow=batch_and_channels, asks=True, cases=(
    *pool_cases(),
    Case("column_major", (Arg((2, 2, 5, 7)),), {"kernel_shape": (2, 3), "strides": (2, 2), "storage_order": 1}),
    Case("uint8", (Arg((1, 2, 7, 7), "uint8", 0, 255),), {"kernel_shape": (3, 3), "strides": (2, 2), "pads": (1, 1, 1, 1)}),
    Case("below_zero", (Arg((1, 3, 6, 6), low=-3, high=-2),), {"kernel_shape": (3, 3), "pads": (1, 1, 1, 1)}),
    Case("resnet", (Arg((1, 64, 112, 112)),), {"kernel_shape": (3, 3), "strides": (2, 2), "pads": (1, 1, 1, 1)}, bench=True),
))
