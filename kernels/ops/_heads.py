"""Heads of attention: packed into the last axis [batch, length, heads · size], or on an axis of their own [batch, heads, length, size]."""

from __future__ import annotations

import numpy as np

from ._check import text
from ._op import OpError


def split_shape(place: str, shape: tuple[int, ...], heads: int | None, what: str) -> tuple[int, int, int, int]:
    """[batch, heads, length, size] of an input in either form. Raises OpError, which names the node by ``place``."""
    if len(shape) == 4:
        return shape
    if len(shape) != 3:
        raise OpError(f"{place} has a {what} of the shape {text(shape)}; it takes 3 dimensions (heads packed into the last) or 4")
    if not heads or heads < 1 or shape[2] % heads:
        raise OpError(f"{place} has a {what} of the shape {text(shape)} and {heads} heads for it; the last length has to be a multiple of them")
    return shape[0], heads, shape[1], shape[2] // heads


def split(x: np.ndarray, heads: int | None) -> np.ndarray:
    """[batch, heads, length, size] of an array in either form."""
    if x.ndim == 4:
        return x
    batch, count, length, size = split_shape("input", x.shape, heads, "shape")
    return x.reshape(batch, length, count, size).swapaxes(1, 2)


def merge(x: np.ndarray) -> np.ndarray:
    """[batch, heads, length, size] → [batch, length, heads · size]."""
    return x.swapaxes(1, 2).reshape(x.shape[0], x.shape[2], x.shape[1] * x.shape[3])
