"""How the lengths of a Huffman code are stored (SPEC.md, "Code lengths"): runs of zeros, and differences to the length before."""

from __future__ import annotations

import numpy as np

from .bit_lists import BitReader, cheapest, token_bits
from .cursor import Cursor
from .errors import CodeLengthsError, PaddingError
from .huffman import MAX_LENGTH, is_complete

_COMPLETE = 1 << MAX_LENGTH
_MAX_RICE = 3


def first_guess(alphabet: int) -> int:
    """What the first length is compared with: that of a code with equal lengths."""
    return min(max((alphabet - 1).bit_length(), 1), MAX_LENGTH)


def tokens(lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(values, runs): 0 for a run of zeros, whose length is in ``runs``; else 1 + the zigzag difference to the length before.

    Zeros after the last used symbol are left out (the code is complete there), unless the code has one symbol alone.
    """
    used = np.flatnonzero(lengths)
    found = lengths[used].astype(np.int64)
    delta = np.diff(found, prepend=first_guess(lengths.size))
    zigzag = np.where(delta >= 0, 2 * delta, -2 * delta - 1) + 1
    zeros = np.diff(used, prepend=-1) - 1
    pairs = np.stack([np.zeros_like(zeros), zigzag], axis=1).ravel()
    runs = np.stack([zeros, np.zeros_like(zeros)], axis=1).ravel()
    keep = (pairs > 0) | (runs > 0)
    values, runs = pairs[keep], runs[keep]
    rest = lengths.size - 1 - int(used[-1])
    if used.size == 1 and rest:
        values, runs = np.append(values, 0), np.append(runs, rest)
    return values, runs


def table_size(lengths: np.ndarray) -> int:
    """Bytes of ``encode_lengths``."""
    values, runs = tokens(lengths)
    return -(-(2 + cheapest(values, runs, _MAX_RICE)[0]) // 8)


def encode_lengths(lengths: np.ndarray) -> bytes:
    """The table of a code that ``is_complete``."""
    values, runs = tokens(lengths)
    _, k = cheapest(values, runs, _MAX_RICE)
    return np.packbits(np.array([k & 1, k >> 1, *token_bits(values, runs, k)], np.uint8), bitorder="little").tobytes()


def decode_lengths(cursor: Cursor, alphabet: int) -> np.ndarray:
    """uint8[alphabet]; CodeLengthsError if it is no complete code, PaddingError if the table's last byte has bits set past its end."""
    reader = BitReader(cursor, "a table of code lengths", CodeLengthsError)
    lengths = np.zeros(alphabet, np.uint8)
    k, at, previous, room = reader.bits(2), 0, first_guess(alphabet), _COMPLETE
    while at < alphabet and room > 0:
        value = reader.unary(2 * MAX_LENGTH) << k | reader.bits(k)
        if value == 0:
            size = reader.unary(MAX_LENGTH)
            run = 1 << size | reader.bits(size)
            if run > alphabet - at:
                cursor.fail(CodeLengthsError, f"a run of {run} zero lengths begins at symbol {at} of an alphabet of {alphabet}")
            at += run
            continue
        delta = (value - 1) >> 1 ^ -((value - 1) & 1)
        previous += delta
        if not 1 <= previous <= MAX_LENGTH:
            cursor.fail(CodeLengthsError, f"symbol {at} has a code of {previous} bits, but codes have 1 to {MAX_LENGTH}")
        lengths[at] = previous
        room -= _COMPLETE >> previous
        at += 1
    if not is_complete(lengths):
        cursor.fail(CodeLengthsError, f"the code lengths leave {room / _COMPLETE:.6f} of the code space, but must fill it exactly")
    if reader.byte:
        cursor.fail(PaddingError, "the last byte of a table of code lengths has bits set past its end")
    return lengths
