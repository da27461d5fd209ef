"""A stream: ``count`` elements of a small alphabet, transformed, then packed at fixed width or Huffman-coded (SPEC.md, "Streams")."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from . import huffman
from .bits import pack, packed_size, tail_is_zero, unpack
from .code_table import decode_lengths, encode_lengths, table_size
from .codes import MAX_RUN
from .cursor import Cursor, put_varint
from .decoders import Decoder
from .errors import CodeError, FormatError, IndexRangeError, PaddingError, StreamLengthError, TransformError
from .transforms import HUFFMAN_RUNS, MAX_TUPLE_BITS, RAW_RUNS, RUN, SINGLE, SPLIT, TUPLE, Transform, from_runs, from_tuples, run_histograms


@dataclass(frozen=True)
class StreamInfo:
    """What was found in one stream: elements, coded symbols, bytes in all, and the coded symbols' entropy in bits (of all together)."""

    elements: int
    symbols: int
    nbytes: int
    entropy: float


def symbol_width(alphabet: int) -> int:
    """Bits of an element of ``alphabet`` kinds, at least 1."""
    return max((alphabet - 1).bit_length(), 1)


# ---------------------------------------------------------------- writing


@dataclass(frozen=True, eq=False)
class _Candidate:
    transform: Transform
    symbols: int
    nbytes: int
    counts: np.ndarray | None = None  # None: packed at fixed width


def encode_stream(elements: np.ndarray, alphabet: int, width: int, coder: str, *, may_split: bool = True) -> bytes:
    """The smallest of the ways that SPEC.md allows; with ``coder`` "raw", of those at fixed width. ``elements``: uint8."""
    if not elements.size:
        return b""
    candidates = [*_raw_candidates(elements, alphabet, width)]
    if coder == "huffman":
        candidates += _huffman_candidates(elements, alphabet, width)
    best = _write(elements, min(candidates, key=lambda c: c.nbytes))
    if coder == "huffman" and may_split and alphabet > 2:
        split = _split(elements, alphabet)
        best = min(best, split, key=len)
    return best


def _raw_candidates(elements: np.ndarray, alphabet: int, width: int) -> Iterator[_Candidate]:
    yield _Candidate(Transform(SINGLE, width, alphabet), elements.size, packed_size(elements.size, width))
    if alphabet <= 2:
        for transform, counts in _runs(elements, RAW_RUNS):
            symbols = int(counts.sum())
            yield _Candidate(transform, symbols, _parameter_size(transform, symbols) + packed_size(symbols, symbol_width(transform.alphabet)))


def _huffman_candidates(elements: np.ndarray, alphabet: int, width: int) -> Iterator[_Candidate]:
    plain = [Transform(SINGLE, width, alphabet)]
    plain += [Transform(TUPLE, width, 2 ** (p * width), p) for p in range(2, MAX_TUPLE_BITS // width + 1)]
    histograms = [(t, np.bincount(t.apply(elements), minlength=t.alphabet)) for t in plain]
    for transform, counts in histograms + (_runs(elements, HUFFMAN_RUNS) if alphabet <= 2 else []):
        lengths = huffman.code_lengths(counts)
        symbols, payload = int(counts.sum()), -(-int((counts * lengths).sum()) // 8)
        lanes = huffman.lanes_for(symbols)
        lane_cost = (lanes - 1) // 2 + lanes * _varint_size(payload // lanes)
        yield _Candidate(transform, symbols, _parameter_size(transform, symbols) + table_size(lengths) + lane_cost + payload, counts)


def _parameter_size(transform: Transform, symbols: int) -> int:
    if transform.kind == RUN:
        return _varint_size(transform.parameter) + _varint_size(symbols)
    return int(transform.kind == TUPLE)


def _varint_size(value: int) -> int:
    return -(-max(value.bit_length(), 1) // 7)


def _runs(elements: np.ndarray, longest: tuple[int, ...]) -> list[tuple[Transform, np.ndarray]]:
    dominant = int(2 * np.count_nonzero(elements) > elements.size)
    return [(Transform(RUN, 1, r + 1, r, dominant), counts) for r, counts in run_histograms(elements, dominant, longest)]


def _write(elements: np.ndarray, chosen: _Candidate) -> bytes:
    transform, out = chosen.transform, bytearray()
    symbols = transform.apply(elements)
    lanes = huffman.lanes_for(symbols.size) if chosen.counts is not None else 1
    out.append(transform.kind | (chosen.counts is not None) << 2 | (lanes.bit_length() - 1) << 3 | transform.dominant << 5)
    if transform.kind == TUPLE:
        out.append(transform.parameter)
    elif transform.kind == RUN:
        put_varint(out, transform.parameter)
        put_varint(out, symbols.size)
    if chosen.counts is None:
        width = symbol_width(transform.alphabet) if transform.kind == RUN else transform.width
        return bytes(out) + pack(symbols, width).tobytes()
    lengths = _fast_lengths(chosen.counts)
    parts = huffman.encode(symbols, lengths, lanes)
    out += encode_lengths(lengths)
    for part in parts:
        put_varint(out, len(part))
    return bytes(out) + b"".join(parts)


def _fast_lengths(counts: np.ndarray) -> np.ndarray:
    """The best code, or one of shorter codes that costs at most 0.1 % more: a decoder's table then fits the first-level cache."""
    best = huffman.code_lengths(counts)
    for limit in range(11, int(best.max())):
        if np.count_nonzero(counts) <= 1 << limit:
            lengths = huffman.code_lengths(counts, limit)
            if (counts * lengths).sum() <= 1.001 * (counts * best).sum():
                return lengths
    return best


def _split(elements: np.ndarray, alphabet: int) -> bytes:
    """The commonest element apart: where it is not, as a stream of two kinds, and which others stand there."""
    dominant = int(np.bincount(elements, minlength=alphabet).argmax())
    is_other = elements != dominant
    others = elements[is_other]
    others = others - (others > dominant).astype(np.uint8)
    return (bytes([SPLIT, dominant]) + encode_stream(is_other.view(np.uint8), 2, 1, "huffman", may_split=False)
            + encode_stream(others, alphabet - 1, symbol_width(alphabet - 1), "huffman", may_split=False))


# ---------------------------------------------------------------- reading


@dataclass(frozen=True)
class StreamReader:
    """Reads the streams of one blob. ``report`` collects a StreamInfo of each (costs time) unless it is None."""

    cursor: Cursor
    decoder: Decoder
    coder: str
    report: list[StreamInfo] | None = None

    def read(self, count: int, alphabet: int, width: int, *, may_split: bool = True) -> np.ndarray:
        """uint8[count], each below ``alphabet``. Bounds are checked before anything of that size is made."""
        cursor = self.cursor
        if count == 0:
            return np.empty(0, np.uint8)
        start = cursor.position
        code = cursor.byte("a stream")
        kind, is_huffman, lanes, dominant = code & 3, bool(code & 4), 1 << (code >> 3 & 3), code >> 5
        if dominant > 1 or (dominant and kind != RUN) or (lanes > 1 and not is_huffman) or (kind == SPLIT and is_huffman):
            cursor.fail(CodeError, f"a stream begins with {code}, which has bits set that must be zero")
        if is_huffman and self.coder == "raw":
            cursor.fail(CodeError, "a stream is Huffman-coded, but the weight's coder is raw")
        if kind == SPLIT:
            if not may_split or alphabet <= 2 or self.coder == "raw":
                cursor.fail(TransformError, f"a stream of {alphabet} kinds of elements is split where it may not be")
            return self.split(count, alphabet)
        transform, symbols = self.transform(kind, count, alphabet, width, dominant, is_huffman)
        if symbols > 8 * cursor.left:
            cursor.fail(StreamLengthError, f"{symbols} symbols follow, but {cursor.left} bytes hold {8 * cursor.left} at most")
        coded = self.huffman(transform, symbols, lanes) if is_huffman else self.packed(transform, symbols)
        if self.report is not None:
            again = transform.apply(coded[:count]) if transform.kind == TUPLE else coded
            self.report.append(StreamInfo(count, symbols, cursor.position - start, entropy(np.bincount(again))))
        return self.undo(transform, coded, count, alphabet)

    def transform(self, kind: int, count: int, alphabet: int, width: int, dominant: int, is_huffman: bool) -> tuple[Transform, int]:
        """The transform and the number of coded symbols."""
        cursor = self.cursor
        if kind == SINGLE:
            return Transform(SINGLE, width, alphabet), count
        if kind == TUPLE:
            p = cursor.byte("the size of tuples")
            if not is_huffman or p < 2 or p * width > MAX_TUPLE_BITS:
                cursor.fail(TransformError, f"a stream has tuples of {p} elements of {width} bits; Huffman-coded ones may have 2 or more "
                                            f"with {MAX_TUPLE_BITS} bits together, raw ones have none")
            return Transform(TUPLE, width, 2 ** (p * width), p), -(-count // p)
        if alphabet > 2:
            cursor.fail(TransformError, f"a stream of {alphabet} kinds of elements is coded as runs, but only two kinds can be")
        longest = cursor.bounded("the longest run", 1, MAX_RUN)
        symbols = cursor.varint("the number of runs")
        if not -(-count // longest) <= symbols <= count:
            cursor.fail(StreamLengthError, f"{symbols} runs of at most {longest} cannot stand for {count} elements")
        return Transform(RUN, 1, longest + 1, longest, dominant), symbols

    def packed(self, transform: Transform, symbols: int) -> np.ndarray:
        width = transform.width if transform.kind == SINGLE else symbol_width(transform.alphabet)
        data = np.frombuffer(self.cursor.take(packed_size(symbols, width), "a packed stream"), np.uint8)
        if not tail_is_zero(data, symbols * width):
            self.cursor.fail(PaddingError, "the last byte of a packed stream has bits set past its end")
        coded = unpack(data, width, symbols)
        self.check(coded, transform.alphabet)
        return coded

    def huffman(self, transform: Transform, symbols: int, lanes: int) -> np.ndarray:
        """The coded symbols, but of tuples their elements."""
        cursor = self.cursor
        lengths = decode_lengths(cursor, transform.alphabet)
        sizes = [cursor.count("the length of a lane") for _ in range(lanes)]
        payload = np.frombuffer(cursor.take(sum(sizes), "the lanes of a stream"), np.uint8)
        if symbols > 8 * payload.size:
            cursor.fail(StreamLengthError, f"{symbols} symbols cannot lie in lanes of {payload.size} bytes")
        used = np.flatnonzero(lengths)
        if used.size == 1:
            expected = [packed_size(-(-(symbols - lane) // lanes), 1) for lane in range(lanes)]
            if sizes != expected or payload.any():
                cursor.fail(StreamLengthError, f"{symbols} equal symbols need lanes of {expected} zero bytes, not of {sizes}")
            coded = np.full(symbols, used[0], np.uint16)
            return from_tuples(coded, transform.parameter, transform.width) if transform.kind == TUPLE else coded
        try:
            if transform.kind == TUPLE:
                return self.decoder.tuples(payload, sizes, lengths, symbols, transform.parameter, transform.width)
            return self.decoder.symbols(payload, sizes, lengths, symbols)
        except FormatError as error:
            cursor.fail(type(error), str(error))

    def undo(self, transform: Transform, coded: np.ndarray, count: int, alphabet: int) -> np.ndarray:
        elements = coded
        if transform.kind == RUN:
            try:
                elements = from_runs(coded, transform.parameter, transform.dominant, count)
            except ValueError as error:
                self.cursor.fail(StreamLengthError, str(error))
        elif transform.kind == TUPLE:
            if coded[count:].any():
                self.cursor.fail(PaddingError, "the elements that fill up the last tuple are not zero")
            elements = coded[:count]
        self.check(elements, alphabet)
        return elements.astype(np.uint8, copy=False)

    def check(self, symbols: np.ndarray, alphabet: int) -> None:
        if symbols.size and int(symbols.max()) >= alphabet:
            self.cursor.fail(IndexRangeError, f"a stream has the symbol {int(symbols.max())}, but they must be below {alphabet}")

    def split(self, count: int, alphabet: int) -> np.ndarray:
        dominant = self.cursor.byte("the dominant element")
        if dominant >= alphabet:
            self.cursor.fail(IndexRangeError, f"the dominant element is {dominant}, but elements must be below {alphabet}")
        elements = self.read(count, 2, 1, may_split=False)
        is_other = elements.view(bool)
        others = self.read(int(np.count_nonzero(elements)), alphabet - 1, symbol_width(alphabet - 1), may_split=False)
        out = np.full(count, dominant, np.uint8)
        out[is_other] = others + (others >= dominant)
        return out


def entropy(counts: np.ndarray) -> float:
    """Bits that symbols occurring ``counts`` times take at least, all together, if each is coded on its own (Shannon 1948)."""
    used = counts[counts > 0].astype(np.float64)
    return float((used * np.log2(used.sum() / used)).sum())
