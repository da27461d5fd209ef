"""Relu: ``max(x, 0)``; NaN stays NaN."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ._check import SIGNED
from ._elementwise import activation_cases, unary
from ._op import Arg, Case


def _relu(x: np.ndarray, attrs: Mapping[str, Any]) -> np.ndarray:
    return np.maximum(x, x.dtype.type(0))


OP = unary("Relu", _relu, dtypes=SIGNED, cases=(*activation_cases(), Case("int32", (Arg((4, 5), "int32", -9, 9),))))
