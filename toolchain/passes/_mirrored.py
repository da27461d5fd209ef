"""Codebooks whose entries kernels find sooner: of 8 significant bits, and 256 of them as 128 magnitudes with either sign."""

from __future__ import annotations

import numpy as np

from ._even import cost
from ._kmeans import Points, lloyd

MOST_ERROR = 0.05
"""By how much the root mean square error, some 0.5 % of the weights', may rise where negative entries become those of the positive ones. Large
weights are about as often negative as positive; where they are not, all entries stay free."""
FULL = 256
"""Entries of a codebook of 8 bits."""
LARGEST = np.uint32(0x7f7f0000)
"""The largest finite bfloat16, as a float32's bits."""


def rounded(entries: np.ndarray) -> np.ndarray:
    """float32: the nearest finite bfloat16, ties to even. Of finite numbers; 2⁻⁹ of their size away, where 256 centroids of normally distributed
    weights lie 2⁻⁶ of the deviation apart and more."""
    bits = entries.astype(np.float32).view(np.uint32)
    sign, size = bits & np.uint32(1 << 31), bits & np.uint32(0x7fffffff)
    size = (size + np.uint32(0x7fff) + (size >> np.uint32(16) & np.uint32(1))) & np.uint32(0xffff0000)
    return (sign | np.minimum(size, LARGEST)).view(np.float32)


def mirrored(points: Points, centroids: np.ndarray) -> np.ndarray | None:
    """float32[256], in bfloat16: ascending magnitudes, then the same with the other sign, the last one of each half repeated where rounding left
    fewer. None where that costs too much. ``centroids``: ascending, the best for the points."""
    if len(centroids) != FULL:
        return None
    order = np.argsort(np.abs(points.x), kind="stable")
    folded = Points(np.abs(points.x[order]), points.weight[order])
    half = lloyd(folded, np.sort(centroids[FULL // 2:] - centroids[FULL // 2 - 1::-1]) / 2)
    half = np.unique(rounded(half))
    both = np.concatenate([-half[::-1], half])
    if not half[0] > 0 or _cost(points, both) > (1 + MOST_ERROR) ** 2 * _cost(points, np.unique(rounded(centroids))):
        return None
    half = np.pad(half, (0, FULL // 2 - len(half)), mode="edge")
    return np.concatenate([half, -half])


def _cost(points: Points, entries: np.ndarray) -> float:
    return cost(points, entries.astype(np.float64))
