"""Codebooks whose entries are equally far from each other: products with int8 activations multiply their indices as they are, with no look-up."""

from __future__ import annotations

import numpy as np

from ._kmeans import Points

MOST_ERROR = 0.01
"""By how much the root mean square error may rise. Weights that are normally distributed lose half of that with four entries (Max 1960,
"Quantizing for minimum distortion", tables I and II); those with long tails lose more, and keep their k-means."""
MOST_ITERATIONS = 200


def even(points: Points, centroids: np.ndarray) -> np.ndarray | None:
    """float64: as many entries as ``centroids`` (ascending, the best for the points), equally far from each other; None if they cost too much."""
    index = np.arange(len(centroids))
    mass, moment = points.sums()
    step, first = np.polyfit(index, centroids, 1)
    ends: np.ndarray | None = None
    for _ in range(MOST_ITERATIONS):
        found = first + step * index
        before, ends = ends, _ends(points, found)
        if before is not None and np.array_equal(before, ends):
            break
        held, sums = np.diff(mass[ends]), np.diff(moment[ends])
        normal = np.array([[held.sum(), held @ index], [held @ index, held @ index ** 2]])
        if not np.linalg.det(normal) > 0:
            return None
        first, step = np.linalg.solve(normal, [sums.sum(), sums @ index])
    return found if cost(points, found) <= (1 + MOST_ERROR) ** 2 * cost(points, centroids) else None


MOST_SHIFT = 0.04
"""How far, in distances between entries, integers may shift all of them. Within a distance values err by 0.29 of it (a uniform density),
so that this adds 1 %."""


def integers(entries: np.ndarray, most: int) -> tuple[float, np.ndarray] | None:
    """(what they are multiples of, float64 integers of at most ``most``) of entries that are equally far from each other, and stay so. None where
    they are so near to each other, for their size, that integers can not tell where they are."""
    step = float(entries[1] - entries[0])
    whole = np.floor((most - 0.5) * step / np.abs(entries).max())
    if whole < 1:
        return None
    first = entries[0] * whole / step
    if abs(np.rint(first) - first) > MOST_SHIFT * whole:
        return None
    return step / whole, np.rint(first) + whole * np.arange(len(entries))


def _ends(points: Points, entries: np.ndarray) -> np.ndarray:
    inner = np.searchsorted(points.x, (entries[1:] + entries[:-1]) / 2, side="right")
    return np.concatenate([[0], inner, [len(points.x)]])


def cost(points: Points, entries: np.ndarray) -> float:
    """Sum of squared distances to the nearest of the ascending entries."""
    nearest = np.repeat(entries, np.diff(_ends(points, entries)))
    return float(points.weight @ (points.x - nearest) ** 2)
