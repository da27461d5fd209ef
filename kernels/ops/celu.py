"""Celu: ``max(0, x) + min(0, alpha · (exp(x / alpha) - 1))`` (Barron 2017)."""

from __future__ import annotations

import numpy as np

from ._elementwise import activation_cases, unary
from ._op import Arg, Case

OP = unary("Celu", lambda x, alpha: np.maximum(x, 0) + np.minimum(0, alpha * np.expm1(x / alpha)), {"alpha": 1.0}, cases=(
    *activation_cases(), Case("double", (Arg((2, 9), low=-5, high=5),), {"alpha": 2.0})))
