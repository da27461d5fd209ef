"""Streams read whole by the compiled reader: the same elements and ends as the reference gives, and left to it where anything is wrong with them."""

from __future__ import annotations

import numpy as np
import pytest
from thinfer.formats import decoders
from thinfer.formats.cursor import Cursor
from thinfer.formats.errors import FormatError
from thinfer.formats.stream_reader import StreamReader
from thinfer.formats.stream_writer import encode_stream

pytestmark = pytest.mark.skipif(decoders.native is None, reason="nothing was compiled")
SHAPES = [(2, 1), (3, 2), (5, 3), (16, 4), (200, 8), (256, 8)]
"""Alphabets and bits of an element."""


def elements_of(rng: np.random.Generator, count: int, alphabet: int, dominant: float) -> np.ndarray:
    """Mostly one element, so that streams are split and runs; or (0) as a bell."""
    if dominant:
        return np.where(rng.random(count) < dominant, alphabet // 2, rng.integers(0, alphabet, count)).astype(np.uint8)
    return np.clip(np.rint(rng.standard_normal(count) * alphabet / 8 + alphabet / 2), 0, alphabet - 1).astype(np.uint8)


def reference(data: bytes, coder: str, count: int, alphabet: int, width: int) -> tuple[np.ndarray, int] | str:
    """(elements, bytes taken) as Python reads them, or the error's name."""
    reader = StreamReader(Cursor(memoryview(data), 0, len(data), "test"), decoders.find("numpy"), coder)
    try:
        return reader.read(count, alphabet, width), reader.cursor.position
    except FormatError as error:
        return type(error).__name__


def check(data: bytes, coder: str, count: int, alphabet: int, width: int) -> bool:
    """Whether it was read at all; then it is what the reference reads."""
    found = decoders.native.streams(np.frombuffer(data, np.uint8), coder, count, alphabet, width, 1)
    if found is None:
        return False
    wanted = reference(data, coder, count, alphabet, width)
    assert not isinstance(wanted, str), wanted
    np.testing.assert_array_equal(found[0], wanted[0])
    assert found[1] == wanted[1]
    return True


@pytest.mark.parametrize("coder", ["raw", "huffman"])
@pytest.mark.parametrize(("alphabet", "width"), SHAPES)
def test_as_the_reference(alphabet: int, width: int, coder: str) -> None:
    rng = np.random.default_rng([alphabet, coder == "raw"])
    read = 0
    for count in (1, 7, 64, 1001):
        for dominant in (0, 0.5, 0.97):
            elements = elements_of(rng, count, alphabet, dominant)
            data = encode_stream(elements, alphabet, width, coder) + bytes(rng.integers(0, 256, 5).astype(np.uint8))
            read += check(data, coder, count, alphabet, width)
    assert read >= 8, "streams of one symbol, and those of more than 64 elements a byte, are left to the reference"


@pytest.mark.parametrize("coder", ["raw", "huffman"])
def test_damaged_ones_are_refused_or_what_the_reference_reads(coder: str) -> None:
    rng = np.random.default_rng(5)
    refused = 0
    for alphabet, width in SHAPES:
        for dominant in (0, 0.6, 0.97):
            data = encode_stream(elements_of(rng, 300, alphabet, dominant), alphabet, width, coder)
            for _ in range(60):
                broken = bytearray(data[:rng.integers(1, len(data) + 1)])
                broken[min(int(rng.exponential(3)), len(broken) - 1)] = rng.integers(0, 256)
                refused += not check(bytes(broken), coder, 300, alphabet, width)
    assert refused > 300


def test_planes_lie_side_by_side() -> None:
    floats = np.random.default_rng(6).standard_normal(77).astype(np.float32)
    planes = floats.view(np.uint8).reshape(-1, 4)
    data = b"".join(encode_stream(np.ascontiguousarray(planes[:, k]), 256, 8, "huffman") for k in range(4))
    found = decoders.native.streams(np.frombuffer(data + b"!", np.uint8), "huffman", 77, 256, 8, 4)
    np.testing.assert_array_equal(found[0].view(np.float32), floats)
    assert found[1] == len(data)
    assert decoders.native.streams(np.frombuffer(data[:-1], np.uint8), "huffman", 77, 256, 8, 4) is None
