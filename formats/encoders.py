"""The encoders of rANS and arithmetic codes: native where they were built, else in Python, many times slower. Both give the same bytes."""

from __future__ import annotations

import numpy as np

from . import arithmetic, rans
from .compiled import native
from .places import Places


def encode_rans(symbols: np.ndarray, frequencies: np.ndarray, bits: int, lanes: int) -> bytes:
    """States and words; see ``rans.encode``."""
    if native is None:
        return rans.encode(symbols, frequencies, bits, lanes)
    found: bytes = native.rans_encode(symbols.astype(np.uint16, copy=False), frequencies, bits, lanes)
    return found


def encode_arithmetic(elements: np.ndarray, alphabet: int, width: int, contexts: int, places: Places) -> tuple[bytes, int]:
    """(digits, how many of the last eight are kept); see ``arithmetic.encode``."""
    if native is None:
        return arithmetic.encode(elements, alphabet, width, contexts, places)
    digits, kept = native.arithmetic_encode(elements, alphabet, width, contexts, places.row, places.columns)
    return digits, kept
