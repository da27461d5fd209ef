"""CRC-32 by the CPU's instructions against zlib's."""

from __future__ import annotations

import mmap
import zlib
from pathlib import Path

import numpy as np
import pytest
from thinfer.formats.checksum import crc32
from thinfer.formats.compiled import native


def test_every_length_around_the_lanes_and_every_alignment() -> None:
    data = np.random.default_rng(0).integers(0, 256, 1000, np.uint8).tobytes()
    view = memoryview(data)
    for start in range(17):
        for length in (*range(300), 511, 512, 513, 983):
            assert crc32(view[start:start + length]) == zlib.crc32(view[start:start + length]), (start, length)


@pytest.mark.parametrize("byte", [b"\0", b"\xff", b"\x80"])
def test_equal_bytes(byte: bytes) -> None:
    for length in (1, 63, 64, 65, 4096, 100_003):
        assert crc32(byte * length) == zlib.crc32(byte * length)


def test_a_single_bit_is_seen_wherever_it_lies() -> None:
    data = bytearray(4 * 64 + 23)
    sums = {crc32(data)}
    for bit in range(8 * len(data)):
        data[bit // 8] ^= 1 << bit % 8
        sums.add(crc32(data))
        data[bit // 8] ^= 1 << bit % 8
    assert len(sums) == 8 * len(data) + 1


def test_mapped_files(tmp_path: Path) -> None:
    path = tmp_path / "bytes"
    path.write_bytes(bytes(range(256)) * 100)
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        view = memoryview(mapped)
        assert crc32(view[3:20_001]) == zlib.crc32(path.read_bytes()[3:20_001])
        view.release()


@pytest.mark.skipif(not hasattr(native, "crc32"), reason="this CPU has no such instructions")
def test_bytes_that_do_not_lie_in_one_piece_are_refused() -> None:
    with pytest.raises(ValueError, match="one piece"):
        native.crc32(memoryview(bytes(100))[::2])
