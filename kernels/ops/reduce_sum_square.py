"""ReduceSumSquare: the sum of squares over some axes, or over all (``_reduce.py``). Integers wrap."""

from __future__ import annotations

import numpy as np

from ._reduce import nothing_case, reduction

OP = reduction("ReduceSumSquare", lambda x, axes, keep: np.sum(x * x, axis=axes, keepdims=keep), more_cases=(nothing_case(),))
