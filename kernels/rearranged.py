"""Weights as matrices of other shapes than the tensors that hold them: elements moved about, still encoded."""

from __future__ import annotations

import numpy as np

from ..formats.record import replace
from ..formats.structures import absent
from ..formats.tensor import Affine, Codebook, Dense, EncodedTensor, Plain, Sparse, Values


def rearranged(tensor: EncodedTensor, positions: np.ndarray, values: Values, axis: int) -> EncodedTensor:
    """The matrix whose elements lie at these row-major ``positions`` of the tensor. ``values``: the tensor's, with the tables and scales that
    belong to the matrix's ``axis``. Any structure but dense becomes a mask."""
    flat = positions.reshape(-1)
    structure: Dense | Sparse = Dense()
    if not isinstance(tensor.structure, Dense):
        kept = tensor.kept()
        structure, places = Sparse.of(kept[flat]), np.cumsum(kept) - 1
        flat = places[flat[kept[flat]]]
    held: Values = replace(values, data=values.data[flat]) if isinstance(values, Plain) else values.with_symbols(values.symbols[flat])
    return EncodedTensor(positions.shape, tensor.dtype, held, structure, axis)


def outlined(tensor: EncodedTensor, shape: tuple[int, int], values: Values, axis: int) -> EncodedTensor:
    """As ``rearranged``, for planning: kinds and sizes hold, elements mean nothing."""
    structure = tensor.structure if isinstance(tensor.structure, Dense) else Sparse(np.empty(0, np.uint8))
    held = tensor.held * shape[0] * shape[1] // max(tensor.size, 1)
    own = Plain(absent(held, values.data.dtype.name)) if isinstance(values, Plain) else values.with_symbols(absent(held, "uint8"))
    return EncodedTensor(shape, tensor.dtype, own, structure, axis)


def is_uniform(values: Values) -> bool:
    """Whether symbols mean the same wherever they stand, so that the channels' axis does not matter."""
    if isinstance(values, Codebook):
        return values.scale is None and len(values.entries) == 1
    return isinstance(values, Plain) or (isinstance(values, Affine) and values.scale.size == 1)
