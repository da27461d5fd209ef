"""HardSwish: ``x · max(0, min(1, x / 6 + 1/2))`` (Howard et al. 2019, Searching for MobileNetV3, section 5.2)."""

from __future__ import annotations

import numpy as np

from ._elementwise import activation_cases, unary


def _hard_swish(x: np.ndarray) -> np.ndarray:
    return x * np.clip(x / x.dtype.type(6) + x.dtype.type(0.5), 0, 1)


OP = unary("HardSwish", _hard_swish, cases=activation_cases())
