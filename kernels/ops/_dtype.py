"""Arithmetic of narrow floats."""

from __future__ import annotations

import numpy as np


def widened(*arrays: np.ndarray) -> tuple[np.ndarray, ...]:
    """The arrays, float16 as float32: NumPy's float16 products are slow and round every partial sum."""
    return tuple(array.astype(np.float32) if array.dtype == np.float16 else array for array in arrays)
