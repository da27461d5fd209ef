"""Elu: x, but ``alpha · (exp(x) - 1)`` where it is negative (Clevert et al. 2016)."""

from __future__ import annotations

import numpy as np

from ._elementwise import activation_cases, unary
from ._maths import exponential_tail
from ._op import Arg, Case

OP = unary("Elu", lambda x, alpha: np.where(x < 0, alpha * exponential_tail(x), x), {"alpha": 1.0}, cases=(
    *activation_cases(), Case("double", (Arg((2, 9), low=-5, high=5),), {"alpha": 2.0})))
