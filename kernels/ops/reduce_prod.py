"""ReduceProd: the product over some axes, or over all (``_reduce.py``). Integers wrap; the product of nothing is 1."""

from __future__ import annotations

import numpy as np

from ._reduce import nothing_case, reduction

OP = reduction("ReduceProd", lambda x, axes, keep: np.prod(x, axis=axes, keepdims=keep), more_cases=(nothing_case(),))
