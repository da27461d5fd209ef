"""Frequencies of rANS symbols: how they are chosen and stored (SPEC.md, "Frequencies").

A symbol's weight is a small floating-point number: its *level* q stands for (2**m + q % 2**m) << (q >> m), m being 0 to 3. Frequencies are
what the weights' running sums, scaled to 2**bits, differ by. Levels lie close together, so they are stored as differences, like the lengths of a
Huffman code; coarse levels (m small) cost little to store and little in the code, because a frequency that is wrong by a factor 1 + d costs
about d² / 2 nats.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from .bit_lists import BitReader, cheapest, token_bits
from .cursor import Cursor
from .errors import FrequencyError, PaddingError
from .record import dataclass

MIN_BITS, MAX_BITS = 8, 15
MAX_MANTISSA = 3
MAX_EXPONENT = 31
_FIRST_EXPONENT = 16
_MAX_RICE = 7
_SMALL_BITS = 12


@dataclass(frozen=True, eq=False)
class Model:
    """``frequencies``: uint32[alphabet], their sum is ``2**bits``. ``levels``: int64[alphabet], -1 where a symbol does not occur."""

    bits: int
    mantissa: int
    levels: np.ndarray
    frequencies: np.ndarray


def weights_of(levels: np.ndarray, mantissa: int) -> np.ndarray:
    """int64[alphabet]; 0 for level -1."""
    kept = np.maximum(levels, 0)
    return np.where(levels < 0, 0, (1 << mantissa) + kept % (1 << mantissa) << (kept >> mantissa))


def frequencies_of(levels: np.ndarray, mantissa: int, bits: int) -> np.ndarray:
    """uint32[alphabet]; the frequency of a symbol that occurs may come out as 0, which no file may have."""
    sums = np.cumsum(weights_of(levels, mantissa))
    scaled = (sums << bits) // sums[-1]
    return np.diff(scaled, prepend=0).astype(np.uint32)


def fit(counts: np.ndarray, mantissa: int, bits: int) -> Model | None:
    """The levels nearest to ``counts``, each as rare as ``bits`` allow; None if there are more symbols than slots."""
    used = np.flatnonzero(counts)
    if used.size > 1 << bits:
        return None
    floor = 1.0
    while True:
        found = np.maximum(counts[used].astype(np.float64), floor * float(counts.sum()) / (1 << bits))
        levels = np.full(counts.size, -1, np.int64)
        levels[used] = _nearest(found / found[0], mantissa)
        frequencies = frequencies_of(levels, mantissa, bits)
        if frequencies[used].all():
            return Model(bits, mantissa, levels, frequencies)
        floor *= 1.25


def best_model(counts: np.ndarray) -> Model:
    """The model with the smallest table and code together; of 12 bits where that costs at most 0.1 % more, so that a decoder's table stays small."""
    small, best = _best_mantissa(counts, _SMALL_BITS), None
    if small is None or int(counts.sum()) > 1 << _SMALL_BITS:
        best = _best_mantissa(counts, MAX_BITS)
    if best is None or (small is not None and 1000 * cost(small, counts) <= 1001 * cost(best, counts)):
        best = small
    assert best is not None, "there are no more symbols than slots"
    return best


def _best_mantissa(counts: np.ndarray, bits: int) -> Model | None:
    """More bits of mantissa make the table larger and the code smaller; where the code is small, what gains nothing ends the search."""
    is_small, best = int(counts.sum()) <= 1 << _SMALL_BITS, fit(counts, 0, bits)
    for mantissa in range(1, MAX_MANTISSA + 1):
        model = fit(counts, mantissa, bits)
        if best is None or model is None:
            break
        if cost(model, counts) < cost(best, counts):
            best = model
        elif is_small:
            break
    return best


def quick_model(counts: np.ndarray) -> Model:
    """A model that is nearly as good as ``best_model``, to compare ways to code by."""
    model = fit(counts, 1, _SMALL_BITS)
    return best_model(counts) if model is None else model


def cost(model: Model, counts: np.ndarray) -> int:
    """Bits of table and code."""
    return 8 * table_size(model) + coded_bits(model, counts)


def coded_bits(model: Model, counts: np.ndarray) -> int:
    """What symbols that occur ``counts`` times take, without the states."""
    lengths = (model.bits << 16) - _log2_table()[model.frequencies]
    return int((counts * np.where(counts > 0, lengths, 0)).sum()) >> 16


def _nearest(ratios: np.ndarray, mantissa: int) -> np.ndarray:
    """Levels whose weights are proportional to ``ratios``, the first of which is 1."""
    fraction, exponent = np.frexp(ratios)  # fraction in 0.5 … 1
    steps = np.rint((2 * fraction - 1) * (1 << mantissa)).astype(np.int64)
    return (exponent.astype(np.int64) - 1 + _FIRST_EXPONENT << mantissa) + steps


def tokens(model: Model) -> tuple[np.ndarray, np.ndarray]:
    """(values, runs), as ``bit_lists`` stores them: 0 for a run of symbols that do not occur, else 1 + the zigzag difference to the level before."""
    used = np.flatnonzero(model.levels >= 0)
    delta = np.diff(model.levels[used], prepend=_FIRST_EXPONENT << model.mantissa)
    zeros = np.diff(np.append(used, model.levels.size), prepend=-1) - 1  # before each symbol that occurs, and at the end
    values = np.stack([np.zeros_like(delta), np.where(delta >= 0, 2 * delta, -2 * delta - 1) + 1], axis=1).ravel()
    runs = np.stack([zeros[:-1], np.zeros_like(delta)], axis=1).ravel()
    keep = (values > 0) | (runs > 0)
    rest = zeros[-1:][zeros[-1:] > 0]
    return np.append(values[keep], 0 * rest), np.append(runs[keep], rest)


def table_size(model: Model) -> int:
    """Bytes of ``encode_table``."""
    return 1 + -(-cheapest(*tokens(model), _MAX_RICE)[0] // 8)


def encode_table(model: Model) -> bytes:
    found = tokens(model)
    _, k = cheapest(*found, _MAX_RICE)
    head = [model.mantissa & 1, model.mantissa >> 1, *(k >> i & 1 for i in range(3)), *(model.bits - MIN_BITS >> i & 1 for i in range(3))]
    return np.packbits(np.array(head + token_bits(*found, k), np.uint8), bitorder="little").tobytes()


def decode_table(cursor: Cursor, alphabet: int) -> tuple[np.ndarray, int]:
    """(uint32[alphabet], bits). FrequencyError if it is no table of frequencies, PaddingError if its last byte has bits set past its end."""
    reader = BitReader(cursor, "a table of frequencies", FrequencyError)
    mantissa, k, bits = reader.bits(2), reader.bits(3), MIN_BITS + reader.bits(3)
    levels, at, level = np.full(alphabet, -1, np.int64), 0, _FIRST_EXPONENT << mantissa
    most = (MAX_EXPONENT + 1 << mantissa) - 1
    while at < alphabet:
        value = reader.unary((2 * most + 1) >> k) << k | reader.bits(k)
        if value == 0:
            size = reader.unary(15)
            run = 1 << size | reader.bits(size)
            if run > alphabet - at:
                cursor.fail(FrequencyError, f"a run of {run} absent symbols begins at symbol {at} of an alphabet of {alphabet}")
            at += run
            continue
        level += (value - 1) >> 1 ^ -((value - 1) & 1)
        if not 0 <= level <= most:
            cursor.fail(FrequencyError, f"symbol {at} has level {level}, but levels are 0 to {most}")
        levels[at] = level
        at += 1
    if reader.byte:
        cursor.fail(PaddingError, "the last byte of a table of frequencies has bits set past its end")
    if (levels < 0).all():
        cursor.fail(FrequencyError, "no symbol has a frequency")
    frequencies = frequencies_of(levels, mantissa, bits)
    if not frequencies[levels >= 0].all():
        cursor.fail(FrequencyError, f"the frequency of symbol {int(np.flatnonzero((levels >= 0) & (frequencies == 0))[0])} comes out as 0")
    return frequencies, bits


@cache
def _log2_table() -> np.ndarray:
    """int64[2**MAX_BITS + 1]: log₂ of 1 and up in units of 2**-16, rounded down; integers alone, so that it is the same everywhere."""
    numbers = np.arange(1, (1 << MAX_BITS) + 1, dtype=np.uint64)
    whole = np.frexp(numbers.astype(np.float64))[1].astype(np.int64) - 1
    x, out = numbers << (31 - whole).astype(np.uint64), whole
    for _ in range(16):
        x = x * x >> np.uint64(31)
        bit = x >> np.uint64(32)
        x >>= bit
        out = out << 1 | bit.astype(np.int64)
    return np.concatenate([[0], out])
