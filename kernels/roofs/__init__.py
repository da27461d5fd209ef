"""What the machine can do at most, measured: multiply-adds per second, bytes read per second from each cache and from memory."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from ...formats.record import dataclass
from .. import isa
from ..slabs import aligned

MACS = 768 * 4096
"""Multiply-adds of a work item: some 50 µs."""

PIECE = 4 << 20
"""Bytes that a thread reads in one call: some 100 µs. What is longer is interrupted on a busy machine, each time."""

TURNS, SECONDS = 5, 0.02
"""Every roof is measured so often, in turns, for so long at least; its best call counts."""

CACHES = Path("/sys/devices/system/cpu/cpu0/cache")
USUAL = {1: 32 << 10, 2: 512 << 10}
"""Bytes of a core's caches where the system does not say: those of small boards."""


@dataclass(frozen=True)
class Roofs:
    """``threads`` together, at the ISA level ``isa``: multiply-adds of float32 and int8 per second; ``levels``: (name, its bytes, bytes read per
    second) of each cache from L1 outwards and of DRAM, whose size counts as 2**63."""

    isa: str
    threads: int
    fma: float
    int8: float
    levels: tuple[tuple[str, int, float], ...]

    def seconds(self, nbytes: int) -> float:
        """The least time to read so many bytes again and again: each level holds as much as it can, and the next one the rest."""
        found, held = 0.0, 0
        for _, size, rate in self.levels:
            found += max(min(nbytes, size) - held, 0) / rate
            held = max(held, size)
        return found

    def best(self, other: Roofs) -> Roofs:
        """The higher of each two roofs of one machine, measured at two times."""
        levels = tuple((name, size, max(rate, again)) for (name, size, rate), (_, _, again) in zip(self.levels, other.levels))
        return Roofs(self.isa, self.threads, max(self.fma, other.fma), max(self.int8, other.int8), levels)


def measure(threads: int = 1) -> Roofs:
    """Takes about a second, and four times the last cache's memory. Raises RuntimeError without compiled kernels."""
    bench = _Bench(threads)
    footprints = _footprints(cache_sizes(threads))
    reads = [bench.reads(nbytes) for _, _, nbytes in footprints]
    found = None
    for _ in range(TURNS):
        rates = [read() for read in reads]
        turn = Roofs(bench.isa, threads, bench.multiply_adds("roof_fma"), bench.multiply_adds("roof_int8"),
                     tuple((name, size, rate) for (name, size, _), rate in zip(footprints, rates)))
        found = turn if found is None else found.best(turn)
    assert found is not None
    return found


def _footprints(caches: Mapping[int, int]) -> list[tuple[str, int, int]]:
    """(name, bytes it holds, bytes to read so that it is measured) of each level: half of a cache, but more than all before it, and little where they
    are far smaller, since others use it, too."""
    found, before = [], 0
    for level, size in sorted(caches.items()):
        half = max(size // 2, min(2 * before, size))
        found.append((f"L{level}", size, min(4 * before, half) if before else half))
        before = size
    return [*found, ("DRAM", 2 ** 63, max(4 * before, 32 << 20))]


class _Bench:
    """Runs one kernel of ``roofs.cpp`` at a time, on ``threads`` threads."""

    def __init__(self, threads: int) -> None:
        native = isa.native()
        if native is None:
            raise RuntimeError("this install has no compiled kernels to measure with")
        self._native, self._threads, self._pool, self.isa = native, threads, native.ThreadPool(threads), isa.selected()

    def multiply_adds(self, kernel: str) -> float:
        """Per second."""
        items = 8 * self._threads
        return items * MACS / self._seconds(kernel, [], [MACS], items)

    def reads(self, nbytes: int) -> Callable[[], float]:
        """Gives bytes per second: the threads read all of ``nbytes`` again and again, in pieces of which each of them has its share."""
        share = min(-(-nbytes // self._threads // 1024) * 1024, PIECE)
        each, again = share * self._threads, max(PIECE // share, 1)
        data = aligned(-(-nbytes // each) * each)
        data[:] = 1  # pages that were never written are all the same one
        pieces = [data[at:at + each] for at in range(0, data.size, each)]
        return lambda: each * again / self._seconds("roof_read", pieces, [share, again], self._threads)

    def _seconds(self, kernel: str, pieces: Sequence[np.ndarray], params: list[int], items: int) -> float:
        """Of one call, the best of many, which take turns with the pieces."""
        feeds: list[tuple[np.ndarray, ...]] = [(piece,) for piece in pieces] or [()]
        inputs = [piece.nbytes for piece in pieces[:1]]
        buffers = [2, 0, 0] * len(inputs) + [3, 0, 0]
        code = [1, 0, items, len(buffers) // 3, *buffers, len(params), *params]
        out = aligned(256 * items)
        engine = self._native.Engine(np.array(code, np.int64), [kernel], self.isa, [], inputs, [out.nbytes], 0, 0, self._pool)
        best, end = float("inf"), time.perf_counter() + SECONDS
        while True:
            for feed in feeds:
                start = time.perf_counter()
                engine.run(feed, (out,))
                best = min(best, time.perf_counter() - start)
            if time.perf_counter() >= end:
                return best


def cache_sizes(threads: int = 1) -> dict[int, int]:
    """Level → bytes, of the caches that hold data: of as many of them as ``threads`` cores have."""
    found = {}
    for entry in sorted(CACHES.glob("index*")):
        level, kind, size, sharing = ((entry / name).read_text().strip() for name in ("level", "type", "size", "shared_cpu_list"))
        if kind != "Instruction":
            found[int(level)] = (int(size.removesuffix("K")) << 10) * min(threads, -(-(os.cpu_count() or 1) // _count(sharing)))
    return found or {level: size * threads for level, size in USUAL.items()}


def _count(cpus: str) -> int:
    """How many a list such as "0-3,8" names."""
    ends = [list(map(int, part.split("-"))) for part in cpus.split(",")]
    return sum(end[-1] - end[0] + 1 for end in ends)
