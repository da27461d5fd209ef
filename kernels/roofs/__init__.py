"""What the machine can do at most, measured: multiply-adds per second, bytes read per second from each cache and from memory."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ...formats.record import dataclass
from .. import isa
from ..slabs import aligned

MACS = 768 * 4096
"""Multiply-adds of a work item: some 50 µs."""

SECONDS = 0.1
"""What one measurement takes at least; its best call counts."""

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

    def bandwidth(self, nbytes: int) -> float:
        """Of the smallest level that holds so many bytes."""
        return next(rate for _, size, rate in self.levels if nbytes <= size)


def measure(threads: int = 1) -> Roofs:
    """Takes about a second, and four times the last cache's memory. Raises RuntimeError without compiled kernels."""
    bench = _Bench(threads)
    return Roofs(bench.isa, threads, bench.multiply_adds("roof_fma"), bench.multiply_adds("roof_int8"),
                 tuple((name, size, bench.read(nbytes)) for name, size, nbytes in _footprints(cache_sizes())))


def _footprints(caches: Mapping[int, int]) -> list[tuple[str, int, int]]:
    """(name, bytes it holds, bytes to read so that it is measured) of each level: half of a cache, but more than all before it."""
    found, before = [], 0
    for level, size in sorted(caches.items()):
        found.append((f"L{level}", size, max(size // 2, min(2 * before, size))))
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

    def read(self, nbytes: int) -> float:
        """Bytes per second, each thread reading its share of ``nbytes`` again and again."""
        share = -(-nbytes // self._threads // 1024) * 1024
        data = aligned(share * self._threads)
        data[:] = 1  # pages that were never written are all the same one
        again = max((16 << 20) // nbytes, 1)
        return share * self._threads * again / self._seconds("roof_read", [data], [share, again], self._threads)

    def _seconds(self, kernel: str, data: list[np.ndarray], params: list[int], items: int) -> float:
        """Of one call, the best of many."""
        buffers = [1, 0, 0] * len(data) + [3, 0, 0]
        code = [1, 0, items, len(buffers) // 3, *buffers, len(params), *params]
        out = aligned(256 * items)
        engine = self._native.Engine(np.array(code, np.int64), [kernel], self.isa, data, [], [out.nbytes], 0, 0, self._pool)
        best, end = float("inf"), 0.0
        while time.perf_counter() < end or not end:
            end = end or time.perf_counter() + SECONDS
            start = time.perf_counter()
            engine.run((), (out,))
            best = min(best, time.perf_counter() - start)
        return best


def cache_sizes() -> dict[int, int]:
    """Level → bytes, of the caches that hold data."""
    found = {}
    for entry in sorted(CACHES.glob("index*")):
        level, kind, size = ((entry / name).read_text().strip() for name in ("level", "type", "size"))
        if kind != "Instruction":
            found[int(level)] = int(size.removesuffix("K")) << 10
    return found or USUAL
