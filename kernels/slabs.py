"""Memory for packed weights of one session: side by side in huge pages, which are there some times sooner at first touch than small ones."""

from __future__ import annotations

import mmap
from _thread import _local  # as threading.local, which would take a millisecond to import

import numpy as np

ALIGNMENT = 64
HUGE_PAGE = 2 << 20
SLAB = 16 << 20
LARGEST = SLAB
"""Bytes from which on an array has memory of its own: NumPy asks for huge pages itself there, but both ends lie in small ones."""
FIRST = 2 << 20
"""Bytes that a session takes in small pages before, so that small models need not fill a huge one. Others waste one at most; those that will
surely take more take no small pages, of which 512 take some times longer to get than the huge one in their place."""

_using = _local()


class Slabs:
    """Hands out pieces of slabs. A slab is freed when the last array in it is."""

    def __init__(self, expected: int = 0) -> None:
        """``expected``: bytes that will be taken, as far as is known."""
        self._first = FIRST if expected <= FIRST else 0
        self._taken = self._at = 0
        self._slab: np.ndarray | None = None

    def take(self, nbytes: int) -> np.ndarray | None:
        """uint8[nbytes] at a multiple of 64 bytes, not initialised; None where memory of its own is as good, or there are no huge pages."""
        size = -(-nbytes // ALIGNMENT) * ALIGNMENT
        if size >= LARGEST or self._taken + size <= self._first:
            self._taken += size
            return None
        if self._slab is None or self._at + size > self._slab.size:
            self._slab, self._at = _slab(), 0
        if self._slab is None:
            return None
        self._at += size
        return self._slab[self._at - size:self._at - size + nbytes]


def _slab() -> np.ndarray | None:
    """SLAB bytes that begin with a huge page; pages that nobody touches take no memory."""
    if not hasattr(mmap, "MADV_HUGEPAGE"):
        return None
    memory = mmap.mmap(-1, SLAB + HUGE_PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    try:
        memory.madvise(mmap.MADV_HUGEPAGE)
    except OSError:  # a kernel without them
        return None
    found = np.frombuffer(memory, np.uint8)
    start = -found.ctypes.data % HUGE_PAGE
    return found[start:start + SLAB]


class taken_from:  # contextlib would take some times longer, once a weight
    """``aligned`` takes its memory from there meanwhile, in this thread."""

    def __init__(self, slabs: Slabs) -> None:
        self._slabs = slabs

    def __enter__(self) -> None:
        _using.slabs = self._slabs

    def __exit__(self, *error: object) -> None:
        _using.slabs = None


def aligned(nbytes: int) -> np.ndarray:
    """uint8[nbytes] that starts at a multiple of 64 bytes; not initialised."""
    slabs: Slabs | None = getattr(_using, "slabs", None)
    found = None if slabs is None else slabs.take(nbytes)
    if found is not None:
        return found
    raw = np.empty(nbytes + ALIGNMENT, np.uint8)
    start = -raw.__array_interface__["data"][0] % ALIGNMENT  # ctypes would be imported, and takes longer
    return raw[start:start + nbytes]
