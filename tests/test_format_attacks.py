"""What a hostile or broken file may try, one line each, and the error that answers it. Every subclass of FormatError is here."""

from __future__ import annotations

import re
import struct
import zlib
from dataclasses import dataclass

import numpy as np
import pytest
from format_samples import lenet5, table_graph
from thinfer.formats import decoders, errors
from thinfer.formats.errors import (
    BlobChecksumError,
    BooleanError,
    CodebookError,
    CodeError,
    CodeLengthsError,
    FormatError,
    FrequencyError,
    HeaderChecksumError,
    InconsistentGraphError,
    IndexRangeError,
    LimitError,
    MagicError,
    NameClashError,
    PaddingError,
    ReferenceRangeError,
    ShapeError,
    StreamLengthError,
    StringError,
    TrailingDataError,
    TransformError,
    TruncatedError,
    VarintError,
    VersionError,
)
from thinfer.formats.reader import from_bytes
from thinfer.formats.strings import STATIC
from thinfer.formats.tensor import EncodedTensor
from thinfer.formats.writer import to_bytes

EMPTY_GRAPH = bytes(4)


def varint(n: int) -> bytes:
    out = b""
    while n > 127:
        out, n = out + bytes([n & 127 | 128]), n >> 7
    return out + bytes([n])


def literal(text: bytes) -> bytes:
    return b"\0" + varint(len(text)) + text


def file(*weights: tuple[bytes, bytes], graph: bytes = EMPTY_GRAPH, source: bytes = bytes(3), after: bytes = b"") -> bytes:
    """A file whose checksums are right. ``weights``: header part up to the CRC-32, and the blob."""
    header = source + varint(len(weights)) + b"".join(part + struct.pack("<I", zlib.crc32(blob)) for part, blob in weights) + graph
    return raw_file(header, after=b"".join(blob for _, blob in weights) + after)


def raw_file(header: bytes, after: bytes = b"") -> bytes:
    start = b"THIN\0" + varint(len(header)) + header
    return start + struct.pack("<I", zlib.crc32(start)) + after


def weight(blob: bytes, encoding: int, *dims: int, axis: int = 0, length: int | None = None, name: bytes = b"w") -> tuple[bytes, bytes]:
    """encoding: kind | structure << 3 | coder << 5 | dtype << 7. The length is left out where the format leaves it out."""
    bare = encoding >> 3 & 15 == 0 and encoding & 7 < 2
    size = b"" if bare else varint(len(blob) if length is None else length)
    return literal(name) + varint(encoding) + bytes([len(dims) | axis << 4]) + b"".join(map(varint, dims)) + size, blob


CODEBOOK, BINARY, AFFINE, TERNARY = 2, 3, 4, 5
SPARSE, WINDOWED, BLOCKS = 1 << 3, 2 << 3, 3 << 3
HUFFMAN, RANS, ARITHMETIC = 1 << 5, 2 << 5, 3 << 5
FLOAT16, UINT8, BOOL = 1 << 7, 4 << 7, 11 << 7
RAW_PLAIN, SPARSE_PLAIN = UINT8, UINT8 | SPARSE
ENTRIES = struct.pack("<4f", 1, 2, 3, 4)
TWO_BITS = bytes([1, 1, 4]) + ENTRIES  # a codebook of 2 bits, one group, four entries
X, RELU, IF, AXIS, THEN = (bytes([STATIC.index(text) + 1]) for text in ("x", "Relu", "If", "axis", "then_branch"))
ONE_VALUE = b"\1" + X + b"\0\0" + b"\0\0\0"  # one input, "x", float32 of rank 0; no node, output, annotation
FLOAT_W = weight(struct.pack("<f", 1), 0, name=b"w")


def indices(stream: bytes, *dims: int, coder: int = HUFFMAN, codebook: bytes = TWO_BITS) -> bytes:
    """A file whose one weight is a dense codebook tensor with this stream of indices."""
    return file(weight(codebook + stream, CODEBOOK | coder, *dims))


def mask(stream: bytes, *dims: int, coder: int = HUFFMAN, values: bytes = b"") -> bytes:
    return file(weight(stream + values, SPARSE_PLAIN | coder, *dims))


def windows(code: int, n: int, rest: bytes = b"\0", inputs: int = 16) -> bytes:
    """A file whose one weight is a row of plain bytes in windows."""
    return file(weight(bytes([code, n]) + rest, UINT8 | WINDOWED, 1, inputs))


def blocks(blob: bytes, inputs: int = 16) -> bytes:
    return file(weight(blob, UINT8 | BLOCKS, 4, inputs))


def attribute(content: bytes, times: int = 1) -> bytes:
    """A file with a Relu node that has the attribute axis."""
    return file(FLOAT_W, graph=b"\0\1" + RELU + bytes([1 | times << 5, 2]) + (AXIS + content) * times + b"\0\0")


def bits(text: str) -> bytes:
    """Bits in the order in which they are read. Code lengths with k = 0 begin with 00; 10 is a difference of 0, 110 of -1, 1110 of 1."""
    return np.packbits(np.array([int(bit) for bit in text.replace(" ", "")], np.uint8), bitorder="little").tobytes()


FOUR_KINDS = bits("00 10 10 10 10")  # of four symbols, each has two bits
TWELVE_BITS = "00 000 001 "  # frequencies that add up to 2**12; no mantissas, k = 0, values as in code lengths
EVEN = bits(TWELVE_BITS + "10 10 10 10")
ONE_OF_FOUR = bits(TWELVE_BITS + "10 0 101")


def nested(depth: int) -> bytes:
    """If nodes, each with the next graph as its then_branch."""
    graph = EMPTY_GRAPH
    for _ in range(depth):
        graph = b"\0\1" + IF + bytes([1 | 1 << 5, 2]) + THEN + b"\x08" + graph + b"\0\0"
    return graph


def flipped(data: bytes, place: int) -> bytes:
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1:]


GOOD = file(weight(b"abc", RAW_PLAIN, 3), graph=ONE_VALUE)
BIG = to_bytes(table_graph({"w": EncodedTensor.dense(np.ones(2000, np.float32))}))
FIRST_BLOB = BIG.index(np.ones(2, np.float32).tobytes())


@dataclass(frozen=True)
class Attack:
    kind: type[FormatError]
    what: str
    data: bytes
    says: str


ATTACKS = [
    Attack(MagicError, "an empty file", b"", "the file is empty"),
    Attack(MagicError, "another magic", b"ONNX" + GOOD[4:], "b'ONNX'.*b'THIN'"),
    Attack(VersionError, "a version to come", b"THIN\1" + GOOD[5:], "version 1.*version 0"),
    Attack(TruncatedError, "nothing after the magic", b"THIN", "the version"),
    Attack(TruncatedError, "a header that leaves the file", b"THIN\0" + varint(1000) + bytes(10), "1000 bytes, but 10"),
    Attack(TruncatedError, "a header without its checksum", GOOD[:-7], "CRC-32 of the header"),
    Attack(TruncatedError, "a blob that leaves the file", GOOD[:-1], "ends too early"),
    Attack(TruncatedError, "a header that ends within a weight", raw_file(bytes(3) + b"\1" + literal(b"w") + b"\0"), "rank of weight 'w'"),
    Attack(TruncatedError, "a blob length beyond the file", file(weight(TWO_BITS, CODEBOOK, 0, length=2 ** 40)), "header describes"),
    Attack(TruncatedError, "scales that leave the blob", file(weight(b"\0\0", BINARY, 4)), "scales needs 16 bytes, but 2"),
    Attack(TruncatedError, "entries that leave the blob", indices(b"", 8, codebook=b"\7\1\x80\2" + ENTRIES), "needs 1024 bytes"),
    Attack(TruncatedError, "packed indices that leave the blob", indices(b"\0\0", 8, coder=0), "packed stream needs 2 bytes, but 1"),
    Attack(TruncatedError, "lanes that leave the blob", indices(b"\x0c" + FOUR_KINDS + b"\3\3" + bytes(4), 8), "lanes .* needs 6 bytes"),
    Attack(TruncatedError, "affine scales that leave the blob", file(weight(b"\x09\2\0\0\0\0", AFFINE, 3, 5)), "scales needs 36 bytes, but 4"),
    Attack(TruncatedError, "positions that leave the blob", windows(0, 15, b"\0abc"), "packed stream needs 8 bytes, but 3"),
    Attack(TrailingDataError, "bytes after the last blob", GOOD + b"\0", "goes on too long"),
    Attack(TrailingDataError, "bytes after the header's last part", raw_file(bytes(8) + b"\0"), "1 bytes are left over"),
    Attack(TrailingDataError, "bytes after the last stream", indices(b"\0\0\0\0", 8, coder=0), "1 bytes are left over"),
    Attack(HeaderChecksumError, "a flipped bit in the header", flipped(GOOD, 12), "bytes 0 to"),
    Attack(HeaderChecksumError, "a flipped bit in the header's checksum", flipped(GOOD, len(GOOD) - 5), "CRC-32"),
    Attack(BlobChecksumError, "a flipped bit in a blob", flipped(GOOD, len(GOOD) - 2), "weight 'w'"),
    Attack(PaddingError, "padding between blobs that says something", BIG[:FIRST_BLOB - 1] + b"x" + BIG[FIRST_BLOB:], "must be zero"),
    Attack(PaddingError, "bits after the last packed index", indices(b"\0\xff\xff", 7, coder=0), "past its end"),
    Attack(PaddingError, "elements after the last tuple",
           indices(b"\5\2" + bits("00 0 110 00 1111110 0 1110 110") + b"\1\0", 1), "last tuple"),
    Attack(PaddingError, "bits after the code lengths", mask(b"\4" + bits("00 10 10 01") + b"\1\0", 8), "code lengths has bits"),
    Attack(VarintError, "a varint with needless bytes", raw_file(b"\x80\0" + bytes(7)), "needless"),
    Attack(VarintError, "a varint of 11 bytes", raw_file(b"\xff" * 10 + b"\1" + bytes(7)), "more than 10 bytes"),
    Attack(VarintError, "a varint above 64 bits", raw_file(b"\xff" * 9 + b"\2" + bytes(7)), "64 bits"),
    Attack(LimitError, "a header of 2**40 bytes", b"THIN\0" + varint(2 ** 40), "the header is 1099511627776"),
    Attack(LimitError, "more weights than bytes", raw_file(bytes(3) + varint(2 ** 30) + bytes(4)), "number of weights is 1073741824"),
    Attack(LimitError, "a negative source", file(source=b"\0\0\1"), "fewer than 0"),
    Attack(LimitError, "a channel axis that is no dimension", file(weight(b"a", RAW_PLAIN, 1, axis=3)), "channel axis 3, but 1"),
    Attack(LimitError, "scales of blocks of no inputs", file(weight(b"\1\0" + bytes(8), AFFINE, 4)), "block of the scales is 0"),
    Attack(LimitError, "a value of 200 dimensions", file(graph=b"\1" + X + b"\0" + varint(200) + bytes(250)), "rank of value 'x' is 200"),
    Attack(LimitError, "an attribute tensor of 20 dimensions", attribute(b"\xf7\x14" + bytes(40)), "20 dimensions"),
    Attack(LimitError, "subgraphs without end", file(FLOAT_W, graph=nested(17)), "nested more than 16"),
    Attack(LimitError, "runs of 5000", mask(b"\2" + varint(5000) + b"\1\0\0", 8), "longest run is 5000"),
    Attack(LimitError, "a string of 70000 bytes", raw_file(bytes(3) + b"\1\0" + varint(70000) + bytes(70000)), "length of the name"),
    Attack(StringError, "a name that is not UTF-8", file(weight(b"a", RAW_PLAIN, 1, name=b"\xff")), "not UTF-8"),
    Attack(StringError, "a weight without a name", file(weight(b"a", RAW_PLAIN, 1, name=b"")), "is empty"),
    Attack(StringError, "a string that the table lacks", file(graph=b"\1" + varint(300) + bytes(5)), "string 299"),
    Attack(StringError, "a prefix longer than the string before",
           raw_file(bytes(3) + b"\1" + varint(8 * 5) + b"\1a" + bytes(20)), "shares 5"),
    Attack(StringError, "a string too long with its ending", file(weight(b"", RAW_PLAIN, 0, name=b"a" * 65535), (
        varint(8 * 255 + 1) + varint(65500) + b"b" * 65500 + varint(RAW_PLAIN) + bytes([1, 0]), b"")), "at most 65535"),
    Attack(StringError, "a symbolic dimension without a name",
           file(graph=b"\1" + X + b"\0\1\1" + b"\0" + literal(b"")[0:2] + bytes(3)), "empty name"),
    Attack(StringError, "an operator without a name", file(FLOAT_W, graph=b"\0\1\0\0\0" + bytes(8)), "operator has no name"),
    Attack(StringError, "a node whose name is empty",
           file(FLOAT_W, graph=b"\0\1" + RELU + bytes([129, 2, 0, 0, 0]) + b"\0\0"), "is empty, but"),
    Attack(NameClashError, "two weights of one name", file(FLOAT_W, FLOAT_W), "called 'w'"),
    Attack(NameClashError, "an input with a weight's name", file(weight(b"a", RAW_PLAIN, 1, name=b"x"), graph=ONE_VALUE), "called 'x'"),
    Attack(NameClashError, "an attribute given twice", attribute(b"\0", times=2), "'axis' twice"),
    Attack(NameClashError, "a value that is two outputs", file(graph=ONE_VALUE[:-2] + b"\2" + b"\1\0\0" * 2 + b"\0"), "same value"),
    Attack(NameClashError, "a value with two annotations", file(graph=ONE_VALUE[:-1] + b"\2" + b"\1\1" * 2), "quantized twice"),
    Attack(CodeError, "a dtype that is none", file(weight(b"", 13 << 7, 0)), "dtype code 13"),
    Attack(CodeError, "float16 in place of float16", file(weight(b"", FLOAT16 | 1, 0)), "that is float16"),
    Attack(CodeError, "a quantization that is none", file(graph=ONE_VALUE[:-1] + b"\1\1\x08"), "code 8, but codes are 0 to 7 and 9 to 11"),
    Attack(InconsistentGraphError, "a scale of zero", file(graph=ONE_VALUE[:-1] + b"\1\1\0\4\0\0\0\0\0"), "scale 0"),
    Attack(InconsistentGraphError, "a scale that is no float32",
           file(graph=ONE_VALUE[:-1] + b"\1\1\0\x08" + struct.pack("<d", 0.1) + b"\0"), "positive float32"),
    Attack(InconsistentGraphError, "a zero point out of range",
           file(graph=ONE_VALUE[:-1] + b"\1\1\4\4" + struct.pack("<f", 0.5) + b"\1"), "zero point -1, which is no uint8"),
    Attack(InconsistentGraphError, "a quantized weight", file(FLOAT_W, graph=ONE_VALUE[:-1] + b"\1\2\1"), "quantization of 'w'"),
    Attack(CodeError, "an odd dimension", file(graph=b"\1" + X + b"\0\1\3" + bytes(3)), "code 3"),
    Attack(CodeError, "an attribute type that is none", attribute(b"\x09"), "type code 9"),
    Attack(CodeError, "a float attribute that counts", attribute(b"\x11\4\0\0\0\0"), "1 where 0"),
    Attack(CodeError, "a float of 5 bytes", attribute(b"\x01\5\0\0\0\0\0"), "5 bytes"),
    Attack(CodeError, "one equal integer", attribute(b"\x14\0"), "1 equal integers"),
    Attack(CodeError, "fifteen equal integers", attribute(b"\xf4\0"), "15 equal integers"),
    Attack(CodeError, "outputs of code 3", file(FLOAT_W, graph=b"\0\1" + RELU + bytes([1 | 3 << 3, 2]) + b"\0\0"), "have code 3"),
    Attack(CodeError, "an output of code 7", file(FLOAT_W, graph=b"\0\1" + RELU + bytes([1 | 2 << 3, 2, 1, 7]) + b"\0\0"), "has code 7"),
    Attack(CodeError, "a codebook with reserved bits", indices(b"\0\0\0", 8, codebook=b"\xc1" + TWO_BITS[1:]), "begins with 193"),
    Attack(CodeError, "a codebook of a dtype that is none", indices(b"\0\0\0", 8, codebook=b"\x19" + TWO_BITS[1:]), "begins with 25"),
    Attack(CodeError, "values of a kind that is none", file(weight(b"", 6, 0)), "kind 6"),
    Attack(CodeError, "affine codes of 1 bit", file(weight(b"\0\1" + bytes(16), AFFINE, 4)), "begin with 0"),
    Attack(CodeError, "affine codes with reserved bits", file(weight(b"\x21\1" + bytes(16), AFFINE, 4)), "begin with 33"),
    Attack(CodeError, "windows of a length that is none", windows(3, 0), "begin with 3"),
    Attack(CodeError, "windows with reserved bits", windows(8, 0), "begin with 8"),
    Attack(CodeError, "17 values in a window of 16", windows(0, 16), "begin with 0 and 16"),
    Attack(CodeError, "blocks of a shape that is none", blocks(b"\3\0\0"), "code 3, but codes go to 2"),
    Attack(CodeError, "a stream with reserved bits", indices(b"\x40\0\0", 8, coder=0), "begins with 64"),
    Attack(CodeError, "a dominant element without runs", indices(b"\x20\0\0", 8, coder=0), "begins with 32"),
    Attack(CodeError, "lanes of a packed stream", indices(b"\x08\0\0", 8, coder=0), "begins with 8"),
    Attack(CodeError, "a Huffman code in a raw weight", indices(b"\4\0\0", 8, coder=0), "coder is raw"),
    Attack(ReferenceRangeError, "a weight that is not there", file(FLOAT_W, graph=b"\0\1" + RELU + bytes([1, 4]) + b"\0\0"), "weight 1"),
    Attack(ReferenceRangeError, "a value before the first", file(FLOAT_W, graph=b"\0\1" + RELU + bytes([1, 1]) + b"\0\0"), "1 back"),
    Attack(ReferenceRangeError, "an absent output", file(graph=b"\0\0\1\0\0\0\0"), "is absent"),
    Attack(ReferenceRangeError, "a value of a graph that has ended",
           file(FLOAT_W, graph=b"\0\2" + IF + bytes([1 | 1 << 5, 2]) + THEN + b"\x08" + (
        b"\0\1" + RELU + bytes([1, 2]) + b"\0\0") + RELU + bytes([1, 3]) + b"\0\0"), "2 back"),
    Attack(BooleanError, "a boolean 2", file(weight(b"\0\2", BOOL, 2)), "boolean 2"),
    Attack(BooleanError, "a boolean 7 in an attribute", attribute(b"\x17\x0b\1\7"), "boolean 7"),
    Attack(ShapeError, "a shape beyond 2**48", file(weight(b"", RAW_PLAIN, 2 ** 30, 2 ** 30, 0)), "2\\*\\*48"),
    Attack(ShapeError, "more elements than a blob can stand for", indices(b"\0\0\0", 2 ** 40), "elements, but 22 bytes"),
    Attack(ShapeError, "more elements than blocks can stand for", blocks(b"\0\0\0", 2 ** 30), "elements, but 3 bytes"),
    Attack(ShapeError, "an attribute tensor that leaves the header", attribute(b"\x17\0" + varint(10 ** 6)), "only .* bytes follow"),
    Attack(CodebookError, "a codebook of 5 entries for 2 bits",
           indices(b"\0\0\0", 8, codebook=b"\1\1\5" + ENTRIES + b"1234"), "1 groups of 5"),
    Attack(CodebookError, "a codebook without entries", indices(b"\0\0\0", 8, codebook=b"\1\1\0"), "of 0 entries"),
    Attack(CodebookError, "more groups than channels", indices(b"\0\0\0", 1, 8, codebook=b"\1\2\2" + ENTRIES), "2 groups"),
    Attack(IndexRangeError, "an index beyond the codebook",
           indices(b"\0\xff\xff", 8, coder=0, codebook=b"\1\1\3" + ENTRIES[:12]), "symbol 3"),
    Attack(IndexRangeError, "a fourth trit", file(weight(bytes(4) + b"\0\xff", TERNARY, 1, 4)), "symbol 3"),
    Attack(IndexRangeError, "a run beyond the longest", mask(b"\2\2\1\3", 2), "symbol 3"),
    Attack(IndexRangeError, "a dominant element beyond the codebook", indices(b"\3\7", 8), "dominant element is 7"),
    Attack(IndexRangeError, "the second of one entry", indices(b"\0\1", 8, coder=0, codebook=b"\0\1\1" + ENTRIES[:4]), "symbol 1"),
    Attack(TransformError, "packed tuples", indices(b"\1\2\0\0", 8), "raw ones have none"),
    Attack(TransformError, "tuples of 14 bits", indices(b"\5\7\0\0", 8), "tuples of 7"),
    Attack(TransformError, "runs of four kinds", indices(b"\2\2\1\0", 8), "4 kinds"),
    Attack(TransformError, "a split mask", mask(b"\3\0", 8), "2 kinds"),
    Attack(TransformError, "a split within a split", indices(b"\3\0\0\1\3\0", 8), "split where"),
    Attack(TransformError, "a split in a raw weight", indices(b"\3\0\0\0", 8, coder=0), "split where"),
    Attack(CodeLengthsError, "a code that is not complete", indices(b"\4" + bits("00 10 10 0 10 0"), 8), "leave 0.5"),
    Attack(CodeLengthsError, "a code that is more than full", indices(b"\4" + bits("00 10 10 10 110"), 8), "leave -0.25"),
    Attack(CodeLengthsError, "a code of 0 bits", indices(b"\4" + bits("00 110 110"), 8), "has a code of 0 bits"),
    Attack(CodeLengthsError, "zeros beyond the alphabet", indices(b"\4" + bits("00 10 0 110 00"), 8), "run of 4 zero"),
    Attack(CodeLengthsError, "a table of ones", indices(b"\4" + b"\xff" * 6, 8), "30 ones"),
    Attack(LimitError, "a lane longer than the blob", indices(b"\4" + FOUR_KINDS + b"\5" + bytes(4), 8), "length of a lane is 5"),
    Attack(StreamLengthError, "more symbols than bits", indices(b"\4" + FOUR_KINDS + b"\1\0", 100), "100 symbols"),
    Attack(StreamLengthError, "a lane with a byte too many", indices(b"\4" + FOUR_KINDS + b"\3\0\0\0", 8), "lane"),
    Attack(StreamLengthError, "a lane with a byte too few", indices(b"\4" + FOUR_KINDS + b"\1\0", 8), "lane"),
    Attack(StreamLengthError, "ones in the lane of a lone symbol", mask(b"\4" + bits("00 10 0 0") + b"\1\1", 8), "equal symbols"),
    Attack(StreamLengthError, "runs that stand for too few", mask(b"\2\3\3\0", 8), "stand for 3 elements"),
    Attack(StreamLengthError, "runs that stand for too many", mask(b"\2\3\3\x2a", 8), "stand for 9|3 runs"),
    Attack(StreamLengthError, "more runs than elements", mask(b"\2\3\x09\0\0\0", 8), "9 runs"),
    Attack(StreamLengthError, "fewer runs than there can be", mask(b"\2\3\2\x0f", 8), "2 runs"),
    Attack(StreamLengthError, "a mask of windows that are too full", windows(4, 1, b"\0\7\0"), "more or fewer than 2 of 16"),
    Attack(FrequencyError, "no symbol that occurs", indices(b"\4" + bits(TWELVE_BITS + "0 11000"), 8, coder=RANS), "no symbol"),
    Attack(FrequencyError, "a level below 0", indices(b"\4" + bits("00 111 000" + "0 0100010"), 8, coder=RANS), "level -1"),
    Attack(FrequencyError, "absent symbols beyond the alphabet", indices(b"\4" + bits(TWELVE_BITS + "0 1110000"), 8, coder=RANS), "absent symbols"),
    Attack(FrequencyError, "a symbol that is too rare", indices(b"\4" + bits("00 000 000 10" + 21 * "1" + "0 10 10"), 8, coder=RANS), "as 0"),
    Attack(PaddingError, "bits after the frequencies", indices(b"\4" + bits(TWELVE_BITS + "10 0 101 1"), 8, coder=RANS), "frequencies has bits"),
    Attack(StreamLengthError, "a state that is too small", indices(b"\4" + EVEN + b"\xff\xff\0\0", 8, coder=RANS), "state"),
    Attack(StreamLengthError, "a state cut short", indices(b"\4" + EVEN + b"\0\0\1", 8, coder=RANS), "state"),
    Attack(StreamLengthError, "states that end elsewhere", indices(b"\4" + EVEN + b"\0\0\x08\0", 1, coder=RANS), "end"),
    Attack(StreamLengthError, "words that are not there", indices(b"\4" + EVEN + b"\0\0\1\0", 8, coder=RANS), "words"),
    Attack(TrailingDataError, "a word too many", indices(b"\4" + ONE_OF_FOUR + b"\0\0\1\0\0\0", 8, coder=RANS), "2 bytes are left"),
    Attack(CodeError, "digits kept that cannot be", indices(b"\4\xa0" + bytes(9), 8, coder=ARITHMETIC), "contexts 160"),
    Attack(StreamLengthError, "digits that are not there", indices(b"\4\x80\x55\0\0", 250_000, coder=ARITHMETIC), "digits"),
    Attack(StreamLengthError, "digits above all codes", indices(b"\4\x80" + b"\xff" * 8, 8, coder=ARITHMETIC), "digits"),
    Attack(TruncatedError, "kept digits that are not there", indices(b"\4\x80\1", 2, coder=ARITHMETIC), "needs"),
    Attack(TrailingDataError, "digits too many", indices(b"\4\0" + bytes(9), 2, coder=ARITHMETIC), "8 bytes are left"),
    Attack(IndexRangeError, "an arithmetic index beyond the codebook",
           indices(b"\4\0\0", 1, coder=ARITHMETIC, codebook=b"\1\1\3" + ENTRIES[:12]), "symbol 3"),
    Attack(TransformError, "arithmetic tuples", indices(b"\5\2\0\0", 8, coder=ARITHMETIC), "neither transforms nor lanes"),
    Attack(TransformError, "lanes of an arithmetic stream", indices(b"\x0c\0\0\0", 8, coder=ARITHMETIC), "neither transforms nor lanes"),
    Attack(TransformError, "an arithmetic split", indices(b"\3\0\0\0", 8, coder=ARITHMETIC), "split where"),
    Attack(InconsistentGraphError, "a position taken twice", windows(0, 1, b"\0\x55ab"), "do not ascend"),
    Attack(InconsistentGraphError, "a position past the last input", windows(0, 1, b"\0\x41ab", inputs=4), "position 4 in a window"),
    Attack(InconsistentGraphError, "a node without outputs",
           file(FLOAT_W, graph=b"\0\1" + RELU + bytes([1 | 2 << 3, 2, 0]) + b"\0\0"), "no output"),
]


@pytest.mark.parametrize("decoder", decoders.available())
@pytest.mark.parametrize("attack", ATTACKS, ids=lambda a: f"{a.kind.__name__}: {a.what}")
def test_attack(attack: Attack, decoder: decoders.DecoderName) -> None:
    with pytest.raises(FormatError) as caught:
        from_bytes(attack.data, decoder=decoder, check=True)
    assert type(caught.value) is attack.kind, caught.value
    assert re.search(attack.says, str(caught.value)), caught.value


def test_every_failure_has_an_attack() -> None:
    kinds = {kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, FormatError)} - {FormatError}
    assert {attack.kind for attack in ATTACKS} == kinds


def test_every_failure_is_in_the_specification() -> None:
    from format_reference import SPEC

    assert set(re.findall(r"\*\*(\w+Error)\*\*", SPEC)) == {attack.kind.__name__ for attack in ATTACKS}


def test_what_the_attacks_start_from_is_well_formed() -> None:
    for data in (GOOD, BIG, file(), file(FLOAT_W, graph=nested(16)), attribute(b"\0"), indices(b"\0\0\0", 8, coder=0),
                 indices(b"\4" + FOUR_KINDS + b"\2\0\0", 8), windows(0, 1, b"\0\x51ab"), windows(4, 1, b"\0\x81\0ab"),
                 blocks(b"\2\0\1" + bytes(16)), file(weight(b"\x09\2" + bytes(36) + b"\0" + bytes(4), AFFINE, 3, 5)),
                 file(weight(bytes(4) + b"\0\xaa", TERNARY, 1, 4))):
        from_bytes(data, check=True)


def test_a_bad_weight_is_found_when_it_is_read_and_others_still_can_be() -> None:
    data = file(weight(b"abc", RAW_PLAIN, 3, name=b"good"), weight(b"\2", BOOL, 1, name=b"bad"))
    table = from_bytes(data).weights
    assert table["good"].decode().tobytes() == b"abc"
    with pytest.raises(BooleanError, match="'bad'"):
        table["bad"]


def test_names_like_those_that_the_reader_makes_up_do_not_clash() -> None:
    graph = lenet5(EncodedTensor.dense)
    for taken in ("%0", "%%3", "%x", "%"):
        data = to_bytes(table_graph({taken: graph.weights["fc3.bias"]}))
        assert list(from_bytes(data, check=True).weights) == [taken]

