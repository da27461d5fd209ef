"""Weights of one to four bits in panels: in RAM they keep their bits, the kernel makes bytes of a tile at a time (coded.h)."""

from __future__ import annotations

import numpy as np

from ...formats.tensor import Affine, Binary, Codebook, Dense, EncodedTensor, Ternary
from .pack import PANEL, Matrix, weight_bytes

WORDS = 8
"""Words of four columns whose symbols lie together."""
ENTRIES = 16
"""Of a panel's table."""
MOST_BITS = 4


def bits_in_ram(tensor: EncodedTensor, matrix: Matrix, isa: str) -> int:
    """Of a weight; 0 where weights lie as bytes: they have more bits or a sparse structure, one panel has several tables, or nothing is saved."""
    values = tensor.values
    one_table = isinstance(values, (Binary, Ternary))
    if isinstance(values, Affine):
        one_table = values.zero_point is None or values.zero_point.size == 1
    elif isinstance(values, Codebook):
        groups = values.entries.shape[0]
        channels = tensor.shape[tensor.axis]
        by_output = tensor.axis == (1 if matrix.order == "columns" else 0)
        one_table = groups == 1 or (by_output and matrix.groups == 1 and -(-channels // groups) % PANEL == 0)
    bits = getattr(values, "bits", MOST_BITS + 1)
    fits = one_table and isinstance(tensor.structure, Dense) and bits <= MOST_BITS
    return bits if fits and coded_bytes(matrix, bits, isa) < weight_bytes(matrix, isa) else 0


def coded_bytes(matrix: Matrix, bits: int, isa: str) -> int:
    """Of the panels and their tables."""
    return matrix.groups * matrix.panels * (decoded_bytes(matrix, isa) // 8 * bits + ENTRIES)


def decoded_bytes(matrix: Matrix, isa: str) -> int:
    """Of one panel as bytes."""
    return -(-matrix.words(isa) // WORDS) * WORDS * 4 * PANEL


def coded(matrix: Matrix, w: np.ndarray, bits: int, isa: str) -> np.ndarray:
    """uint8: the panels of w[groups, outputs, columns], then int8[panels, 16], the integers that symbols stand for, in rising order."""
    panels = matrix.panelled(w, isa)
    groups = -(-panels.shape[1] // WORDS)
    symbols = np.zeros((len(panels), groups * WORDS, PANEL * 4), np.uint8)
    tables = np.zeros((len(panels), ENTRIES), np.int8)
    for place, panel in enumerate(panels):
        group, first = place // matrix.panels, place % matrix.panels * PANEL
        there = np.bincount(w[group, first:first + PANEL].reshape(-1).view(np.uint8), minlength=256) > 0
        integers = np.sort(np.flatnonzero(there).astype(np.uint8).view(np.int8))
        symbol_of = np.zeros(256, np.uint8)  # what only fills a panel up is the first
        symbol_of[integers.view(np.uint8)] = np.arange(integers.size)
        tables[place, :integers.size] = integers
        symbols[place, :panels.shape[1]] = symbol_of[np.ascontiguousarray(panel).view(np.uint8)]
    return np.concatenate([_packed(symbols.reshape(len(panels), groups, WORDS, -1), bits).reshape(-1), tables.reshape(-1).view(np.uint8)])


def _packed(symbols: np.ndarray, bits: int) -> np.ndarray:
    """uint8[panels, groups, bits, 64] of symbols[panels, groups, 8, 64]: of three bits the lower two and the third apart."""
    if bits == 3:
        return np.concatenate([_packed(symbols & 3, 2), _packed(symbols >> 2, 1)], axis=2)
    parts = symbols.reshape(*symbols.shape[:2], bits, WORDS // bits, -1)
    return np.bitwise_or.reduce(parts << (bits * np.arange(WORDS // bits, dtype=np.uint8))[:, None], axis=3)
