"""One weight's blob: EncodedTensor → bytes and back (SPEC.md, "Blobs")."""

from __future__ import annotations

import numpy as np

from . import codes
from .codes import WeightEntry, little_endian, read_array
from .cursor import Cursor, put_varint
from .decoders import Decoder
from .errors import CodebookError, CodeError, GraphError, TrailingDataError
from .stream_reader import StreamInfo, StreamReader
from .stream_writer import encode_stream
from .tensor import ENTRY_DTYPES, Binary, Codebook, Dense, EncodedTensor, Plain, Sparse, Structure, Values, absent

# ---------------------------------------------------------------- writing


def kind_of(tensor: EncodedTensor) -> int:
    """The code of the tensor's values."""
    if isinstance(tensor.values, Plain):
        return codes.PLAIN if tensor.values.data.dtype.name == tensor.dtype else codes.HALF
    return codes.CODEBOOK if isinstance(tensor.values, Codebook) else codes.BINARY


def encode_blob(name: str, tensor: EncodedTensor) -> bytes | memoryview:
    """The bytes of the tensor's blob. GraphError if the file cannot hold it."""
    _check(f"weight {name!r}", tensor)
    v, is_sparse = tensor.values, isinstance(tensor.structure, Sparse)
    if isinstance(v, Plain) and not is_sparse and tensor.coder == "raw":
        return np.ascontiguousarray(_little(v.data)).view(np.uint8).data.cast("B") if v.data.size else b""
    out = bytearray()
    if isinstance(v, Codebook):
        out.append((v.bits - 1) | ENTRY_DTYPES.index(v.entries.dtype.name) << 3 | (v.scale is not None) << 5)
        for count in v.entries.shape:
            put_varint(out, count)
        out += _little(v.entries).tobytes()
    if not isinstance(v, Plain) and v.scale is not None:
        out += _little(v.scale).tobytes()
    if is_sparse:
        out += encode_stream(tensor.kept().view(np.uint8), 2, 1, tensor.coder)
    return bytes(out) + _encode_values(v, tensor.coder)


def _encode_values(v: Values, coder: str) -> bytes:
    if isinstance(v, Codebook):
        return encode_stream(v.indices, v.entries.shape[1], v.bits, coder)
    if isinstance(v, Binary):
        return encode_stream(v.signs, 2, 1, coder)
    data = np.ascontiguousarray(_little(v.data))
    if coder == "raw":
        return data.tobytes()
    planes = data.view(np.uint8).reshape(-1, data.itemsize)
    return b"".join(encode_stream(np.ascontiguousarray(planes[:, i]), 256, 8, coder) for i in range(data.itemsize))


def _little(array: np.ndarray) -> np.ndarray:
    return array.astype(little_endian(array.dtype.name), copy=False)


def _check(where: str, tensor: EncodedTensor) -> None:
    """What ``graph.verify`` does not look at, because it is the file that bounds it."""
    if len(tensor.shape) > codes.MAX_RANK or not 0 <= tensor.axis <= codes.MAX_RANK:
        raise GraphError(f"{where} has {len(tensor.shape)} dimensions and axis {tensor.axis}; a file allows {codes.MAX_RANK} at most")
    product = 1
    for dim in tensor.shape:
        product *= dim or 1
    if product > codes.MAX_SIZE:
        raise GraphError(f"{where} has the shape {tensor.shape}; a file's tensors have at most 2**48 elements")
    if isinstance(tensor.values, Plain) and tensor.values.data.dtype.name not in (tensor.dtype, "float16"):
        raise GraphError(f"{where} holds values of dtype {tensor.values.data.dtype.name}, not {tensor.dtype} or float16")


# ---------------------------------------------------------------- reading


def decode_blob(entry: WeightEntry, buffer: memoryview, decoder: Decoder, report: list[StreamInfo] | None = None) -> EncodedTensor:
    """The weight whose blob lies in ``buffer`` (the whole file) where ``entry`` says. Large raw values are views of the buffer."""
    cursor = Cursor(buffer, entry.offset, entry.offset + entry.nbytes, f"weight {entry.name!r}")
    streams = StreamReader(cursor, decoder, entry.coder, report)
    values_reader = _ValuesReader(entry, streams)
    values_reader.prelude()
    structure: Structure = Dense()
    held = entry.size
    if entry.is_sparse:
        kept = streams.read(entry.size, 2, 1)
        structure, held = Sparse(np.packbits(kept, bitorder="little")), int(np.count_nonzero(kept))
        del kept
    values = values_reader.values(held)
    if cursor.left:
        cursor.fail(TrailingDataError, f"{cursor.left} bytes are left over after the last stream")
    return EncodedTensor(entry.shape, entry.dtype, values, structure, entry.axis, "huffman" if entry.coder == "huffman" else "raw")


def outline_blob(entry: WeightEntry, buffer: memoryview, decoder: Decoder) -> EncodedTensor:
    """The dense weight of ``entry`` as ``EncodedTensor.outline`` gives it, without decoding its values."""
    cursor = Cursor(buffer, entry.offset, entry.offset + entry.nbytes, f"weight {entry.name!r}")
    reader = _ValuesReader(entry, StreamReader(cursor, decoder, entry.coder, None))
    reader.prelude()
    values: Values = Plain(absent(entry.size, entry.stored))
    if entry.kind == codes.CODEBOOK:
        values = Codebook(absent(entry.size, "uint8"), reader.bits, reader.entries, reader.scale)
    elif reader.scale is not None:
        values = Binary(absent(entry.size, "uint8"), reader.scale)
    return EncodedTensor(entry.shape, entry.dtype, values, Dense(), entry.axis, "huffman" if entry.coder == "huffman" else "raw")


class _ValuesReader:
    def __init__(self, entry: WeightEntry, streams: StreamReader) -> None:
        self.entry, self.streams, self.cursor = entry, streams, streams.cursor
        self.bits = 0
        self.entries = np.empty((0, 0), np.float32)
        self.scale: np.ndarray | None = None

    def prelude(self) -> None:
        """Codebook and scales, which lie in front of the streams."""
        has_scale = self.entry.kind == codes.BINARY
        if self.entry.kind == codes.CODEBOOK:
            has_scale = self.codebook()
        if has_scale:
            self.scale = read_array(self.cursor, "float32", self.entry.channels, "the scales").copy()

    def codebook(self) -> bool:
        """Reads bits and entries; returns whether scales follow."""
        cursor = self.cursor
        code = cursor.byte("the codebook")
        if code >> 6 or code >> 3 & 3 >= len(ENTRY_DTYPES):
            cursor.fail(CodeError, f"the codebook begins with {code}, which is no code")
        self.bits = (code & 7) + 1
        ngroups, nentries = cursor.varint("the number of codebook groups"), cursor.varint("the number of codebook entries")
        channels = max(self.entry.channels, 1)
        if not 1 <= ngroups <= channels or not 1 <= nentries <= 2 ** self.bits:
            cursor.fail(CodebookError, f"the codebook has {ngroups} groups of {nentries} entries, but there are {channels} channels and "
                                       f"{self.bits}-bit indices")
        dtype = ENTRY_DTYPES[code >> 3 & 3]
        self.entries = read_array(cursor, dtype, ngroups * nentries, "the codebook").reshape(ngroups, nentries).copy()
        return bool(code >> 5)

    def values(self, held: int) -> Values:
        if self.entry.kind == codes.CODEBOOK:
            return Codebook(self.streams.read(held, self.entries.shape[1], self.bits), self.bits, self.entries, self.scale)
        if self.entry.kind == codes.BINARY:
            assert self.scale is not None
            return Binary(self.streams.read(held, 2, 1), self.scale)
        return Plain(self.plain(held))

    def plain(self, held: int) -> np.ndarray:
        dtype = self.entry.stored
        if self.entry.coder == "raw":
            data = read_array(self.cursor, dtype, held, "the values")
            return data if self.entry.is_aligned else data.copy()
        planes = [self.streams.read(held, 256, 8) for _ in range(np.dtype(dtype).itemsize)]
        stacked = np.ascontiguousarray(np.stack(planes, axis=1)).ravel().data
        return read_array(Cursor(stacked, 0, len(stacked), self.cursor.where), dtype, held, "the values")
