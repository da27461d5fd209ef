"""The bytes of a stream → elements of a small alphabet (SPEC.md, "Streams"). Nothing in them is trusted."""

from __future__ import annotations

import numpy as np

from .bits import packed_size, tail_is_zero, unpack
from .codes import MAX_RUN, MIN_DROPPED
from .cursor import Cursor
from .decoders import Decoder
from .errors import CodeError, IndexRangeError, PaddingError, StreamLengthError, TransformError
from .places import NOWHERE, Places
from .record import dataclass
from .transforms import MAX_TUPLE_BITS, RUN, SINGLE, SPLIT, TUPLE, Transform, from_runs, from_tuples, symbol_width


@dataclass(frozen=True)
class StreamInfo:
    """What was found in one stream: elements, coded symbols, bytes in all; in bits, of all together, the entropy of the coded symbols
    and of the elements themselves."""

    elements: int
    symbols: int
    nbytes: int
    entropy: float
    element_entropy: float


@dataclass(frozen=True)
class StreamReader:
    """Reads the streams of one blob. ``report`` collects a StreamInfo of each (costs time) unless it is None."""

    cursor: Cursor
    decoder: Decoder
    coder: str
    report: list[StreamInfo] | None = None

    def read(self, count: int, alphabet: int, width: int, places: Places = NOWHERE, *, may_split: bool = True) -> np.ndarray:
        """uint8[count], each below ``alphabet``. Bounds are checked before anything of that size is made."""
        cursor = self.cursor
        if count == 0:
            return np.empty(0, np.uint8)
        found = self.decoder.streams(cursor, self.coder, count, alphabet, width, 1) if self.report is None and may_split else None
        if found is not None:
            return found
        start = cursor.position
        code = cursor.byte("a stream")
        kind, is_coded, lanes, dominant = code & 3, bool(code & 4), 1 << (code >> 3 & 3), code >> 5
        if dominant > 1 or (dominant and kind != RUN) or (lanes > 1 and not is_coded) or (kind == SPLIT and is_coded):
            cursor.fail(CodeError, f"a stream begins with {code}, which has bits set that must be zero")
        if is_coded and self.coder == "raw":
            cursor.fail(CodeError, "a stream is coded, but the weight's coder is raw")
        if kind == SPLIT:
            if not may_split or alphabet <= 2 or self.coder not in ("huffman", "rans"):
                cursor.fail(TransformError, f"a stream of {alphabet} kinds of elements is split where it may not be")
            return self.split(count, alphabet)
        if is_coded and self.coder == "arithmetic":
            if kind != SINGLE or lanes > 1:
                cursor.fail(TransformError, f"an arithmetic stream begins with {code}, but has neither transforms nor lanes")
            elements = self.arithmetic(count, alphabet, width, places)
            self.add_report(start, elements, elements)
            return elements
        transform, symbols = self.transform(kind, count, alphabet, width, dominant, is_coded)
        if symbols > 8 * cursor.left and not (is_coded and self.coder == "rans"):
            cursor.fail(StreamLengthError, f"{symbols} symbols follow, but {cursor.left} bytes hold {8 * cursor.left} at most")
        coded = self.coded(transform, symbols, lanes) if is_coded else self.packed(transform, symbols)
        elements = self.undo(transform, coded, count, alphabet)
        if self.report is not None:
            self.add_report(start, elements, transform.apply(coded[:count]) if transform.kind == TUPLE else coded)
        return elements

    def planes(self, count: int, planes: int, places: Places = NOWHERE) -> np.ndarray:
        """uint8[count * planes]: bytes side by side, out of a stream for each of their planes."""
        found = self.decoder.streams(self.cursor, self.coder, count, 256, 8, planes) if self.report is None and count else None
        if found is not None:
            return found
        return np.stack([self.read(count, 256, 8, places) for _ in range(planes)], axis=1).ravel()

    def add_report(self, start: int, elements: np.ndarray, symbols: np.ndarray) -> None:
        if self.report is not None:
            self.report.append(StreamInfo(elements.size, symbols.size, self.cursor.position - start, entropy(np.bincount(symbols.astype(np.intp))),
                                          entropy(np.bincount(elements.astype(np.intp)))))

    def transform(self, kind: int, count: int, alphabet: int, width: int, dominant: int, is_coded: bool) -> tuple[Transform, int]:
        """The transform and the number of coded symbols."""
        cursor = self.cursor
        if kind == SINGLE:
            return Transform(SINGLE, width, alphabet), count
        if kind == TUPLE:
            p = cursor.byte("the size of tuples")
            if not is_coded or p < 2 or p * width > MAX_TUPLE_BITS:
                cursor.fail(TransformError, f"a stream has tuples of {p} elements of {width} bits; coded ones may have 2 or more "
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

    def coded(self, transform: Transform, symbols: int, lanes: int) -> np.ndarray:
        """The coded symbols, but of tuples their elements."""
        try:
            return self.huffman(transform, symbols, lanes) if self.coder == "huffman" else self.rans(transform, symbols, lanes)
        except StreamLengthError as error:
            self.cursor.fail(StreamLengthError, str(error))

    def huffman(self, transform: Transform, symbols: int, lanes: int) -> np.ndarray:
        cursor = self.cursor
        lengths = self.decoder.code_lengths(cursor, transform.alphabet)
        sizes = [cursor.count("the length of a lane") for _ in range(lanes)]
        payload = np.frombuffer(cursor.take(sum(sizes), "the lanes of a stream"), np.uint8)
        if symbols > 8 * payload.size:
            raise StreamLengthError(f"{symbols} symbols cannot lie in lanes of {payload.size} bytes")
        used = np.flatnonzero(lengths)
        if used.size == 1:
            expected = [packed_size(-(-(symbols - lane) // lanes), 1) for lane in range(lanes)]
            if sizes != expected or payload.any():
                raise StreamLengthError(f"{symbols} equal symbols need lanes of {expected} zero bytes, not of {sizes}")
            coded = np.full(symbols, used[0], np.uint16)
            return from_tuples(coded, transform.parameter, transform.width) if transform.kind == TUPLE else coded
        if transform.kind == RUN:
            return self.decoder.huffman_symbols(payload, sizes, lengths, symbols)
        return self.decoder.huffman_tuples(payload, sizes, lengths, symbols, transform.parameter or 1, transform.width)

    def rans(self, transform: Transform, symbols: int, lanes: int) -> np.ndarray:
        from .frequencies import decode_table

        cursor = self.cursor
        frequencies, bits = decode_table(cursor, transform.alphabet)
        payload = np.frombuffer(cursor.buffer[cursor.position:cursor.end], np.uint8)
        if transform.kind == RUN:
            coded, used = self.decoder.rans_symbols(payload, lanes, frequencies, bits, symbols)
        else:
            coded, used = self.decoder.rans_tuples(payload, lanes, frequencies, bits, symbols, transform.parameter or 1, transform.width)
        cursor.take(used, "a stream")
        return coded

    def arithmetic(self, count: int, alphabet: int, width: int, places: Places) -> np.ndarray:
        cursor = self.cursor
        code = cursor.byte("the contexts of a stream")
        contexts, dropped = code & 31, 7 - (code >> 5)
        if dropped < MIN_DROPPED:
            cursor.fail(CodeError, f"an arithmetic stream has contexts {code}, whose upper bits must be 0 to {7 - MIN_DROPPED}")
        payload = np.frombuffer(cursor.buffer[cursor.position:cursor.end], np.uint8)
        try:
            elements, used = self.decoder.arithmetic(payload, count, alphabet, width, contexts, places)
        except StreamLengthError as error:
            cursor.fail(StreamLengthError, str(error))
        cursor.take(used - dropped, "a stream")
        self.check(elements, alphabet)
        return elements

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
