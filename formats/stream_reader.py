"""The bytes of a stream → elements of a small alphabet (SPEC.md, "Streams"). Nothing in them is trusted."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .bits import packed_size, tail_is_zero, unpack
from .code_table import decode_lengths
from .codes import MAX_RUN
from .cursor import Cursor
from .decoders import Decoder
from .errors import CodeError, FormatError, IndexRangeError, PaddingError, StreamLengthError, TransformError
from .transforms import MAX_TUPLE_BITS, RUN, SINGLE, SPLIT, TUPLE, Transform, from_runs, from_tuples, symbol_width


@dataclass(frozen=True)
class StreamInfo:
    """What was found in one stream: elements, coded symbols, bytes in all, and the coded symbols' entropy in bits (of all together)."""

    elements: int
    symbols: int
    nbytes: int
    entropy: float


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
