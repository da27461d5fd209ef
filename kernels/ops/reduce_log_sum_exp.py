"""ReduceLogSumExp: ``log Σ exp(x)`` over some axes, or over all (``_reduce.py``). It is -Inf of nothing."""

from __future__ import annotations

import numpy as np

from ._check import FLOATS
from ._op import Arg
from ._reduce import case, nothing_case, reduction


def _log_sum_exp(x: np.ndarray, axes: tuple[int, ...], keep: bool) -> np.ndarray:
    """With the largest element taken out of the sum, so that nothing overflows; an infinite one stays in."""
    most = np.max(x, axis=axes, keepdims=True, initial=-np.inf)
    most = np.where(np.isfinite(most), most, x.dtype.type(0))
    with np.errstate(divide="ignore"):
        found = np.log(np.sum(np.exp(x - most), axis=axes, keepdims=True)) + most
    return found if keep else np.squeeze(found, axis=axes)


OP = reduction("ReduceLogSumExp", _log_sum_exp, dtypes=FLOATS, more_cases=(
    nothing_case(), case("large", Arg((3, 5), low=900, high=1000), (1,)), case("infinite", Arg((3,), value=[1, np.inf, -np.inf]), (0,))))
