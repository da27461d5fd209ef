"""ReduceLogSum: the logarithm of the sum over some axes, or over all (``_reduce.py``). It is -Inf of nothing."""

from __future__ import annotations

import numpy as np

from ._check import FLOATS
from ._reduce import nothing_case, reduction


def _log_sum(x: np.ndarray, axes: tuple[int, ...], keep: bool) -> np.ndarray:
    with np.errstate(divide="ignore"):
        return np.asarray(np.log(np.sum(x, axis=axes, keepdims=keep)))


OP = reduction("ReduceLogSum", _log_sum, dtypes=FLOATS, low=0.25, more_cases=(nothing_case(),))
