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


ROOMIER = 1.5
"""So much more memory zones may take."""


def place(lifetimes: Sequence[Lifetime], halves: bool = False) -> tuple[list[int], int]:
    """(byte offset of each buffer, size of the whole): buffers alive at the same time do not overlap.

    ``halves``: two threads make a half of each buffer; if that takes little more memory, they lie so that each thread writes where it wrote before.
    """
    order = sorted(range(len(lifetimes)), key=lambda i: (-lifetimes[i].nbytes, lifetimes[i].first, i))
    found = _greedily(lifetimes, order)
    if halves:
        offsets, total = _in_zones(lifetimes, order)
        if total <= ROOMIER * found[1]:
            return offsets, total
    return found


def _greedily(lifetimes: Sequence[Lifetime], order: Sequence[int]) -> tuple[list[int], int]:
    """Largest first, each at the lowest offset where it fits (greedy by size, arXiv 2001.03288 section 5.2)."""
    offsets = [0] * len(lifetimes)
    placed: list[tuple[int, int, Lifetime]] = []  # (offset, end, lifetime)
    for index in order:
        wanted = lifetimes[index]
        size = _rounded(wanted.nbytes)
        offset = 0
        first, last = wanted.first, wanted.last
        for start, end in sorted([(s, e) for s, e, other in placed if other.first <= last and first <= other.last]):
            if offset + size <= start:
                break
            offset = max(offset, end)
        offsets[index] = offset
        placed.append((offset, offset + size, wanted))
    return offsets, max((end for _, end, _ in placed), default=0)


def _in_zones(lifetimes: Sequence[Lifetime], order: Sequence[int]) -> tuple[list[int], int]:
    """Largest first, each around the middle of the first zone in which none lives meanwhile. Zones, each as large as its first buffer, lie apart:
    a line of memory that another core has in its cache takes some times longer to write, up to a hundred where cores share no cache."""
    offsets, total = [0] * len(lifetimes), 0
    zones: list[tuple[int, int, list[Lifetime]]] = []  # (offset, size, buffers)
    for index in order:
        wanted = lifetimes[index]
        size = _rounded(wanted.nbytes)
        zone = next((zone for zone in zones if not any(_meet(other, wanted) for other in zone[2])), None)
        if zone is None:
            zone = (total, size, [])
            zones.append(zone)
            total += size
        zone[2].append(wanted)
        offsets[index] = zone[0] + (zone[1] - size) // 2 // ALIGNMENT * ALIGNMENT
    return offsets, total


def _rounded(nbytes: int) -> int:
    return -(-nbytes // ALIGNMENT) * ALIGNMENT


def _meet(one: Lifetime, other: Lifetime) -> bool:
    return one.first <= other.last and other.first <= one.last
