"""ReduceMean: the mean over some axes, or over all (``_reduce.py``). That of integers is rounded towards zero.

Of nothing it is NaN, and 0 for integers.
"""

from __future__ import annotations

from math import prod

import numpy as np

from ._maths import divide
from ._reduce import mobilenet_case, nothing_case, reduction


def _mean(x: np.ndarray, axes: tuple[int, ...], keep: bool) -> np.ndarray:
    count = prod(x.shape[axis] for axis in axes)
    if x.dtype.kind == "f":
        if not count:
            return np.full_like(np.sum(x, axis=axes, keepdims=keep), np.nan)
        return np.asarray(np.mean(x, axis=axes, keepdims=keep))
    total = np.asarray(np.sum(x, axis=axes, keepdims=keep))
    return divide(total, np.array(max(count, 1), total.dtype))


OP = reduction("ReduceMean", _mean, more_cases=(mobilenet_case(), nothing_case()))
