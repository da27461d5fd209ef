"""HardSigmoid: ``max(0, min(1, alpha · x + beta))``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ._elementwise import activation_cases, unary
from ._op import Arg, Case


def _hard_sigmoid(x: np.ndarray, attrs: Mapping[str, Any]) -> np.ndarray:
    return np.clip(x * x.dtype.type(attrs["alpha"]) + x.dtype.type(attrs["beta"]), 0, 1)


OP = unary("HardSigmoid", _hard_sigmoid, {"alpha": float(np.float32(0.2)), "beta": 0.5}, cases=(
    *activation_cases(), Case("sixth", (Arg((2, 9), low=-5, high=5),), {"alpha": float(np.float32(1 / 6)), "beta": 0.25})))
