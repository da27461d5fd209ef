"""LeakyRelu: x, times alpha where it is negative."""

from __future__ import annotations

import numpy as np

from ._elementwise import activation_cases, unary
from ._op import Arg, Case

OP = unary("LeakyRelu", lambda x, alpha: np.where(x < 0, alpha * x, x), {"alpha": float(np.float32(0.01))}, cases=(
    *activation_cases(), Case("quarter", (Arg((2, 9), low=-5, high=5),), {"alpha": 0.25})))
