"""Places buffers with known lifetimes into one block of memory."""

from __future__ import annotations

from collections.abc import Sequence

from ..formats.record import dataclass
from ..kernels.lowering import ALIGNMENT


@dataclass(frozen=True)
class Lifetime:
    """A buffer of ``nbytes`` that is in use from step ``first`` to step ``last``, both included."""

    nbytes: int
    first: int
    last: int


def place(lifetimes: Sequence[Lifetime]) -> tuple[list[int], int]:
    """(byte offset of each buffer, size of the whole): buffers alive at the same time do not overlap.

    Largest first, each at the lowest offset where it fits (greedy by size, arXiv 2001.03288 section 5.2).
    """
    offsets = [0] * len(lifetimes)
    placed: list[tuple[int, int, Lifetime]] = []  # (offset, end, lifetime)
    for index in sorted(range(len(lifetimes)), key=lambda i: (-lifetimes[i].nbytes, lifetimes[i].first, i)):
        wanted = lifetimes[index]
        size = -(-wanted.nbytes // ALIGNMENT) * ALIGNMENT
        offset = 0
        for start, end in sorted((s, e) for s, e, other in placed if other.first <= wanted.last and wanted.first <= other.last):
            if offset + size <= start:
                break
            offset = max(offset, end)
        offsets[index] = offset
        placed.append((offset, offset + size, wanted))
    return offsets, max((end for _, end, _ in placed), default=0)
