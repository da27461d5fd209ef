"""ThresholdedRelu: x where it is above alpha, else 0."""

from __future__ import annotations

import numpy as np

from ._elementwise import activation_cases, unary
from ._op import Arg, Case

OP = unary("ThresholdedRelu", lambda x, alpha: np.where(x > alpha, x, x.dtype.type(0)), {"alpha": 1.0}, cases=(
    *activation_cases(), Case("double", (Arg((2, 9), low=-5, high=5),), {"alpha": 2.0})))
