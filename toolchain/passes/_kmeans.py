"""1-D k-means: exact where that is affordable, else an exactly solved coarser problem refined by Lloyd's iterations.

In one dimension the clusters are intervals of the sorted data, so dynamic programming finds the optimum (Wu 1991, "Optimal
quantization by matrix searching", J. Algorithms 12; Grønlund et al. 2017, "Fast exact k-means, k-medians and Bregman divergence
clustering in 1D", arXiv 1701.07204). Nothing here is random, and sums run in a fixed order: same data, same centroids.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

SORT_LIMIT = 1 << 20
"""Up to this many values are sorted as they are; more are first collected in bins (see ``points_of``)."""

EXACT_WORK = 1 << 25
"""Exact up to about this many evaluations of a split (points × clusters × log2 of points): half a second or less."""

COARSE_POINTS = 4096
"""Points of the problem that is solved exactly to start Lloyd's iterations (16 for each of 256 clusters)."""

MOST_ITERATIONS = 20000
CHUNK = 1 << 22
MANTISSA_BITS = 12
"""A bin spans a relative range of 2**-12: hundreds of times less than the distance of neighbouring centroids."""


@dataclass(frozen=True, eq=False)
class Points:
    """Weighted points in ascending order. ``x``: float64[m], ``weight``: float64[m] > 0."""

    x: np.ndarray
    weight: np.ndarray

    def sums(self) -> tuple[np.ndarray, np.ndarray]:
        """Prefix sums of weight and of weight × x, float64[m + 1] each."""
        zero = np.zeros(1)
        return np.concatenate([zero, np.cumsum(self.weight)]), np.concatenate([zero, np.cumsum(self.weight * self.x)])


def kmeans(data: np.ndarray, k: int) -> np.ndarray:
    """float64[at most k], ascending: the centroids that minimise the sum of squared distances to ``data`` (any shape, finite).

    Fewer than ``k`` distinct values are their own centroids; no values at all give one centroid 0.
    """
    few = distinct(data, k)
    if few is not None:
        return few if few.size else np.zeros(1)
    points = points_of(data)
    is_binned = data.size > SORT_LIMIT  # an optimum of bins is no optimum of the data, and not worth its time
    if not is_binned and len(points.x) * k * len(points.x).bit_length() <= EXACT_WORK:
        return exact(points, k)
    return lloyd(points, exact(coarse(points, COARSE_POINTS), k))


def nearest(data: np.ndarray, centroids: np.ndarray) -> np.ndarray:
    """uint8, shape of ``data``: index of the nearest of at most 256 ascending ``centroids`` (a tie goes to the lower)."""
    middles = ((centroids[1:].astype(np.float64) + centroids[:-1].astype(np.float64)) / 2)
    flat = data.ravel()
    out = np.empty(flat.size, np.uint8)
    for start in range(0, flat.size, CHUNK):
        out[start:start + CHUNK] = np.searchsorted(middles, flat[start:start + CHUNK].astype(np.float64))
    return out.reshape(data.shape)


def distinct(data: np.ndarray, most: int) -> np.ndarray | None:
    """float64, ascending: the distinct values of ``data``; None if there are more than ``most``."""
    flat, found = data.ravel(), np.empty(0)
    for start in range(0, flat.size, CHUNK):
        found = np.union1d(found, flat[start:start + CHUNK].astype(np.float64))
        if found.size > most:
            return None
    return found


def points_of(data: np.ndarray) -> Points:
    """The data as weighted points: its distinct values, or where there are many values, the means of narrow bins.

    A bin holds the float32 values that agree in sign, exponent and the first 12 bits of the mantissa. That takes one pass
    over the data in chunks and 32 MB, however much data there is.
    """
    flat = data.ravel()
    if flat.size <= SORT_LIMIT:
        x, repeats = np.unique(flat.astype(np.float64), return_counts=True)
        return Points(x, repeats.astype(np.float64))
    drop = 23 - MANTISSA_BITS
    nbins = 1 << (32 - drop)
    counts, sums = np.zeros(nbins), np.zeros(nbins)
    for start in range(0, flat.size, CHUNK):
        part = flat[start:start + CHUNK].astype(np.float32)
        bins = part.view(np.uint32) >> np.uint32(drop)
        counts += np.bincount(bins, minlength=nbins)
        sums += np.bincount(bins, weights=part, minlength=nbins)
    used = np.flatnonzero(counts)
    x = sums[used] / counts[used]
    order = np.argsort(x, kind="stable")  # as bits, negative values run backwards
    return Points(x[order], counts[used][order])


def coarse(points: Points, count: int) -> Points:
    """At most ``count`` points that stand for many: means of bins whose width goes with density ** (-1/3).

    That is how the intervals of an optimal quantizer of many levels lie (Panter and Dite 1951, "Quantization distortion in
    pulse-count modulation with nonuniform spacing of levels"), so each of them gets equally many bins. Density is taken from
    bins of which half are equally wide, for outliers, and half equally heavy.
    """
    x, mass = points.x, np.cumsum(points.weight)
    starts = np.union1d(np.searchsorted(x, np.linspace(x[0], x[-1], count // 2, endpoint=False)),
                        np.searchsorted(mass, np.linspace(0, mass[-1], count // 2, endpoint=False)))
    weight, _ = _binned(points, starts)
    edges = np.append(x[starts], x[-1])
    levels = np.concatenate([np.zeros(1), np.cumsum(np.cbrt(weight * np.diff(edges) ** 2))])
    starts = np.unique(np.searchsorted(x, np.interp(np.linspace(0, levels[-1], count, endpoint=False), levels, edges)))
    weight, moment = _binned(points, starts)
    return Points(moment / weight, weight)


def _binned(points: Points, starts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weight, and weight × x, of the bins that begin at the points ``starts``."""
    ends = np.append(starts[1:], len(points.x))
    mass, moment = points.sums()
    return mass[ends] - mass[starts], moment[ends] - moment[starts]


def lloyd(points: Points, centroids: np.ndarray) -> np.ndarray:
    """Lloyd's iterations from ``centroids`` (ascending) until no point changes its cluster; a few searches of sorted data each."""
    mass, moment = points.sums()
    ends: np.ndarray | None = None
    for _ in range(MOST_ITERATIONS):
        inner = np.searchsorted(points.x, (centroids[1:] + centroids[:-1]) / 2, side="right")
        if ends is not None and np.array_equal(inner, ends[1:-1]):
            break
        ends = np.concatenate([[0], inner, [len(points.x)]])
        held = np.diff(mass[ends])
        centroids = np.where(held > 0, np.diff(moment[ends]) / np.where(held > 0, held, 1), centroids)
    return centroids


def exact(points: Points, k: int) -> np.ndarray:
    """The optimal ``k`` centroids of the points, k at most their number.

    The cost of the best c clusters of the first j points is min over i of cost(c - 1, i) + spread(i, j), and the best i does not
    fall as j rises (Wu 1991), so that i of every second j bounds the others: log2(m) rounds, each one vectorised scan.
    """
    m = len(points.x)
    k = min(k, m)
    centre = (points.x[0] + points.x[-1]) / 2
    shifted = Points(points.x - centre, points.weight)  # the prefix sums then cancel less
    mass, moment = shifted.sums()
    squares = np.concatenate([np.zeros(1), np.cumsum(shifted.weight * shifted.x ** 2)])
    with np.errstate(divide="ignore", invalid="ignore"):
        cost = squares - np.where(mass > 0, moment ** 2 / mass, 0)
    splits = np.zeros((k, m + 2), np.int32)
    for clusters in range(2, k + 1):
        cost = _one_more(cost, clusters, mass, moment, squares, splits[clusters - 1])
    ends = np.empty(k + 1, np.int64)
    ends[k] = m
    for clusters in range(k, 0, -1):
        ends[clusters - 1] = splits[clusters - 1, ends[clusters]]
    return np.diff(moment[ends]) / np.diff(mass[ends]) + centre


def _one_more(cost: np.ndarray, clusters: int, mass: np.ndarray, moment: np.ndarray, squares: np.ndarray,
              split: np.ndarray) -> np.ndarray:
    """float64[m + 1]: the cost of ``clusters`` clusters from that of one less.

    Fills in ``split`` [m + 2]: where the last cluster of the first j points begins; its ends serve as bounds for those next to them.
    """
    m = len(mass) - 1
    found = np.full(m + 1, np.inf)
    gap = cost - squares
    split[clusters - 1], split[m + 1] = clusters - 1, m - 1
    stride = 1 << (m - clusters).bit_length()
    while stride:
        wanted = np.arange(clusters - 1 + stride, m + 1, 2 * stride)
        low, high = split[wanted - stride], split[np.minimum(wanted + stride, m + 1)]
        split[wanted], found[wanted] = _scan(wanted, low, np.minimum(high, wanted - 1), gap, mass, moment)
        stride //= 2
    return found + squares


def _scan(wanted: np.ndarray, low: np.ndarray, high: np.ndarray, gap: np.ndarray, mass: np.ndarray,
          moment: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each point j of ``wanted`` the best split among ``low`` … ``high``, and its cost less the sum of squares up to j."""
    lengths = high.astype(np.int64) - low + 1
    starts = np.cumsum(lengths) - lengths
    i = np.arange(int(lengths.sum())) + np.repeat(low - starts, lengths)
    spread = np.repeat(moment[wanted], lengths)
    spread -= moment[i]
    spread *= spread
    heavy = np.repeat(mass[wanted], lengths)
    heavy -= mass[i]
    spread /= heavy
    total = gap[i]
    total -= spread
    best = np.minimum.reduceat(total, starts)
    hits = np.flatnonzero(total == np.repeat(best, lengths))
    return i[hits[np.searchsorted(hits, starts)]], best
