"""Functions that several operators are made of, written so that neither end overflows or cancels."""

from __future__ import annotations

import numpy as np


def sigmoid(x: np.ndarray) -> np.ndarray:
    """``1 / (1 + exp(-x))``."""
    decay = np.exp(-np.abs(x))  # in (0, 1], so that nothing overflows
    return np.where(x >= 0, x.dtype.type(1), decay) / (1 + decay)


def softplus(x: np.ndarray) -> np.ndarray:
    """``log(1 + exp(x))``."""
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


def exponential_tail(x: np.ndarray) -> np.ndarray:
    """``exp(x) - 1`` where x is negative, else 0; NaN stays NaN."""
    return np.expm1(np.minimum(x, 0))


def swish(x: np.ndarray, alpha: float) -> np.ndarray:
    """``x · sigmoid(alpha · x)``."""
    return x * sigmoid(np.asarray(x.dtype.type(alpha) * x))


def divide(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """``a / b``, of integers towards zero."""
    if a.dtype.kind == "f":
        return np.divide(a, b)
    quotient = np.floor_divide(a, b)
    # NumPy rounds down; towards zero is one more where signs differ and something is left over.
    return quotient + ((quotient < 0) & (quotient * b != a)).astype(quotient.dtype)
