"""Hardmax: 1 where the first of the largest elements along one axis lies, else 0."""

from __future__ import annotations

import numpy as np

from ._softmax import along_axis


def _hardmax(x: np.ndarray, axis: int) -> np.ndarray:
    y = np.zeros_like(x)
    if x.size:
        np.put_along_axis(y, np.expand_dims(x.argmax(axis=axis), axis % x.ndim), x.dtype.type(1), axis)
    return y


OP = along_axis("Hardmax", _hardmax)
