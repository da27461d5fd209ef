"""Softmax: ``exp(x) / Σ exp(x)`` along one axis."""

from __future__ import annotations

import numpy as np

from ._softmax import along_axis


def _softmax(x: np.ndarray, axis: int) -> np.ndarray:
    y = np.exp(x - x.max(axis=axis, keepdims=True, initial=-np.inf))
    y /= y.sum(axis=axis, keepdims=True)
    return y


OP = along_axis("Softmax", _softmax)
