"""Complex numbers as ONNX has them: a last axis of length 2 (real, imaginary), or of length 1 (real alone)."""

from __future__ import annotations

import numpy as np

from ._dtype import widened


def as_complex(x: np.ndarray) -> np.ndarray:
    """[…, 1 or 2] → […], real or complex, of the precision of x; float16 becomes float32."""
    (wide,) = widened(x)
    return wide[..., 0] if x.shape[-1] == 1 else wide[..., 0] + np.complex64(1j) * wide[..., 1]


def as_pairs(z: np.ndarray, dtype: np.dtype[np.generic]) -> np.ndarray:
    """Complex […] → […, 2]."""
    return np.stack((z.real, z.imag), axis=-1).astype(dtype, copy=False)
