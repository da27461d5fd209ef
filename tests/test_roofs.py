"""The kernels that measure the machine do the work that they are timed for, and the figures they lead to are possible ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from native_harness import LEVELS, NATIVE, every_level
from thinfer.kernels import roofs
from thinfer.kernels.roofs import Roofs, measure
from thinfer.kernels.slabs import aligned

pytestmark = pytest.mark.skipif(NATIVE is None, reason="no compiled kernels")


def call(kernel: str, level: str, data: list[np.ndarray], params: list[int], items: int, threads: int = 1) -> np.ndarray:
    """uint8[items, 256]: what the items leave; zeros where they leave nothing."""
    assert NATIVE is not None
    out = np.zeros(256 * items, np.uint8)
    buffers = [1, 0, 0] * len(data) + [3, 0, 0]
    code = [1, 0, items, len(buffers) // 3, *buffers, len(params), *params]
    engine = NATIVE.Engine(np.array(code, np.int64), [kernel], level, data, [], [out.nbytes], 0, 0, NATIVE.ThreadPool(threads))
    engine.run((), (out,))
    return out.reshape(items, 256)


@every_level
@pytest.mark.parametrize("macs", [768, 768 * 5])
def test_multiply_adds_are_as_many_as_said(level: str, macs: int) -> None:
    """int8: every product is 1. fp32: every product is 1/8; chain i begins at i in each lane."""
    np.testing.assert_array_equal(call("roof_int8", level, [], [macs], 3).view(np.int32)[:, 0], macs)
    sums = call("roof_fma", level, [], [macs], 3).view(np.float32)
    lanes = np.count_nonzero(sums[0])
    assert lanes in (4, 8, 16)
    np.testing.assert_array_equal(sums.sum(axis=1), lanes * 66 + macs / 8)


@every_level
@pytest.mark.parametrize("threads", [1, 2])
def test_every_byte_is_read(level: str, threads: int) -> None:
    data = aligned(3 * 2048)
    data[:] = np.random.default_rng(0).integers(0, 256, data.size, np.uint8)
    sums = call("roof_read", level, [data], [2048, 5], 3, threads).view(np.int32)
    expected = 5 * data.reshape(3, -1).view(np.int32).astype(np.int64).sum(axis=1)
    np.testing.assert_array_equal(sums.sum(axis=1, dtype=np.int64) & 0xFFFFFFFF, expected & 0xFFFFFFFF)


def test_measured_roofs_are_possible(monkeypatch: pytest.MonkeyPatch) -> None:
    """int8 is no slower than fp32 by much; every level's rate is that of a memory, not of a loop that was optimised away."""
    monkeypatch.setattr(roofs, "SECONDS", 0.002)
    found = measure(2)
    assert found.isa == LEVELS[-1]
    assert 1e8 < found.fma < 2e12
    assert found.fma / 4 < found.int8 < 32 * found.fma
    assert [name for name, _, _ in found.levels][-1] == "DRAM"
    assert all(1e8 < rate < 4e12 for _, _, rate in found.levels)


def test_each_level_holds_what_it_can() -> None:
    found = Roofs("avx2", 1, 1.0, 1.0, (("L1", 100, 4.0), ("L2", 1000, 3.0), ("DRAM", 2**63, 1.0)))
    assert [found.seconds(n) for n in (0, 100, 400, 1000, 1500)] == [0, 25, 125, 325, 825]


def test_the_higher_roofs_count() -> None:
    one = Roofs("avx2", 2, 5.0, 7.0, (("L1", 100, 4.0), ("DRAM", 2**63, 1.0)))
    other = Roofs("avx2", 2, 6.0, 3.0, (("L1", 100, 3.0), ("DRAM", 2**63, 2.0)))
    assert one.best(other) == other.best(one) == Roofs("avx2", 2, 6.0, 7.0, (("L1", 100, 4.0), ("DRAM", 2**63, 2.0)))


def test_caches_of_several_cores_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two cores have an L1 each and share the L2."""
    for index, (level, kind, size, sharing) in enumerate(((1, "Data", 32, "0"), (1, "Instruction", 32, "0"), (2, "Unified", 512, "0-1,4-5"))):
        folder = tmp_path / f"index{index}"
        folder.mkdir()
        for name, text in (("level", level), ("type", kind), ("size", f"{size}K"), ("shared_cpu_list", sharing)):
            (folder / name).write_text(f"{text}\n")
    monkeypatch.setattr(roofs, "CACHES", tmp_path)
    monkeypatch.setattr(roofs.os, "cpu_count", lambda: 4)
    assert roofs.cache_sizes(1) == {1: 32 << 10, 2: 512 << 10}
    assert roofs.cache_sizes(2) == {1: 64 << 10, 2: 512 << 10}
    assert roofs.cache_sizes(8) == {1: 128 << 10, 2: 512 << 10}
