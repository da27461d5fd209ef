"""Where blobs lie: in order, without holes other than the zero padding in front of aligned ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate

from .codes import ALIGNMENT, WeightEntry
from .record import replace


def place(entries: Sequence[WeightEntry], start: int) -> tuple[list[WeightEntry], int]:
    """The entries in their given order with offsets, and the file's length; ``start`` is where the header's CRC-32 ends.

    First come m of the blobs that need no alignment, then the aligned ones whose length is a multiple of the alignment (they
    need no padding between them), then the other aligned ones, then the rest; within each part, weights keep their order.
    m is the smallest number that makes the padding in front of the first aligned blob as small as it can be.
    """
    loose = [i for i, entry in enumerate(entries) if not entry.is_aligned]
    aligned = sorted((i for i, entry in enumerate(entries) if entry.is_aligned), key=lambda i: entries[i].nbytes % ALIGNMENT != 0)
    reached = list(accumulate((entries[i].nbytes for i in loose), initial=start))
    m = min(range(len(reached)), key=lambda m: -reached[m] % ALIGNMENT)
    placed, end = list(entries), start
    for i in [*loose[:m], *aligned, *loose[m:]]:
        offset = end + (-end % ALIGNMENT if entries[i].is_aligned else 0)
        placed[i] = replace(entries[i], offset=offset)
        end = offset + entries[i].nbytes
    return placed, end


def gaps(placed: Sequence[WeightEntry], start: int) -> Iterator[tuple[int, int]]:
    """(offset, end) of every stretch of padding."""
    end = start
    for entry in sorted(placed, key=lambda e: (e.offset, e.nbytes)):
        if entry.offset > end:
            yield end, entry.offset
        end = entry.offset + entry.nbytes
