"""Huffman codes: optimal lengths, both decoders against a bit-by-bit one, sizes near the entropy."""

from __future__ import annotations

import heapq
import sys
import threading
import time
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from thinfer.formats import decoders, huffman
from thinfer.formats.bits import pack, unpack
from thinfer.formats.code_table import decode_lengths, encode_lengths, table_size
from thinfer.formats.cursor import Cursor
from thinfer.formats.errors import FormatError, StreamLengthError, ThinferError
from thinfer.formats.stream_reader import StreamInfo, StreamReader, entropy
from thinfer.formats.stream_writer import encode_stream
from thinfer.formats.transforms import from_runs, from_tuples, run_histograms, to_runs, to_tuples

DECODERS = decoders.available()
counts_of = st.lists(st.integers(0, 10 ** 6), min_size=2, max_size=300).filter(lambda c: sum(n > 0 for n in c) >= 2)


def huffman_cost(counts: np.ndarray) -> int:
    """Bits of the best code without a limit: the sum of all merges (Huffman 1952)."""
    heap = [int(n) for n in counts if n]
    heapq.heapify(heap)
    total = 0
    while len(heap) > 1:
        merged = heapq.heappop(heap) + heapq.heappop(heap)
        total += merged
        heapq.heappush(heap, merged)
    return total


def best_limited_cost(counts: list[int], limit: int) -> int:
    """The least cost over all length vectors that satisfy Kraft's inequality, by trying them all (rarest symbols get the longest)."""
    ordered, best = sorted(counts), 10 ** 18

    def extend(place: int, longest: int, room: int, cost: int) -> None:
        nonlocal best
        if room < 0 or cost >= best:
            return
        if place == len(ordered):
            best = min(best, cost)
            return
        for length in range(1, longest + 1):
            extend(place + 1, length, room - (1 << (limit - length)), cost + length * ordered[place])

    extend(0, limit, 1 << limit, 0)
    return best


@settings(deadline=None)
@given(counts_of)
def test_lengths_are_optimal_where_the_limit_does_not_bind(counts: list[int]) -> None:
    array = np.array(counts)
    lengths = huffman.code_lengths(array)
    assert huffman.is_complete(lengths)
    assert ((lengths > 0) == (array > 0)).all()
    if lengths.max() < huffman.MAX_LENGTH:
        assert int((array * lengths).sum()) == huffman_cost(array)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 1000), min_size=2, max_size=7), st.integers(3, 6))
def test_limited_lengths_are_optimal(counts: list[int], limit: int) -> None:
    lengths = huffman.code_lengths(np.array(counts), limit)
    assert lengths.max() <= limit
    assert int((np.array(counts) * lengths).sum()) == best_limited_cost(counts, limit)


def test_fibonacci_counts_need_the_limit() -> None:
    counts = [1, 1]
    while len(counts) < 40:
        counts.append(counts[-1] + counts[-2])
    lengths = huffman.code_lengths(np.array(counts))
    assert lengths.max() == huffman.MAX_LENGTH
    assert huffman.is_complete(lengths)
    with pytest.raises(ValueError):
        huffman.code_lengths(np.ones(9, int), 3)


def code_words(lengths: np.ndarray) -> dict[str, int]:
    """RFC 1951 §3.2.2, as text."""
    words, code, last = {}, 0, 0
    for length, symbol in sorted((int(n), s) for s, n in enumerate(lengths) if n):
        code <<= length - last
        words[format(code, f"0{length}b")] = symbol
        code, last = code + 1, length
    return words


def decode_slowly(lane: bytes, lengths: np.ndarray, count: int) -> list[int]:
    words, found, word = code_words(lengths), [], ""
    for bit in "".join(format(byte, "08b")[::-1] for byte in lane):
        if len(found) == count:
            break
        word += bit
        if word in words:
            found.append(words[word])
            word = ""
    return found


@settings(max_examples=60, deadline=None)
@given(counts_of, st.integers(1, 3000), st.sampled_from([1, 2, 4, 8]), st.integers(0, 2 ** 32 - 1))
def test_decoders_agree_with_a_slow_one(counts: list[int], size: int, lanes: int, seed: int) -> None:
    lengths = huffman.code_lengths(np.array(counts))
    used = np.flatnonzero(lengths)
    symbols = np.random.default_rng(seed).choice(used, size)
    parts = huffman.encode(symbols, lengths, lanes)
    payload = np.frombuffer(b"".join(parts), np.uint8)
    expected = np.empty(size, int)
    for lane, part in enumerate(parts):
        expected[lane::lanes] = decode_slowly(part, lengths, len(expected[lane::lanes]))
    assert np.array_equal(expected, symbols)
    for name in DECODERS:
        assert np.array_equal(decoders.find(name).huffman_symbols(payload, [len(p) for p in parts], lengths, size), symbols)


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize("size", [1, 7, 8, 9, 100, 4095, 4096, 4097, 70000])
@pytest.mark.parametrize(("p", "width"), [(2, 1), (12, 1), (9, 1), (8, 1), (3, 2), (6, 2), (4, 3), (2, 4), (3, 4), (2, 6)])
def test_tuples(p: int, width: int, size: int, decoder: decoders.DecoderName) -> None:
    rng = np.random.default_rng(size)
    elements = np.minimum(rng.geometric(0.6, size) - 1, 2 ** width - 1).astype(np.uint8)
    symbols = to_tuples(elements, p, width)
    lengths = huffman.code_lengths(np.bincount(symbols, minlength=2 ** (p * width)))
    if np.count_nonzero(lengths) < 2:
        lengths[:] = 0
        lengths[[0, 1]], symbols[:] = 1, 1
    parts = huffman.encode(symbols, lengths, huffman.lanes_for(symbols.size))
    payload, sizes = np.frombuffer(b"".join(parts), np.uint8), [len(part) for part in parts]
    found = decoders.find(decoder).huffman_tuples(payload, sizes, lengths, symbols.size, p, width)
    assert np.array_equal(found, from_tuples(symbols, p, width))


@pytest.mark.parametrize("decoder", DECODERS)
def test_lanes_that_are_too_short_too_long_or_not_filled_with_zeros(decoder: decoders.DecoderName) -> None:
    rng = np.random.default_rng(0)
    symbols = rng.integers(0, 5, 1001, dtype=np.intp)
    lengths = huffman.code_lengths(np.bincount(symbols))
    find = decoders.find(decoder)
    for lanes in (1, 2, 4, 8):
        parts = huffman.encode(symbols, lengths, lanes)
        for lane in range(lanes):
            for change in (lambda b: b[:-1], lambda b: b + b"\0", lambda b: b""):
                bad = [change(part) if i == lane else part for i, part in enumerate(parts)]
                payload, sizes = np.frombuffer(b"".join(bad), np.uint8), [len(part) for part in bad]
                with pytest.raises(StreamLengthError):
                    find.huffman_symbols(payload, sizes, lengths, 1001)
                with pytest.raises(StreamLengthError):
                    find.huffman_tuples(payload, sizes, lengths, 1001, 1, 3)
    one = huffman.encode(np.array([0]), np.array([1, 2, 2], np.uint8), 1)[0]
    with pytest.raises(StreamLengthError):
        find.huffman_symbols(np.array([one[0] | 128], np.uint8), [1], np.array([1, 2, 2], np.uint8), 1)
    with pytest.raises(StreamLengthError):
        find.huffman_symbols(np.zeros(1, np.uint8), [1], lengths, 0)


def test_the_native_decoder_checks_what_it_is_given() -> None:
    if "native" not in DECODERS:
        pytest.skip("built without a compiler")
    find, payload, code = decoders.find("native"), np.zeros(8, np.uint8), np.array([1, 1], np.uint8)
    for lengths in ([1, 1, 1], [0, 0], [1, 2], [16, 1], [255, 1]):
        with pytest.raises(StreamLengthError):
            find.huffman_symbols(payload, [8], np.array(lengths, np.uint8), 3)
    for sizes in ([9], [], [1, 1, 1], [1] * 9, [2 * sys.maxsize + 1, 2]):  # the last as large as size_t
        with pytest.raises((StreamLengthError, ValueError)):
            find.huffman_symbols(payload, sizes, code, 3)
    with pytest.raises(StreamLengthError):
        find.huffman_symbols(payload, [8], code, sys.maxsize // 2)
    for p, width in ((13, 1), (4, 4), (0, 1), (1, 0)):
        with pytest.raises((StreamLengthError, ValueError)):
            find.huffman_tuples(payload, [8], code, 3, p, width)


def test_an_unknown_decoder_is_named() -> None:
    with pytest.raises(ThinferError, match="numpy"):
        decoders.find("zlib")  # type: ignore[arg-type]


@settings(deadline=None)
@given(counts_of)
def test_code_lengths_come_back(counts: list[int]) -> None:
    lengths = huffman.code_lengths(np.array(counts))
    table = encode_lengths(lengths)
    assert len(table) == table_size(lengths)
    cursor = Cursor(memoryview(table + b"\xff"), 0, len(table) + 1, "test")
    assert np.array_equal(decode_lengths(cursor, lengths.size), lengths)
    assert cursor.left == 1


@pytest.mark.parametrize("place", [0, 1, 7, 299])
def test_code_lengths_of_a_lone_symbol_come_back(place: int) -> None:
    for size in {place + 1, 300}:
        lengths = np.zeros(size, np.uint8)
        lengths[place] = 1
        table = encode_lengths(lengths)
        assert len(table) == table_size(lengths)
        assert np.array_equal(decode_lengths(Cursor(memoryview(table), 0, len(table), "test"), size), lengths)


@settings(deadline=None)
@given(st.integers(1, 16), st.integers(0, 100), st.integers(0, 2 ** 32 - 1))
def test_packing(width: int, size: int, seed: int) -> None:
    symbols = np.random.default_rng(seed).integers(0, 2 ** width, size)
    packed = pack(symbols, width)
    number = sum(int(s) << (i * width) for i, s in enumerate(symbols))
    assert packed.tobytes() == number.to_bytes(-(-size * width // 8), "little")
    assert np.array_equal(unpack(packed, width, size), symbols)


@settings(deadline=None)
@given(st.lists(st.integers(0, 1), max_size=400), st.sampled_from([1, 2, 3, 7, 48, 4095]), st.integers(0, 1))
def test_runs(bits: list[int], longest: int, dominant: int) -> None:
    elements = np.array(bits, np.uint8)
    symbols = to_runs(elements, longest, dominant)
    assert np.array_equal(from_runs(symbols, longest, dominant, elements.size), elements)
    assert np.array_equal(dict(run_histograms(elements, dominant, (longest,)))[longest], np.bincount(symbols, minlength=longest + 1))


# ---------------------------------------------------------------- sizes


def skewed(rng: np.random.Generator, size: int, bits: int) -> np.ndarray:
    """95 % of the indices are one, the others any."""
    probabilities = np.full(2 ** bits, 0.05 / (2 ** bits - 1))
    probabilities[2 ** bits // 3] = 0.95
    return rng.choice(2 ** bits, size, p=probabilities).astype(np.uint8)


def iid_entropy(elements: np.ndarray) -> float:
    """Bytes, by the elements' own frequencies."""
    return entropy(np.bincount(elements)) / 8


@pytest.mark.parametrize("size", [100_000, 1_000_000])
@pytest.mark.parametrize("sparsity", [0.9, 0.95, 0.99])
def test_masks_take_at_most_5_percent_more_than_their_entropy(sparsity: float, size: int) -> None:
    mask = (np.random.default_rng(1).random(size) > sparsity).astype(np.uint8)
    assert len(encode_stream(mask, 2, 1, "huffman")) <= 1.05 * iid_entropy(mask)


@pytest.mark.parametrize("size", [100_000, 1_000_000])
@pytest.mark.parametrize("bits", range(2, 9))
def test_skewed_indices_take_at_most_5_percent_more_than_their_entropy(bits: int, size: int) -> None:
    indices = skewed(np.random.default_rng(2), size, bits)
    assert len(encode_stream(indices, 2 ** bits, bits, "huffman")) <= 1.05 * iid_entropy(indices)


@pytest.mark.parametrize("sparsity", [0.5, 0.6, 0.7, 0.8])
def test_other_masks_take_at_most_2_percent_more_than_their_entropy(sparsity: float) -> None:
    mask = (np.random.default_rng(3).random(200_000) > sparsity).astype(np.uint8)
    assert len(encode_stream(mask, 2, 1, "huffman")) <= 1.02 * iid_entropy(mask)


@pytest.mark.parametrize("spread", [2.0, 4.0, 6.0, 12.0])
@pytest.mark.parametrize("bits", range(2, 9))
def test_indices_of_clustered_weights_take_at_most_2_percent_more_than_their_entropy(bits: int, spread: float) -> None:
    levels = 2 ** bits
    values = np.random.default_rng(4).standard_normal(150_000) * levels / spread + levels / 2
    indices = np.clip(np.round(values), 0, levels - 1).astype(np.uint8)
    assert len(encode_stream(indices, levels, bits, "huffman")) <= 1.02 * iid_entropy(indices)


def read_back(data: bytes, size: int, alphabet: int, width: int,
              decoder: decoders.DecoderName | None = None) -> tuple[np.ndarray, list[Any]]:
    report: list[StreamInfo] = []
    reader = StreamReader(Cursor(memoryview(data), 0, len(data), "test"), decoders.find(decoder), "huffman", report)
    return reader.read(size, alphabet, width), report


@pytest.mark.parametrize("bits", [1, 2, 3, 4, 6, 8])
def test_streams_take_at_most_2_percent_more_than_the_entropy_of_their_coded_symbols(bits: int) -> None:
    """As ``inspect`` reports it: for each Huffman-coded stream, tables and all."""
    indices = skewed(np.random.default_rng(5), 1_000_000, bits)
    found, report = read_back(encode_stream(indices, 2 ** bits, bits, "huffman"), indices.size, 2 ** bits, bits)
    assert np.array_equal(found, indices)
    for info in report:
        assert info.entropy / 8 <= info.nbytes <= 1.02 * info.entropy / 8


def test_incompressible_streams_are_packed() -> None:
    rng = np.random.default_rng(6)
    for bits in (1, 4, 8):
        indices = rng.integers(0, 2 ** bits, 10_000).astype(np.uint8)
        assert len(encode_stream(indices, 2 ** bits, bits, "huffman")) == 1 + 10_000 * bits // 8


def test_raw_masks_are_bits_or_gaps_whichever_is_smaller() -> None:
    rng = np.random.default_rng(7)
    dense, sparse = ((rng.random(80_000) < kept).astype(np.uint8) for kept in (0.5, 0.01))
    assert len(encode_stream(dense, 2, 1, "raw")) == 1 + 10_000
    assert len(encode_stream(sparse, 2, 1, "raw")) < 1200


def test_numpy_decodes_millions_of_indices_in_seconds() -> None:
    values = np.random.default_rng(8).standard_normal(3_500_000) * 16 / 6 + 8
    indices = np.clip(np.round(values), 0, 15).astype(np.uint8)
    data = encode_stream(indices, 16, 4, "huffman")
    begin = time.perf_counter()
    found, _ = read_back(data, indices.size, 16, 4, "numpy")
    assert time.perf_counter() - begin < 10, "a fraction of a second is usual"
    assert np.array_equal(found, indices)


def test_several_threads_decode_at_once() -> None:
    indices = skewed(np.random.default_rng(9), 2_000_000, 8)
    data = encode_stream(indices, 256, 8, "huffman")
    results: list[bool] = []
    threads = [threading.Thread(target=lambda: results.append(np.array_equal(read_back(data, indices.size, 256, 8)[0], indices)))
               for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [True] * 4


@pytest.mark.skipif(decoders.native is None, reason="no compiled decoders")
@pytest.mark.parametrize("alphabet", [1, 2, 3, 16, 256, 4096])
def test_native_code_lengths_are_those_of_the_reference(alphabet: int) -> None:
    """Whole lists, lists with a flipped bit, lists that end early, and noise: the same lengths and bytes taken, or both refuse."""
    rng = np.random.default_rng(alphabet)
    refused = 0
    for trial in range(60):
        counts = rng.integers(0, 1 + 10 ** rng.integers(1, 5), alphabet) * (rng.random(alphabet) < rng.choice([0.1, 0.5, 1.0]))
        counts[rng.integers(alphabet)] += 1
        data = bytearray(encode_lengths(huffman.code_lengths(counts)) + bytes(rng.integers(0, 256, 3, np.uint8)))
        if trial % 4 == 1:
            data[rng.integers(len(data))] ^= 1 << int(rng.integers(8))
        elif trial % 4 == 2:
            del data[int(rng.integers(len(data))):]
        elif trial % 4 == 3:
            data[:] = bytes(rng.integers(0, 256, len(data), np.uint8))
        cursor = Cursor(memoryview(bytes(data)), 0, len(data), "a test")
        try:
            expected = decode_lengths(cursor, alphabet)
        except FormatError:
            expected, refused = None, refused + 1
        found = decoders.native.code_lengths(np.frombuffer(bytes(data), np.uint8), alphabet)
        assert (found is None) == (expected is None)
        if found is not None:
            np.testing.assert_array_equal(found[0], expected)
            assert found[1] == cursor.position
    assert 0 < refused < 60
