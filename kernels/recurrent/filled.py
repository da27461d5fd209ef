"""Weights of integers that have no value in some positions, as dense ones: a symbol stands for 0 there. A code times 0 adds nothing, so sums are the
same, and whoever looks symbols up needs no positions."""

from __future__ import annotations

import numpy as np

from ...formats.record import replace
from ...formats.structures import absent
from ...formats.tensor import Affine, Binary, Codebook, Dense, EncodedTensor, Plain, Ternary

Coded = Affine | Binary | Codebook | Ternary
MOST_SYMBOLS = 256


def filled(tensor: EncodedTensor, is_outline: bool = False) -> EncodedTensor | None:
    """The same integers in a dense matrix; None where no symbol is left for 0. ``is_outline``: symbols mean nothing, and none are made."""
    if isinstance(tensor.structure, Dense):
        return tensor
    values = tensor.values
    if isinstance(values, Plain):
        return None
    found = _with_nothing(tensor, values)
    if found is None:
        return None
    tables, nothing, of = found
    if is_outline:
        return replace(tensor, structure=Dense(), values=tables.with_symbols(absent(tensor.size, "uint8")))
    kept, symbols = tensor.kept(), np.empty(tensor.size, np.uint8)
    symbols.reshape(tensor.shape)[:] = nothing
    symbols[kept] = values.symbols * np.uint8(of)
    return replace(tensor, structure=Dense(), values=tables.with_symbols(symbols))


def _with_nothing(tensor: EncodedTensor, values: Coded) -> tuple[Coded, np.ndarray, int] | None:
    """Values with a symbol for 0; that symbol, in the shape of the tensor or what spreads to it; and what their own symbols are multiplied by."""
    if isinstance(values, Affine):
        if values.zero_point is None:
            return values, np.array(2 ** (values.bits - 1), np.uint8), 1
        if values.zero_point.shape[1] > 1:
            return None
        return values, values.zero_point.reshape([-1 if axis == tensor.axis else 1 for axis in range(len(tensor.shape))]), 1
    if isinstance(values, Binary):
        return Ternary(values.signs, values.scale), np.array(1, np.uint8), 2
    if isinstance(values, Ternary):
        return values, np.array(1, np.uint8), 1
    if not isinstance(values, Codebook) or values.entries.dtype != np.int8:
        return None
    known = np.flatnonzero((values.entries == 0).all(axis=0))
    if known.size:
        return values, known[0].astype(np.uint8), 1
    last = values.alphabet
    if last == MOST_SYMBOLS:
        return None
    entries = np.concatenate([values.entries, np.zeros_like(values.entries[:, :1])], axis=1)
    return replace(values, entries=entries, bits=max(values.bits, last.bit_length())), np.array(last, np.uint8), 1
