"""Convolution in NumPy: one matrix product per group over unrolled windows, or a sum over taps where a group has one channel."""

from __future__ import annotations

import numpy as np

from ._window import Window

COLUMN_LIMIT = 1 << 20
"""Unrolled windows hold about this many elements at a time, so that they stay near the caches."""

DEPTHWISE_LIMIT = 1 << 16
"""The depthwise sum works on about this many outputs at a time."""


def convolve(x: np.ndarray, weight: np.ndarray, groups: int, window: Window) -> np.ndarray:
    """x [N, C, …], weight [M, C / groups, …] of one float dtype → [N, M, …]. Accumulates in that dtype."""
    padded = window.pad(x, 0)
    if weight.shape[1] == 1 and groups > 1:
        return _depthwise(padded, weight, groups, window)
    return _unrolled(padded, weight, groups, window)


def _depthwise(x: np.ndarray, weight: np.ndarray, groups: int, window: Window) -> np.ndarray:
    batch, multiplier = len(x), len(weight) // groups
    axes = (1,) * len(window.out)
    w = weight.reshape(groups, multiplier, *window.kernel)
    out = np.empty((batch, groups, multiplier, *window.out), x.dtype)
    step = max(1, DEPTHWISE_LIMIT // max(1, multiplier * int(np.prod(window.out))))
    for item in range(batch):
        for first in range(0, groups, step):
            some = slice(first, first + step)
            total = out[item, some]
            term = np.empty_like(total)
            total[...] = 0
            for tap, view in window.taps(x[item, some, None]):
                weights: np.ndarray = w[(some, slice(None), *tap)]  # type: ignore[arg-type]
                np.multiply(view, weights.reshape(-1, multiplier, *axes), out=term)
                total += term
    return out.reshape(batch, groups * multiplier, *window.out)


def _unrolled(x: np.ndarray, weight: np.ndarray, groups: int, window: Window) -> np.ndarray:
    batch, inner = len(x), weight.shape[1]
    depth = inner * int(np.prod(window.kernel))
    w = weight.reshape(groups, len(weight) // groups, depth)
    grouped = x.reshape(batch, groups, inner, *x.shape[2:])
    out = np.empty((batch, groups, w.shape[1], *window.out), x.dtype)
    row = groups * depth * int(np.prod(window.out[1:]))
    pointwise = depth == inner and all(s == 1 for s in window.strides)
    step = window.out[0] if pointwise else max(1, COLUMN_LIMIT // max(1, row))
    for item in range(batch):
        for first in range(0, window.out[0], step):
            rows = slice(first, min(first + step, window.out[0]))
            columns = _columns(grouped[item], window, rows).reshape(groups, depth, (rows.stop - rows.start) * int(np.prod(window.out[1:])))
            out[item, :, :, rows] = np.matmul(w, columns).reshape(groups, w.shape[1], rows.stop - rows.start, *window.out[1:])
    return out.reshape(batch, groups * w.shape[1], *window.out)


def _columns(x: np.ndarray, window: Window, rows: slice) -> np.ndarray:
    """[groups, inner, *kernel, *positions]: what each tap reads, for the output ``rows``."""
    rank = len(window.out)
    reach = tuple((k - 1) * d + 1 for k, d in zip(window.kernel, window.dilations))
    stride = window.strides[0]
    part = x[:, :, rows.start * stride:(rows.stop - 1) * stride + reach[0]]
    views = np.lib.stride_tricks.sliding_window_view(part, reach, axis=tuple(range(2, 2 + rank)))
    stepped = views[(slice(None), slice(None), *(slice(None, None, s) for s in window.strides),
                     *(slice(None, None, d) for d in window.dilations))]
    positions = stepped[(slice(None), slice(None), *(slice(0, n) for n in (rows.stop - rows.start, *window.out[1:])))]
    return positions.transpose(0, 1, *range(2 + rank, 2 + 2 * rank), *range(2, 2 + rank))
