"""The arithmetic coder: both coders against the specification's, code lengths against the model's own probabilities, what contexts are worth."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import reference_coders
from hypothesis import given, settings
from hypothesis import strategies as st
from thinfer.formats import arithmetic, decoders, encoders
from thinfer.formats.arithmetic import ALONG, COLUMN, DISTANCE, NEAR, STEADY
from thinfer.formats.cursor import Cursor
from thinfer.formats.encoders import encode_arithmetic
from thinfer.formats.errors import StreamLengthError
from thinfer.formats.places import NOWHERE, Places
from thinfer.formats.stream_reader import StreamReader
from thinfer.formats.stream_writer import encode_stream

DECODERS = decoders.available()
CONTEXTS = [0, NEAR, ALONG, COLUMN, NEAR | ALONG | COLUMN, STEADY, ALONG | COLUMN | DISTANCE, NEAR | ALONG | COLUMN | DISTANCE | STEADY]


def columns_of(places: Places, size: int) -> Sequence[int] | None:
    if not places.row:
        return None
    return [i % places.row for i in range(size)] if places.columns is None else places.columns.tolist()


@st.composite
def streams(draw: st.DrawFn) -> tuple[np.ndarray, int, int, int, Places]:
    """(elements, alphabet, width, contexts, places)"""
    width = draw(st.integers(1, 8))
    alphabet = draw(st.integers(2 ** (width - 1), 2 ** width))
    size, row = draw(st.integers(1, 400)), draw(st.sampled_from([0, 1, 2, 7, 50, 1000]))
    rng = np.random.default_rng(draw(st.integers(0, 2 ** 32 - 1)))
    kind = draw(st.sampled_from(["flat", "rare", "one", "waves"]))
    elements = {"flat": rng.integers(0, alphabet, size), "rare": np.where(rng.random(size) < 0.02, rng.integers(0, alphabet, size), alphabet - 1),
                "one": np.full(size, draw(st.integers(0, alphabet - 1))), "waves": np.arange(size) // 5 % alphabet}[kind].astype(np.uint8)
    columns = rng.integers(0, row, size).astype(np.uint32) if row and draw(st.booleans()) else None
    return elements, alphabet, width, draw(st.integers(0, 31)), Places(row, columns)


@settings(max_examples=150, deadline=None)
@given(streams())
def test_coders_agree_with_each_other_and_with_the_specification(
        stream: tuple[np.ndarray, int, int, int, Places]) -> None:
    elements, alphabet, width, contexts, places = stream
    digits, kept = arithmetic.encode(elements, alphabet, width, contexts, places)
    assert encode_arithmetic(elements, alphabet, width, contexts, places) == (digits, kept)
    assert 1 <= kept <= 5
    for after in (b"", bytes(9), b"\xff" * 9):
        payload = np.frombuffer(digits + after, np.uint8)
        for name in DECODERS:
            found, used = decoders.find(name).arithmetic(payload, elements.size, alphabet, width, contexts, places)
            assert np.array_equal(found, elements)
            assert used - 8 + kept == len(digits)
        columns = columns_of(places, elements.size)
        code = bytes([contexts | kept - 1 << 5]) + digits + after
        assert reference_coders.arithmetic(code, elements.size, alphabet, width, columns) == (elements.tolist(), 1 + len(digits))


def structured(rng: np.random.Generator, rows: int, row: int) -> np.ndarray:
    """A mask whose rows and columns are pruned more or less, as in trained nets."""
    density = np.clip(0.1 * rng.gamma(0.4, 2.5, row) * rng.gamma(0.8, 1.25, (rows, 1)), 0, 1)
    return (rng.random((rows, row)) < density).astype(np.uint8).ravel()


@pytest.mark.parametrize("contexts", CONTEXTS)
@pytest.mark.parametrize("kind", ["mask", "sparse mask", "clustered", "skewed", "bytes"])
def test_codes_are_within_1_percent_of_their_models_entropy(kind: str, contexts: int) -> None:
    """−Σ log₂ p of the specification's model in floating point, which the code may exceed by 1 % and the last digits."""
    rng = np.random.default_rng(4)
    elements, alphabet, width = {
        "mask": (structured(rng, 60, 200), 2, 1), "sparse mask": ((rng.random(20_000) < 0.001).astype(np.uint8), 2, 1),
        "clustered": (np.clip(np.round(rng.standard_normal(8000) * 2.5 + 7.5), 0, 15).astype(np.uint8), 16, 4),
        "skewed": (np.where(rng.random(9000) < 0.95, 3, rng.integers(0, 8, 9000)).astype(np.uint8), 8, 3),
        "bytes": (np.minimum(rng.geometric(0.05, 4000) - 1, 255).astype(np.uint8), 256, 8)}[kind]
    places = Places(200)
    ideal = reference_coders.ideal_bits(elements.tolist(), alphabet, width, contexts, columns_of(places, elements.size))
    digits, _ = encode_arithmetic(elements, alphabet, width, contexts, places)
    assert ideal <= 8 * len(digits) + 1
    assert 8 * len(digits) <= 1.01 * ideal + 16


@pytest.mark.parametrize("coder", ["rans", "arithmetic"])
def test_an_install_without_a_compiler_writes_the_same_bytes(coder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(8)
    clustered = np.clip(np.round(rng.standard_normal(3000) * 2.5 + 7.5), 0, 15).astype(np.uint8)
    cases = [(structured(rng, 40, 100), 2, 1, Places(100)), (clustered, 16, 4, Places(60)),
             (clustered, 16, 4, Places(100, rng.integers(0, 100, 3000).astype(np.uint32)))]
    native = [encode_stream(elements, alphabet, width, coder, places) for elements, alphabet, width, places in cases]
    monkeypatch.setattr(encoders, "native", None)
    assert [encode_stream(elements, alphabet, width, coder, places) for elements, alphabet, width, places in cases] == native


def test_rows_and_columns_of_a_pruned_net_are_worth_a_fifth() -> None:
    mask = structured(np.random.default_rng(5), 500, 800)
    order0 = reference_coders.order0_bits(mask.tolist()) / 8
    assert len(encode_stream(mask, 2, 1, "huffman")) > 0.9 * order0
    assert len(encode_stream(mask, 2, 1, "arithmetic", Places(800))) < 0.8 * order0
    assert len(encode_stream(mask, 2, 1, "arithmetic", NOWHERE)) > 1.1 * len(encode_stream(mask, 2, 1, "arithmetic", Places(800)))


@pytest.mark.parametrize(("alphabet", "width"), [(2, 1), (3, 2), (16, 4), (256, 8)])
@pytest.mark.parametrize("size", [100, 10_000, 300_000])
def test_elements_without_neighbours_cost_little_more_than_their_entropy(size: int, alphabet: int, width: int) -> None:
    """Estimates must be learnt: some bits for each node of the tree of kinds."""
    elements = np.minimum(np.random.default_rng(6).geometric(0.35, size) - 1, alphabet - 1).astype(np.uint8)
    data = encode_stream(elements, alphabet, width, "arithmetic", Places(100))
    assert len(data) <= 1.01 * reference_coders.order0_bits(elements.tolist()) / 8 + 6 + 1.5 * np.unique(elements).size


@pytest.mark.parametrize("size", [1, 10 ** 4, 10 ** 5, 10 ** 6])
def test_streams_of_one_kind_have_the_bytes_that_bound_a_readers_work(size: int) -> None:
    for alphabet, width in ((1, 1), (2, 1), (256, 8)):
        data = encode_stream(np.zeros(size, np.uint8), alphabet, width, "arithmetic")
        assert size / (8 * 4095) <= len(data) <= size * width / 10_000 + 8
        reader = StreamReader(Cursor(memoryview(data), 0, len(data), "test"), decoders.find(None), "arithmetic", None)
        assert not reader.read(size, alphabet, width).any()


@pytest.mark.parametrize("decoder", DECODERS)
def test_digits_that_end_early(decoder: decoders.DecoderName) -> None:
    elements = np.random.default_rng(7).integers(0, 16, 1000).astype(np.uint8)
    digits, _ = encode_arithmetic(elements, 16, 4, 7, Places(10))
    find = decoders.find(decoder)
    for size in (0, 1, 8, len(digits) // 2, len(digits) - 9):
        with pytest.raises(StreamLengthError):
            find.arithmetic(np.frombuffer(digits[:size], np.uint8), 1000, 16, 4, 7, Places(10))
    with pytest.raises(StreamLengthError):
        find.arithmetic(np.full(600, 255, np.uint8), 1000, 16, 4, 7, Places(10))


@pytest.mark.parametrize("contexts", [0, 7, 15, 31])
def test_any_bytes_decode_alike(contexts: int) -> None:
    """Whatever the digits are, every decoder finds the same elements or refuses."""
    rng = np.random.default_rng(contexts)
    for _ in range(60):
        payload, places = rng.integers(0, 256, int(rng.integers(0, 60))).astype(np.uint8), Places(int(rng.integers(0, 9)))
        if rng.random() < 0.5:
            payload[rng.random(payload.size) < 0.7] = rng.choice([0, 255])
        outcomes = []
        for name in DECODERS:
            try:
                found, used = decoders.find(name).arithmetic(payload, 100, 11, 4, contexts, places)
                outcomes.append((found.tolist(), used))
            except StreamLengthError:
                outcomes.append(([], 0))
        assert all(outcome == outcomes[0] for outcome in outcomes)


def test_the_native_coder_checks_what_it_is_given() -> None:
    if "native" not in DECODERS:
        pytest.skip("built without a compiler")
    find, payload = decoders.find("native"), np.zeros(8, np.uint8)
    for alphabet, width in ((2, 0), (2, 9), (0, 1), (257, 8)):
        with pytest.raises(ValueError):
            find.arithmetic(payload, 3, alphabet, width, 0, NOWHERE)
    with pytest.raises(ValueError):
        find.arithmetic(payload, 3, 2, 1, COLUMN, Places(5, np.array([0, 5, 1], np.uint32)))
    with pytest.raises(ValueError):
        find.arithmetic(payload, 3, 2, 1, COLUMN, Places(5, np.array([0, 1], np.uint32)))
