"""From a tensor's elements (small integers) to coded symbols and back: single, tuples, runs (SPEC.md, "Streams")."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from .codes import MAX_RUN
from .record import dataclass

SINGLE, TUPLE, RUN, SPLIT = range(4)
MAX_TUPLE_BITS = 12


@dataclass(frozen=True, eq=False)
class Transform:
    """``parameter`` is p for tuples and R for runs; ``dominant`` the element (0 or 1) that runs consist of."""

    kind: int
    width: int
    alphabet: int
    parameter: int = 0
    dominant: int = 0

    def apply(self, elements: np.ndarray) -> np.ndarray:
        """The coded symbols."""
        if self.kind == SINGLE:
            return elements
        return to_tuples(elements, self.parameter, self.width) if self.kind == TUPLE else to_runs(elements, self.parameter, self.dominant)


def symbol_width(alphabet: int) -> int:
    """Bits of an element of ``alphabet`` kinds, at least 1."""
    return max((alphabet - 1).bit_length(), 1)


def to_tuples(elements: np.ndarray, p: int, width: int) -> np.ndarray:
    """uint16[ceil(n / p)]: p elements a symbol, the first in the lowest bits; the last symbol is filled up with zeros."""
    grid = np.zeros((-(-elements.size // p), p), np.uint8)
    grid.ravel()[:elements.size] = elements
    out = np.zeros(len(grid), np.uint16)
    for i in range(p):
        out |= grid[:, i].astype(np.uint16) << np.uint16(i * width)
    return out


def from_tuples(symbols: np.ndarray, p: int, width: int) -> np.ndarray:
    """uint8[p * symbols]: the inverse of ``to_tuples``, with the zeros that fill up the last symbol."""
    out = np.empty((symbols.size, p), np.uint8)
    mask = np.uint16(2 ** width - 1)
    for i in range(p):
        out[:, i] = symbols >> np.uint16(i * width) & mask
    return out.ravel()


def gaps(elements: np.ndarray, dominant: int) -> tuple[np.ndarray, int]:
    """(int64: how many dominant elements precede each other one, how many follow the last)."""
    places = np.flatnonzero(elements != dominant)
    last = int(places[-1]) if places.size else -1
    return np.diff(places, prepend=-1) - 1, elements.size - 1 - last


def to_runs(elements: np.ndarray, longest: int, dominant: int) -> np.ndarray:
    """uint16: r below R for r dominant elements and then another one, R for R dominant ones; a last R may reach past the end."""
    before, after = gaps(elements, dominant)
    ends = np.cumsum(before // longest + 1)
    nrest = -(-after // longest)
    out = np.full((int(ends[-1]) if ends.size else 0) + nrest, longest, np.uint16)
    out[ends - 1] = before % longest
    return out


def from_runs(symbols: np.ndarray, longest: int, dominant: int, count: int) -> np.ndarray:
    """uint8[count]; ValueError if the symbols stand for another number of elements."""
    is_end = symbols < longest
    ends = np.cumsum(symbols.astype(np.int64) + is_end)
    total = int(ends[-1]) if ends.size else 0
    if total < count or (total > count and (is_end[-1] or total - longest >= count)):
        raise ValueError(f"the runs stand for {total} elements, but there are {count}")
    out = np.full(count, dominant, np.uint8)
    out[ends[is_end] - 1] = 1 - dominant
    return out


def run_histograms(elements: np.ndarray, dominant: int, longest: tuple[int, ...]) -> Iterator[tuple[int, np.ndarray]]:
    """(R, int64[R + 1]: how often each coded symbol of ``to_runs`` occurs), without forming the symbols."""
    before, after = gaps(elements, dominant)
    lengths, counts = np.unique(before, return_counts=True)
    for r in longest:
        found = np.bincount((lengths % r).astype(np.intp), weights=counts, minlength=r + 1).astype(np.int64)
        found[r] = int((counts * (lengths // r)).sum()) + -(-after // r)
        yield r, found


RAW_RUNS = tuple(2 ** width - 1 for width in range(1, 13))
CODED_RUNS = tuple(sorted({min(base << shift, MAX_RUN) for base in (2, 3) for shift in range(12)}))
