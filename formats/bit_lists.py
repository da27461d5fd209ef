"""Lists of small numbers and runs as bits, for the tables of Huffman and rANS: Rice codes, and Elias's gamma code for runs.

A value v is v >> k ones, a zero and the k low bits of v, lowest first. After the value 0 comes a run's length, of b + 1 bits: b ones, a
zero, the b low bits.
"""

from __future__ import annotations

import numpy as np

from .cursor import Cursor
from .errors import FormatError


def _run_bits(runs: np.ndarray) -> int:
    found = runs[runs > 0]
    return 2 * int(np.frexp(found)[1].sum()) - found.size if found.size else 0


def cheapest(values: np.ndarray, runs: np.ndarray, most: int) -> tuple[int, int]:
    """(bits of ``token_bits``, k), for the best k up to ``most``."""
    costs = [int((values >> k).sum()) + (1 + k) * values.size for k in range(most + 1)]
    return min(costs) + _run_bits(runs), costs.index(min(costs))


def token_bits(values: np.ndarray, runs: np.ndarray, k: int) -> list[int]:
    """``values``, each 0 followed by its run (at least 1)."""
    bits: list[int] = []
    for value, run in zip(values.tolist(), runs.tolist()):
        bits += [1] * (value >> k) + [0] + [value >> i & 1 for i in range(k)]
        if value == 0:
            size = run.bit_length() - 1
            bits += [1] * size + [0] + [run >> i & 1 for i in range(size)]
    return bits


class BitReader:
    """Takes bytes of ``cursor`` as it needs them. ``what`` and ``error``: of what it reports."""

    def __init__(self, cursor: Cursor, what: str, error: type[FormatError]) -> None:
        self.cursor, self.what, self.error = cursor, what, error
        self.byte, self.left = 0, 0

    def bit(self) -> int:
        if self.left == 0:
            self.byte, self.left = self.cursor.byte(self.what), 8
        self.left -= 1
        bit = self.byte & 1
        self.byte >>= 1
        return bit

    def bits(self, count: int) -> int:
        return sum(self.bit() << i for i in range(count))

    def unary(self, most: int) -> int:
        """The number of ones before the next zero."""
        count = 0
        while self.bit():
            count += 1
            if count > most:
                self.cursor.fail(self.error, f"{self.what} has more than {most} ones in a row")
        return count
