"""What is kept of a value's elements while calibration data runs: a histogram whose size does not depend on how many there are."""

from __future__ import annotations

import numpy as np

HALF = 2048
"""Bins on each side of zero."""

CODES = 128
"""Magnitudes that int8 tells apart."""


class Histogram:
    """Counts over [-reach, reach], a power of two that grows with the data: then two bins become one. ``least``, ``most``: exact."""

    def __init__(self) -> None:
        self.least, self.most, self.reach = 0.0, 0.0, 0.0
        self.counts = np.zeros(2 * HALF, np.int64)

    def add(self, data: np.ndarray) -> None:
        """Counts the elements, which are finite."""
        if data.size == 0:
            return
        self.least, self.most = min(self.least, float(data.min())), max(self.most, float(data.max()))
        largest = max(-self.least, self.most)
        if largest == 0:
            self.counts[HALF] += data.size
            return
        self._grow(largest)
        places = np.clip(np.floor(data.ravel() * np.float32(HALF / self.reach)) + HALF, 0, 2 * HALF - 1)
        self.counts += np.bincount(places.astype(np.int64), minlength=2 * HALF)

    def _grow(self, largest: float) -> None:
        wanted = float(2.0 ** np.ceil(np.log2(largest)))
        while 0 < self.reach < wanted:
            pairs = self.counts.reshape(-1, 2).sum(axis=1)
            self.counts = np.zeros_like(self.counts)
            self.counts[HALF // 2:HALF // 2 + HALF] = pairs
            self.reach *= 2
        self.reach = max(self.reach, wanted)

    def percentile(self, percent: float) -> tuple[float, float]:
        """(low, high) that ``percent`` of 100 elements do not pass on either side; zero lies between them."""
        total = int(self.counts.sum())
        if total == 0 or self.reach == 0:
            return 0.0, 0.0
        below, edge = np.cumsum(self.counts), self.reach / HALF
        outside = int(total * (100 - percent) / 100 + 1e-6)  # a hair more: 100 - 99.9 is a little less than a tenth
        low = (int(np.searchsorted(below, outside, side="right")) - HALF) * edge
        high = (int(np.searchsorted(below, total - 1 - outside, side="right")) + 1 - HALF) * edge
        return min(max(low, self.least), 0.0), max(min(high, self.most), 0.0)

    def entropy(self) -> tuple[float, float]:
        """(low, high), at one distance from zero, that tell the most of the distribution: the 128 magnitudes of int8 are spread up to
        the distance with the least Kullback-Leibler divergence from what is there, whose rest counts as the last magnitude.

        (Migacz, "8-bit inference with TensorRT", GTC 2017.)
        """
        sizes = (self.counts[HALF:] + self.counts[HALF - 1::-1]).astype(np.float64)
        sizes[0] = 0  # zeros are exact whatever the scale is
        used = int(np.flatnonzero(sizes)[-1]) + 1 if sizes.any() else 0
        if used <= CODES:
            return self.least, self.most
        reaches = np.unique(np.append(np.arange(CODES, used, CODES // 16), used))
        best = min(reaches, key=lambda count: _divergence(sizes[:used], int(count)))
        distance = float(best) * self.reach / HALF
        return max(self.least, -distance), min(self.most, distance)


def _divergence(sizes: np.ndarray, count: int) -> float:
    """KL divergence of the first ``count`` bins, with all beyond them in the last, from the same spread over 128 codes."""
    reference = sizes[:count].copy()
    reference[-1] += sizes[count:].sum()
    code = np.arange(count) * CODES // count
    present = sizes[:count] > 0
    mass = np.bincount(code, weights=sizes[:count], minlength=CODES)
    members = np.bincount(code, weights=present, minlength=CODES)
    spread = np.where(present, mass[code] / np.maximum(members[code], 1), 0)
    if spread.sum() == 0:
        return np.inf
    p, q = reference / reference.sum(), spread / spread.sum()
    both = p > 0
    return float((p[both] * np.log(p[both] / np.maximum(q[both], 1e-9))).sum())
