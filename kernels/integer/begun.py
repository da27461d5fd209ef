"""Sums on ARM that begin as the last bits of floats, so that one multiply-add makes codes of them (README.md, quick_neon.h)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .pack import FLOAT, SMALL_SUM

STEP = 2.0 ** -8
"""What a code becomes: 1.0 to 2.0 are 256 of them (fixed_neon.h)."""
SUM_BITS = 0x47400000
"""The bits of BASE; sums within 2^22 that begin with this are the bits of BASE + sum · STEP."""
BASE = 1.5 * 2.0 ** 23 * STEP
TOLERANCE = 2.0 ** -14 * STEP
"""How far bias / s - BASE · m / s may lie from the float that stands for it."""
TRIED = (1, 16, 128, 1024, 8192)
AS_THEY_ARE, BASED, FOLDED = range(3)
"""Kinds: sums begin with their starts; also with SUM_BITS; and the bias takes the base away. Sixteen outputs that are computed together have one."""
TOGETHER = 16


def moved(bias: np.ndarray, near: float, zero: int, most: int) -> np.ndarray:
    """bias / s as QuickNeon wants it: in STEP, codes (``zero``: theirs as int8) up to ``most`` end at 2, ties where ``near`` lets them be seen."""
    return (bias + (511.5 - most + zero + 1.25 * (0.5 - float(FLOAT(near))) + 2.0 ** -13)) * STEP


def begun(starts: np.ndarray, largest: int, m: np.ndarray, bias: np.ndarray,
          in_order: Callable[[np.ndarray], np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(starts[n, 16], biases[n, 16], their kinds[n]) of outputs whose codes are sum · STEP · m + bias, which is ``moved``.

    ``largest``: no sum is larger. ``in_order`` brings a value per output into the order in which sixteen are computed together; zeros are filled up.
    """
    def together(values: np.ndarray) -> np.ndarray:
        return in_order(values).reshape(-1, TOGETHER)

    plain = bias.astype(FLOAT)
    if largest + TRIED[-1] >= SMALL_SUM:
        found = together(starts)
        return found, together(plain), np.full(len(found), AS_THEY_ARE, np.int32)
    shifts, folded, are_far = _folded(m.astype(np.float64), bias)
    kinds = np.where(together(are_far).any(1), BASED, FOLDED).astype(np.int32)
    based, added = kinds[:, None] == BASED, (starts + SUM_BITS).astype(np.int32)
    return (np.where(based, together(added), together((added + shifts).astype(np.int32))), np.where(based, together(plain), together(folded)), kinds)


def _folded(m: np.ndarray, bias: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(k, float32(bias - (BASE + k · STEP) · m), whether that float is off by more than TOLERANCE) of each output. As k moves the float by parts
    of its last bit, some small k makes the error small, unless m has hardly any bits that are lower."""
    shifts, found, are_far = np.zeros(len(m), np.int64), np.zeros(len(m), FLOAT), np.ones(len(m), bool)
    for tried in TRIED:
        left = np.flatnonzero(are_far)
        rows = max(1, (1 << 19) // tried)
        for some in [left[i:i + rows] for i in range(0, len(left), rows)]:
            exact = bias[some, None] - (BASE + np.arange(tried) * STEP) * m[some, None]
            errors = np.abs(exact.astype(FLOAT) - exact)
            best = errors.argmin(1)
            shifts[some], found[some] = best, exact[np.arange(len(some)), best]
            are_far[some] = errors.min(1) > TOLERANCE
    return shifts, found, are_far
