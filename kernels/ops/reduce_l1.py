"""ReduceL1: the sum of absolute values over some axes, or over all (``_reduce.py``)."""

from __future__ import annotations

import numpy as np

from ._reduce import nothing_case, reduction

OP = reduction("ReduceL1", lambda x, axes, keep: np.sum(np.abs(x), axis=axes, keepdims=keep), more_cases=(nothing_case(),))
