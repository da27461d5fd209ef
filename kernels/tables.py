"""Values as a table of floats: one form for all kinds that have one, so that a kernel which looks symbols up runs them all."""

from __future__ import annotations

import numpy as np

from ..formats.record import replace
from ..formats.tensor import Affine, Binary, Codebook, EncodedTensor, Plain, Ternary


def table_of(tensor: EncodedTensor) -> Codebook | None:
    """The values as a codebook, or None: plain ones, and affine ones whose scale changes within a channel or zero point between channels."""
    v = tensor.values
    if isinstance(v, Codebook):
        return v
    if isinstance(v, Binary):
        return Codebook(v.signs, 1, np.array([[-1, 1]], np.float32), v.scale)
    if isinstance(v, Ternary):
        return Codebook(v.trits, 2, np.array([[-1, 0, 1]], np.float32), v.scale)
    if isinstance(v, Affine) and v.scale.shape[1] == 1 and (v.zero_point is None or v.zero_point.size == 1):
        zero = 2 ** (v.bits - 1) if v.zero_point is None else int(v.zero_point[0, 0])
        grid = (np.arange(2 ** v.bits) - zero).astype(np.float32)[None]
        if v.scale.size == 1:
            return Codebook(v.codes, v.bits, grid * v.scale)
        return Codebook(v.codes, v.bits, grid, v.scale[:, 0])
    return None


def with_table(tensor: EncodedTensor) -> EncodedTensor:
    """The weight with ternary or affine values as a codebook, where they have one; others as they are."""
    book = None if isinstance(tensor.values, (Plain, Binary)) else table_of(tensor)
    return tensor if book is None else replace(tensor, values=book)
