"""Places buffers with known lifetimes into one block of memory."""

from __future__ import annotations

from collections.abc import Sequence

from ..formats.record import dataclass
from ..kernels.slabs import ALIGNMENT


@dataclass(frozen=True)
class Lifetime:
    """A buffer of ``nbytes`` that is in use from step ``first`` to step ``last``, both included."""

    nbytes: int
    first: int
    last: int


def place(lifetimes: Sequence[Lifetime], halves: bool = False) -> tuple[list[int], int]:
    """(byte offset of each buffer, size of the whole): buffers alive at the same time do not overlap.

    Largest first, each at the lowest offset where it fits (greedy by size, arXiv 2001.03288 section 5.2). ``halves``: two threads make a half of each
    buffer; where it can be, buffers lie around the middle of a larger one, so that a thread finds in its cache the memory that it writes to.
    """
    offsets = [0] * len(lifetimes)
    placed: list[tuple[int, int, Lifetime]] = []  # (offset, end, lifetime)
    for index in sorted(range(len(lifetimes)), key=lambda i: (-lifetimes[i].nbytes, lifetimes[i].first, i)):
        wanted = lifetimes[index]
        size = -(-wanted.nbytes // ALIGNMENT) * ALIGNMENT
        taken = sorted((s, e) for s, e, other in placed if other.first <= wanted.last and wanted.first <= other.last)
        middles = dict.fromkeys(s + (e - s - size) // 2 // ALIGNMENT * ALIGNMENT for s, e, _ in placed) if halves else ()
        found = next((at for at in middles if all(at + size <= s or e <= at for s, e in taken)), None)
        offset = 0
        for start, end in taken:
            if offset + size <= start:
                break
            offset = max(offset, end)
        offset = offset if found is None else found
        offsets[index] = offset
        placed.append((offset, offset + size, wanted))
    return offsets, max((end for _, end, _ in placed), default=0)
