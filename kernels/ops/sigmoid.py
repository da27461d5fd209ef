"""Sigmoid: ``1 / (1 + exp(-x))``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ._elementwise import unary


def _sigmoid(x: np.ndarray, attrs: Mapping[str, Any]) -> np.ndarray:
    decay = np.exp(-np.abs(x))  # in (0, 1], so that nothing overflows
    return np.where(x >= 0, x.dtype.type(1), decay) / (1 + decay)


OP = unary("Sigmoid", _sigmoid)
