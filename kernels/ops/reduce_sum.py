"""ReduceSum: the sum over some axes, or over all (``_reduce.py``). Integers wrap; the sum of nothing is 0."""

from __future__ import annotations

import numpy as np

from ._reduce import mobilenet_case, nothing_case, reduction

OP = reduction("ReduceSum", lambda x, axes, keep: np.sum(x, axis=axes, keepdims=keep), more_cases=(nothing_case(), mobilenet_case()))
