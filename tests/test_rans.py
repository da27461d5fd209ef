"""rANS: the decoders against one written from the specification, sizes near the entropy, frequency tables, ends that are not where they must be."""

from __future__ import annotations

import time

import numpy as np
import pytest
import reference_coders
from hypothesis import given, settings
from hypothesis import strategies as st
from thinfer.formats import decoders, rans
from thinfer.formats.cursor import Cursor
from thinfer.formats.encoders import encode_rans
from thinfer.formats.errors import StreamLengthError
from thinfer.formats.frequencies import MAX_BITS, best_model, cost, decode_table, encode_table, fit, quick_model, table_size
from thinfer.formats.stream_reader import StreamReader
from thinfer.formats.stream_writer import encode_stream

DECODERS = decoders.available()
DISTRIBUTIONS = ("flat", "gauss", "geometric", "skewed", "two far apart", "zipf", "one")
counts_of = st.lists(st.integers(0, 10 ** 6), min_size=1, max_size=300).filter(any)


def draw(rng: np.random.Generator, distribution: str, alphabet: int, size: int) -> np.ndarray:
    """uint8[size], below ``alphabet``."""
    if distribution == "gauss":
        found = np.clip(np.round(rng.standard_normal(size) * alphabet / 6 + (alphabet - 1) / 2), 0, alphabet - 1)
    elif distribution == "geometric":
        found = np.minimum(rng.geometric(0.4, size) - 1, alphabet - 1)
    elif distribution == "skewed":
        found = np.where(rng.random(size) < 0.97, alphabet // 3, rng.integers(0, alphabet, size))
    elif distribution == "two far apart":
        found = np.where(rng.random(size) < 0.3, 0, alphabet - 1)
    elif distribution == "zipf":
        found = (rng.zipf(1.3, size) - 1) % alphabet
    else:
        found = rng.integers(0, alphabet, size) if distribution == "flat" else np.full(size, alphabet - 1)
    return found.astype(np.uint8)


def read_back(data: bytes, size: int, alphabet: int, width: int, decoder: decoders.DecoderName | None = None) -> np.ndarray:
    reader = StreamReader(Cursor(memoryview(data), 0, len(data), "test"), decoders.find(decoder), "rans", None)
    found = reader.read(size, alphabet, width)
    assert reader.cursor.left == 0
    return found


def bits_taker(data: bytes) -> object:
    bits = iter("".join(format(byte, "08b")[::-1] for byte in data))
    return lambda n: sum(int(next(bits)) << i for i in range(n))


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
@pytest.mark.parametrize("width", [1, 2, 3, 4, 6, 8])
def test_a_million_elements_take_at_most_1_percent_more_than_their_entropy(width: int, distribution: str) -> None:
    """Tables and states included. Elements that are all alike have no entropy, but packed runs of 4095, of 12 bits, bound what they take."""
    elements = draw(np.random.default_rng(1), distribution, 2 ** width, 1_000_000)
    data = encode_stream(elements, 2 ** width, width, "rans")
    most = 1.01 * reference_coders.order0_bits(elements.tolist()) / 8 + 16
    assert len(data) <= (most if distribution != "one" else 12 / 8 * elements.size / 4095 + 16)
    assert np.array_equal(read_back(data, elements.size, 2 ** width, width), elements)


@pytest.mark.parametrize(("size", "excess", "most"), [(10_000, 1.02, 24), (100, 1.10, 24)])
@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
@pytest.mark.parametrize("width", [1, 2, 4, 8])
def test_short_streams(width: int, distribution: str, size: int, excess: float, most: int) -> None:
    """Above the entropy there are states, and a table of at most 3 bytes for each two kinds."""
    elements = draw(np.random.default_rng(2), distribution, 2 ** width, size)
    kinds = np.unique(elements).size
    data = encode_stream(elements, 2 ** width, width, "rans")
    assert len(data) <= excess * reference_coders.order0_bits(elements.tolist()) / 8 + most + 1.5 * kinds
    assert len(data) <= 1 + -(-size * width // 8), "packed is always allowed"
    for name in DECODERS:
        assert np.array_equal(read_back(data, size, 2 ** width, width, name), elements)


@settings(deadline=None)
@given(counts_of)
def test_frequencies_come_back_as_the_specification_has_them(counts: list[int]) -> None:
    array = np.array(counts)
    for model in (best_model(array), quick_model(array), fit(array, 3, MAX_BITS)):
        assert model is not None
        assert int(model.frequencies.sum()) == 1 << model.bits
        assert np.array_equal(model.frequencies > 0, array > 0)
        table = encode_table(model)
        assert len(table) == table_size(model)
        cursor = Cursor(memoryview(table + b"\xff"), 0, len(table) + 1, "test")
        found, bits = decode_table(cursor, array.size)
        assert (bits, cursor.left) == (model.bits, 1)
        assert np.array_equal(found, model.frequencies)
        assert reference_coders.frequencies(bits_taker(table), array.size) == (found.tolist(), bits)  # type: ignore[arg-type]


def test_the_table_of_4096_kinds_and_of_very_rare_ones() -> None:
    rare = np.ones(4096, np.int64)
    rare[7] = 10 ** 6
    for counts in (np.arange(1, 4097), rare, np.ones(4096, np.int64)):
        model = best_model(counts)
        assert model.frequencies.all()
        probabilities = counts / counts.sum()
        entropy = -(counts * np.log2(probabilities)).sum()
        assert cost(model, counts) <= 1.01 * entropy + 8 * 4096 + (0.2 * counts.sum() if counts is rare else 0), "4095 of 32768 slots are 0.2 bits"


@settings(max_examples=60, deadline=None)
@given(counts_of, st.integers(1, 2000), st.sampled_from([1, 2, 4, 8]), st.integers(0, 2 ** 32 - 1))
def test_coders_agree_with_each_other_and_with_the_specification(counts: list[int], size: int, lanes: int, seed: int) -> None:
    model = best_model(np.array(counts))
    symbols = np.random.default_rng(seed).choice(np.flatnonzero(counts), size).astype(np.uint16)
    code = rans.encode(symbols, model.frequencies, model.bits, lanes)
    assert encode_rans(symbols, model.frequencies, model.bits, lanes) == code
    rest = iter(code)
    take = lambda n: bytes(next(rest) for _ in range(n))  # noqa: E731
    assert reference_coders.rans(take, model.frequencies.tolist(), model.bits, lanes, size) == symbols.tolist()
    assert not list(rest)
    payload = np.frombuffer(code + b"\xaa\xaa\xaa", np.uint8)
    for name in DECODERS:
        found, used = decoders.find(name).rans_symbols(payload, lanes, model.frequencies, model.bits, size)
        assert np.array_equal(found, symbols)
        assert used == len(code)


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize("size", [1, 7, 4095, 4097, 70000])
@pytest.mark.parametrize(("p", "width"), [(1, 1), (1, 8), (2, 1), (12, 1), (9, 1), (3, 2), (4, 3), (2, 6)])
def test_tuples(p: int, width: int, size: int, decoder: decoders.DecoderName) -> None:
    elements = np.minimum(np.random.default_rng(size).geometric(0.6, size * p) - 1, 2 ** width - 1).astype(np.uint8)
    symbols = sum(elements[i::p].astype(np.uint16) << np.uint16(i * width) for i in range(p))
    model = best_model(np.bincount(symbols, minlength=2 ** (p * width)))
    code = np.frombuffer(encode_rans(symbols, model.frequencies, model.bits, 4), np.uint8)
    found, used = decoders.find(decoder).rans_tuples(code, 4, model.frequencies, model.bits, size, p, width)
    assert np.array_equal(found, elements)
    assert used == code.size


@pytest.mark.parametrize("decoder", DECODERS)
def test_codes_that_end_early_or_elsewhere(decoder: decoders.DecoderName) -> None:
    find, symbols = decoders.find(decoder), np.random.default_rng(3).integers(0, 5, 1001).astype(np.uint16)
    model = best_model(np.bincount(symbols))
    for lanes in (1, 2, 4, 8):
        code = encode_rans(symbols, model.frequencies, model.bits, lanes)
        bad = [code[:size] for size in (0, 3, 4 * lanes - 1, 4 * lanes, len(code) - 1, len(code) - 2)]
        bad += [bytes(len(code)), b"\xff" * len(code)]
        for data in bad:
            with pytest.raises(StreamLengthError):
                find.rans_symbols(np.frombuffer(data, np.uint8), lanes, model.frequencies, model.bits, 1001)
        for count in (1000, 1002):
            with pytest.raises(StreamLengthError):
                find.rans_symbols(np.frombuffer(code, np.uint8), lanes, model.frequencies, model.bits, count)


def test_flipped_bits_change_symbols_or_are_found_alike() -> None:
    """Symbols of the same frequency are told apart by a bit or so, which only the blob's checksum protects."""
    symbols = np.random.default_rng(4).integers(0, 5, 301).astype(np.uint16)
    model = best_model(np.bincount(symbols))
    code = encode_rans(symbols, model.frequencies, model.bits, 2)
    for place in range(8 * len(code)):
        data = bytearray(code)
        data[place // 8] ^= 1 << place % 8
        outcomes = []
        for name in DECODERS:
            try:
                found, used = decoders.find(name).rans_symbols(np.frombuffer(data, np.uint8), 2, model.frequencies, model.bits, symbols.size)
                assert not np.array_equal(found, symbols)
                outcomes.append((found.tolist(), used))
            except StreamLengthError:
                outcomes.append(([], 0))
        assert all(outcome == outcomes[0] for outcome in outcomes)


def test_the_native_coder_checks_what_it_is_given() -> None:
    if "native" not in DECODERS:
        pytest.skip("built without a compiler")
    find, payload, even = decoders.find("native"), np.ones(64, np.uint8), np.array([2048, 2048], np.uint32)
    for lanes in (0, 3, 9):
        with pytest.raises(StreamLengthError):
            find.rans_symbols(payload, lanes, even, 12, 3)
    for wrong in ([2048, 2047], [4097, 0], [2 ** 32 - 1, 4097], []):
        with pytest.raises(StreamLengthError):
            find.rans_symbols(payload, 1, np.array(wrong, np.uint32), 12, 3)
    with pytest.raises(StreamLengthError):
        find.rans_symbols(payload, 1, even, 16, 3)
    for p, width in ((13, 1), (4, 4), (0, 1), (1, 0), (2 ** 31, 2)):
        with pytest.raises(ValueError):
            find.rans_tuples(payload, 1, even, 12, 3, p, width)
    with pytest.raises(ValueError):
        encode_rans(np.array([0, 1, 2], np.uint16), even, 12, 1)
    with pytest.raises(ValueError):
        encode_rans(np.array([0, 1], np.uint16), np.array([4096, 0], np.uint32), 12, 1)


def test_streams_of_one_kind_have_the_bytes_that_bound_a_readers_work() -> None:
    for size in (10 ** 5, 10 ** 6, 10 ** 7):
        data = encode_stream(np.zeros(size, np.uint8), 2, 1, "rans")
        assert size / (8 * 4095) <= len(data) <= 12 / 8 * size / 4095 + 16
        assert not read_back(data, size, 2, 1).any()


def test_python_decodes_hundreds_of_thousands_of_indices_in_seconds() -> None:
    elements = draw(np.random.default_rng(8), "gauss", 16, 500_000)
    data = encode_stream(elements, 16, 4, "rans")
    begin = time.process_time()
    assert np.array_equal(read_back(data, elements.size, 16, 4, "numpy"), elements)
    assert time.process_time() - begin < 5, "a fraction of a second is usual"
