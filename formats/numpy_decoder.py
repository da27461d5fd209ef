"""The decoders of entropy codes in Python: the references, and what runs where nothing was compiled."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from . import arithmetic, huffman, rans
from .code_table import decode_lengths
from .cursor import Cursor
from .places import Places
from .transforms import from_tuples


class NumpyDecoder:
    def streams(self, cursor: Cursor, coder: str, count: int, alphabet: int, width: int, planes: int) -> np.ndarray | None:
        return None

    def code_lengths(self, cursor: Cursor, alphabet: int) -> np.ndarray:
        return decode_lengths(cursor, alphabet)

    def huffman_symbols(self, payload: np.ndarray, sizes: Sequence[int], lengths: np.ndarray, count: int) -> np.ndarray:
        return huffman.decode(payload, sizes, lengths, count)

    def huffman_tuples(self, payload: np.ndarray, sizes: Sequence[int], lengths: np.ndarray, count: int, p: int, width: int) -> np.ndarray:
        return from_tuples(huffman.decode(payload, sizes, lengths, count), p, width)

    def rans_symbols(self, payload: np.ndarray, lanes: int, frequencies: np.ndarray, bits: int, count: int) -> tuple[np.ndarray, int]:
        return rans.decode(payload, lanes, frequencies, bits, count)

    def rans_tuples(self, payload: np.ndarray, lanes: int, frequencies: np.ndarray, bits: int, count: int, p: int,
                    width: int) -> tuple[np.ndarray, int]:
        symbols, used = rans.decode(payload, lanes, frequencies, bits, count)
        return from_tuples(symbols, p, width), used

    def arithmetic(self, payload: np.ndarray, count: int, alphabet: int, width: int, contexts: int, places: Places) -> tuple[np.ndarray, int]:
        return arithmetic.decode(payload, count, alphabet, width, contexts, places)
