"""Sums on ARM that begin as the last bits of floats, so that one multiply-add makes codes of them (README.md, quick_neon.h)."""

from __future__ import annotations

import numpy as np

from .pack import FLOAT, SMALL_SUM

SUM_BITS = 0x4B400000
"""The bits of BASE; sums within 2^22 that begin with this are the bits of BASE + sum."""
BASE = 1.5 * 2.0 ** 23
TOLERANCE = 2.0 ** -14
"""In steps of the codes: how far bias / s - BASE · m / s may lie from the float that stands for it."""
TRIED = (1, 16, 128, 1024)
LARGEST_FACTOR = 2.0 ** -7
"""Of a sum, in codes: of larger ones too few k would do."""
AS_THEY_ARE, BASED, FOLDED = range(3)
"""Kinds: sums begin with their starts; also with SUM_BITS; and the bias takes the base away."""


def offset(near: float, zero: int) -> float:
    """What QuickNeon adds to codes (``zero``: theirs as int8): they are moved to between 256 and 512, ties to where ``near`` lets them be seen."""
    return 384.5 + zero + 1.25 * (0.5 - float(FLOAT(near))) + 2.0 ** -13


def begun(starts: np.ndarray, largest: int, m: np.ndarray, bias: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
    """(starts, biases, their kind) of outputs whose codes are sum · m + bias, all of them moved.

    ``largest``: no sum is larger. With base = BASE + k, (base + sum) · m + float32(bias - base · m) is off by what that float is off. As k · m moves
    it by parts of its last bit, some small k makes the error small.
    """
    shifts, found = np.zeros(len(m), np.int64), bias.astype(FLOAT)
    if largest + TRIED[-1] >= SMALL_SUM:
        return starts, found, AS_THEY_ARE
    left, factors = np.arange(len(m)), m.astype(np.float64)
    for tried in TRIED if np.abs(m).max(initial=0) <= LARGEST_FACTOR else ():
        rows = max(1, (1 << 19) // tried)
        for some in [left[i:i + rows] for i in range(0, len(left), rows)]:
            exact = bias[some, None] - (BASE + np.arange(tried)) * factors[some, None]
            errors = np.abs(exact.astype(FLOAT) - exact)
            shifts[some] = errors.argmin(1)
            found[some] = exact[np.arange(len(some)), shifts[some]]
        errors = np.abs(found[left] - (bias[left] - (BASE + shifts[left]) * factors[left]))
        left = left[errors > TOLERANCE]
        if not len(left):
            return (starts + SUM_BITS + shifts).astype(np.int32), found, FOLDED
    return (starts + SUM_BITS).astype(np.int32), bias.astype(FLOAT), BASED
