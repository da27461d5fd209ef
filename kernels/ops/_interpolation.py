"""Interpolation between samples: which of them count at a place, and how much.

The linear kernel is the triangle 1 - |d|. The cubic one is Keys' (1981, "Cubic convolution interpolation for digital image
processing", equation 15) with its parameter a.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product
from typing import Any

import numpy as np

Kernel = Callable[[np.ndarray], np.ndarray]
"""Distances from a place → weights of the samples there. Zero from ``REACH`` on."""

REACH = {"linear": 1, "cubic": 2}
"""How far the kernel of each mode reaches, in samples."""


def triangle(distance: np.ndarray) -> np.ndarray:
    """The kernel of linear interpolation."""
    return np.maximum(1 - np.abs(distance), 0)


def keys(a: float) -> Kernel:
    """The kernel of cubic interpolation."""
    def kernel(distance: np.ndarray) -> np.ndarray:
        d = np.abs(distance)
        near = ((a + 2) * d - (a + 3)) * d * d + 1
        far = ((a * d - 5 * a) * d + 8 * a) * d - 4 * a
        return np.where(d <= 1, near, np.where(d < 2, far, 0))

    return kernel


def kernel_of(mode: str, a: float = -0.75) -> Kernel:
    """The kernel of ``linear`` or ``cubic``."""
    return triangle if mode == "linear" else keys(a)


def taps(places: np.ndarray, kernel: Kernel, reach: int, stretch: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """(int64[places, taps], float64[places, taps]): the samples around each of ``places`` that count, and their weights.

    ``stretch`` ≥ 1 widens the kernel (against aliasing). Samples may lie outside of what exists: the caller says what is there.
    """
    half = int(np.ceil(reach * stretch))
    index = np.floor(places).astype(np.int64)[:, None] + np.arange(1 - half, half + 1)
    weights = kernel((index - places[:, None]) / stretch)
    return index, weights / weights.sum(1, keepdims=True) if stretch > 1 else weights


def sampled(x: np.ndarray, index: Sequence[np.ndarray], weights: Sequence[np.ndarray]) -> np.ndarray:
    """``x`` [channels, *spatial] at places between its samples: [channels, places].

    ``index`` and ``weights``: for each spatial axis [places, taps]. What lies outside of ``x``, or has no weight, counts as 0.
    """
    total = np.zeros((x.shape[0], index[0].shape[0]), x.dtype)
    for tap in product(*(range(taken.shape[1]) for taken in index)):
        at = [taken[:, k] for taken, k in zip(index, tap)]
        weight = np.prod([weight[:, k] for weight, k in zip(weights, tap)], axis=0)
        inside = np.all([(places >= 0) & (places < length) for places, length in zip(at, x.shape[1:])], axis=0) & (weight != 0)
        where: tuple[Any, ...] = tuple(np.where(inside, places, 0) for places in at)
        found = x[(slice(None), *where)]
        total += np.where(inside, found, 0) * weight.astype(x.dtype)
    return total
