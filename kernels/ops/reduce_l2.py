"""ReduceL2: the root of the sum of squares over some axes, or over all (``_reduce.py``)."""

from __future__ import annotations

import numpy as np

from ._reduce import nothing_case, reduction


def _l2(x: np.ndarray, axes: tuple[int, ...], keep: bool) -> np.ndarray:
    wide = x if x.dtype.kind == "f" else x.astype(np.float64)
    return np.asarray(np.sqrt(np.sum(wide * wide, axis=axes, keepdims=keep)))


OP = reduction("ReduceL2", _l2, more_cases=(nothing_case(),))
