"""Selu: ``gamma · x``, but ``gamma · alpha · (exp(x) - 1)`` where x is not positive (Klambauer et al. 2017)."""

from __future__ import annotations

import numpy as np

from ._elementwise import activation_cases, unary
from ._maths import exponential_tail
from ._op import Arg, Case


def _selu(x: np.ndarray, alpha: float, gamma: float) -> np.ndarray:
    return gamma * np.where(x <= 0, alpha * exponential_tail(x), x)


OP = unary("Selu", _selu, {"alpha": float(np.float32(1.67326319217681884765625)), "gamma": float(np.float32(1.05070102214813232421875))}, cases=(
    *activation_cases(), Case("other", (Arg((2, 9), low=-5, high=5),), {"alpha": 2.0, "gamma": 3.0})))
