"""How the positions of a product with many columns are numbered, and cut into blocks and chunks that caches hold."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from ...formats.record import dataclass
from .rows import MOST_COLUMNS

ALIGNED = 16
"""Blocks of positions are multiples of the longest vector; x is read in place only where it is, too, so that all loads are aligned."""
VECTORS, MOST_VECTORS, FEW_COLUMNS = 5, 8, 48
"""Vectors of a block of one tap: more of them where its columns are few."""
SPAN = MOST_VECTORS * ALIGNED
"""Positions whose sums are in registers, at most (sparse_spmm.cpp)."""
L1_FLOATS = 12288
"""Inputs of a chunk: a good part of them stays in L1, and rows have enough weights in each chunk."""
PLANES = 320 << 10
"""Bytes of the planes of a block: a span of positions reads them from L2, and few of them are brought there twice."""
SCRATCH = 1 << 20
"""Bytes of the inputs of a block."""
ITEMS_PER_THREAD = 4
IN_PLACE = 2
"""Of Inputs in columns.h: 0 are planes, 1 planes of each tap."""


@dataclass(frozen=True)
class Grid:
    """Positions of an image, numbered with what the kernel reaches beyond each row (Grid of columns.h). ``phases``: planes of a channel;
    ``beyond``: floats of one that lie behind those of the positions. ``width``: positions of a row; ``step``: of x between two of them. ``copied``:
    each tap has a plane of its own, and nothing lies beyond."""

    positions: int
    taps: int
    phases: int
    beyond: int
    width: int
    step: int
    copied: bool

    @staticmethod
    def of(geometry: Sequence[int], copied: bool) -> Grid:
        """``geometry``: from channels on."""
        out, kernel, stride, dilation = (geometry[i:i + 3] for i in (5, 8, 11, 14))
        if copied:
            return Grid(prod(out), prod(kernel), prod(kernel), 0, out[2], stride[2], True)
        last = [(k - 1) * d for k, d in zip(kernel, dilation)]
        reach = [n // s for n, s in zip(last, stride)]
        width, height = out[2] + reach[2], out[1] + reach[1]
        return Grid(((out[0] - 1) * height + out[1] - 1) * width + out[2], prod(kernel), prod(min(s, n + 1) for n, s in zip(last, stride)),
                    (reach[0] * height + reach[1]) * width + reach[2], width, stride[2], False)

    def floats(self, positions: int) -> int:
        """Of a channel, for so many positions."""
        return self.phases * -(-(positions + self.beyond) // ALIGNED) * ALIGNED

    def block(self, channels: int, threads: int) -> int:
        """Positions of a work item: blocks of nearly equal width."""
        vectors = -(-self.positions // ALIGNED)
        if self.phases == self.taps:
            blocks = -(-vectors // (MOST_VECTORS if channels * self.taps <= FEW_COLUMNS else VECTORS))
            if blocks % threads and vectors >= MOST_VECTORS // 2 * threads:  # as many for each thread, and of nearly the same width
                fewer = blocks // threads * threads
                blocks = fewer if fewer and -(-vectors // fewer) <= MOST_VECTORS else fewer + threads
        else:
            most = max(PLANES // (4 * channels * self.phases) - self.beyond, SPAN)
            blocks = -(-self.positions // most)
            if threads > 1:
                blocks = max(blocks, min(ITEMS_PER_THREAD * threads, -(-self.positions // SPAN)))
        block = -(-vectors // blocks) * ALIGNED
        while channels * self.floats(block) * 4 > SCRATCH and block > ALIGNED:
            block = -(-block // ALIGNED // 2) * ALIGNED
        return block

    def chunk(self, channels: int, block: int) -> int:
        """Columns of a chunk, nearly equal in number; what a span reads of them fits into L1."""
        columns = channels * self.taps
        chunks = max(-(-channels * self.floats(min(block, SPAN)) // L1_FLOATS), -(-columns // MOST_COLUMNS))
        return -(-columns // chunks)
