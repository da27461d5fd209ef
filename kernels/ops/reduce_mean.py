"""ReduceMean: the mean over some axes, or over all (``_reduce.py``). That of integers is rounded towards zero."""

from __future__ import annotations

from math import prod

import numpy as np

from ._maths import divide
from ._reduce import mobilenet_case, reduction


def _mean(x: np.ndarray, axes: tuple[int, ...], keep: bool) -> np.ndarray:
    if x.dtype.kind == "f":
        return np.asarray(np.mean(x, axis=axes, keepdims=keep))
    total = np.asarray(np.sum(x, axis=axes, keepdims=keep))
    return divide(total, np.array(prod(x.shape[axis] for axis in axes), total.dtype))


OP = reduction("ReduceMean", _mean, of_nothing=False, more_cases=(mobilenet_case(),))
