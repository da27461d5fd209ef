"""HardSigmoid: ``max(0, min(1, alpha · x + beta))``."""

from __future__ import annotations

import numpy as np

from ._elementwise import activation_cases, unary
from ._op import Arg, Case


def _hard_sigmoid(x: np.ndarray, alpha: float, beta: float) -> np.ndarray:
    return np.clip(x * x.dtype.type(alpha) + x.dtype.type(beta), 0, 1)


OP = unary("HardSigmoid", _hard_sigmoid, {"alpha": float(np.float32(0.2)), "beta": 0.5}, cases=(
    *activation_cases(), Case("sixth", (Arg((2, 9), low=-5, high=5),), {"alpha": float(np.float32(1 / 6)), "beta": 0.25})))
