"""ReduceMean: the mean over some axes, or over all (``_reduce.py``)."""

from __future__ import annotations

import numpy as np

from ._reduce import mobilenet_case, reduction

OP = reduction("ReduceMean", lambda x, axes, keep: np.mean(x, axis=axes, keepdims=keep), of_nothing=False, more_cases=(mobilenet_case(),))
