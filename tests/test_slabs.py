"""Packed weights side by side in huge pages."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest
from thinfer.kernels import slabs
from thinfer.kernels.slabs import ALIGNMENT, FIRST, LARGEST, SLAB, Slabs, aligned, taken_from


def filled(sizes: list[int], given: Slabs) -> list[np.ndarray]:
    """An array of each size, all bytes of which are its number."""
    found = []
    for number, size in enumerate(sizes):
        with taken_from(given):
            found.append(aligned(size))
        found[-1][:] = number % 251
    return found


def test_arrays_keep_what_is_written_to_them() -> None:
    rng = np.random.default_rng(0)
    sizes = [0, 1, 63, 64, 65, *(int(size) for size in rng.integers(1, 3 << 20, 60)), LARGEST - 1, LARGEST, LARGEST + 1]
    arrays = filled(sizes, Slabs())
    assert sum(sizes) > 3 * SLAB
    for number, (array, size) in enumerate(zip(arrays, sizes)):
        assert array.shape == (size,)
        assert size == 0 or array.ctypes.data % ALIGNMENT == 0
        assert array.flags.writeable
        assert (array == number % 251).all()


def test_small_models_take_no_huge_page() -> None:
    given = Slabs()
    filled([FIRST // 4] * 4, given)
    assert given._slab is None
    assert aligned(100).nbytes == 100  # and outside of it nothing changes
    filled([1], given)
    if hasattr(slabs.mmap, "MADV_HUGEPAGE"):
        assert given._slab is not None


def test_slabs_are_freed_with_their_last_array() -> None:
    given = Slabs()
    arrays = filled([FIRST, 1000, 2000], given)
    if given._slab is None:
        pytest.skip("no huge pages here")
    memory = weakref.ref(given._slab.base)
    del given
    arrays.pop()
    gc.collect()
    assert memory() is not None
    assert (arrays.pop() == 1).all()
    gc.collect()
    assert memory() is None


def test_systems_without_huge_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(slabs.mmap, "MADV_HUGEPAGE", raising=False)
    arrays = filled([FIRST, 1000, 2000], Slabs())
    assert [int(array[0]) for array in arrays] == [0, 1, 2]
    assert all(array.ctypes.data % ALIGNMENT == 0 for array in arrays)
