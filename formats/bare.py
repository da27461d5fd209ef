"""Weights whose blobs are nothing but their values: dense, plain, not coded. Files of floats hold hardly any others; they need no decoder."""

from __future__ import annotations

import numpy as np

from .codes import WeightEntry, read_array
from .cursor import Cursor
from .errors import TrailingDataError
from .structures import Dense, absent
from .tensor import EncodedTensor
from .values import Plain


def decode_bare(entry: WeightEntry, buffer: memoryview) -> EncodedTensor:
    """As ``blobs.decode_blob``, of an entry that is bare."""
    cursor = cursor_of(entry, buffer)
    data = lying(entry, cursor, entry.stored, entry.size, "the values")
    check_end(cursor)
    return _tensor(entry, data)


def outline_bare(entry: WeightEntry) -> EncodedTensor:
    """As ``EncodedTensor.outline``; the blob is not looked at."""
    return _tensor(entry, absent(entry.size, entry.stored))


def _tensor(entry: WeightEntry, data: np.ndarray) -> EncodedTensor:
    return EncodedTensor(entry.shape, entry.dtype, Plain(data), Dense(), entry.axis, entry.coder)


def lying(entry: WeightEntry, cursor: Cursor, dtype: str, count: int, what: str) -> np.ndarray:
    """Numbers as they lie in the file; only aligned values are views of it."""
    data = read_array(cursor, dtype, count, what)
    return data if entry.is_aligned else data.copy()


def check_end(cursor: Cursor) -> None:
    if cursor.left:
        cursor.fail(TrailingDataError, f"{cursor.left} bytes are left over after the last stream")


def cursor_of(entry: WeightEntry, buffer: memoryview) -> Cursor:
    return Cursor(buffer, entry.offset, entry.offset + entry.nbytes, f"weight {entry.name!r}")
