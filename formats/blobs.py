"""One weight's blob: EncodedTensor → bytes and back (SPEC.md, "Blobs")."""

from __future__ import annotations

from typing import cast

import numpy as np

from . import codes
from .codes import WeightEntry, little_endian, read_array
from .cursor import Cursor, put_varint
from .decoders import Decoder
from .errors import CodebookError, CodeError, GraphError, StreamLengthError, TrailingDataError
from .places import NOWHERE, Places, in_rows, of_held, of_positions
from .stream_reader import StreamInfo, StreamReader
from .stream_writer import encode_stream
from .tensor import (
    BLOCKS,
    CODERS,
    ENTRY_DTYPES,
    LEFT_TO_THE_WRITER,
    WINDOWS,
    Affine,
    Binary,
    Blocks,
    Codebook,
    Coder,
    Dense,
    EncodedTensor,
    Plain,
    Sparse,
    Structure,
    Symbols,
    Ternary,
    Values,
    View,
    Windowed,
    absent,
)

POSITIONS, MASK = range(2)
"""How windows lie in a blob: the places in each of them, or a bit for each input."""

_KINDS: dict[type, int] = {Codebook: codes.CODEBOOK, Affine: codes.AFFINE, Binary: codes.BINARY, Ternary: codes.TERNARY}

# ---------------------------------------------------------------- writing


def kind_of(tensor: EncodedTensor) -> int:
    """The code of the tensor's values."""
    if isinstance(tensor.values, Plain):
        return codes.PLAIN if tensor.values.data.dtype.name == tensor.dtype else codes.HALF
    return _KINDS[type(tensor.values)]


def encode_blob(name: str, tensor: EncodedTensor) -> tuple[bytes | memoryview, Coder]:
    """The bytes of the tensor's blob, and the coder that made them. GraphError if the file cannot hold it."""
    _check(f"weight {name!r}", tensor)
    slack = LEFT_TO_THE_WRITER.get(tensor.coder)
    if slack is None:
        named = cast("Coder", tensor.coder)
        return _encode(tensor, named), named
    blobs = {coder: _encode(tensor, coder) for coder in CODERS}
    enough = min(len(blob) for blob in blobs.values()) * slack
    coder = next(coder for coder in CODERS if len(blobs[coder]) <= enough)
    return blobs[coder], coder


def _encode(tensor: EncodedTensor, coder: Coder) -> bytes | memoryview:
    v = tensor.values
    if isinstance(v, Plain) and isinstance(tensor.structure, Dense) and coder == "raw":
        return np.ascontiguousarray(_little(v.data)).view(np.uint8).data.cast("B") if v.data.size else b""
    structure, places = _structure(tensor.structure, tensor.view, coder), _places(tensor.structure, tensor.view, coder)
    if isinstance(v, Plain):
        return structure + _numbers(v.data, coder, places)
    return _tables(v, coder) + structure + encode_stream(v.symbols, v.alphabet, v.bits, coder, places)


def _places(structure: Structure, view: View, coder: str) -> Places:
    """Of the held values; nobody but the arithmetic coder asks."""
    return of_held(structure, view) if coder == "arithmetic" else NOWHERE


def _tables(v: Symbols, coder: str) -> bytes:
    """What symbols stand for."""
    out = bytearray()
    if isinstance(v, Codebook):
        out.append((v.bits - 1) | ENTRY_DTYPES.index(v.entries.dtype.name) << 3 | (v.scale is not None) << 5)
        for count in v.entries.shape:
            put_varint(out, count)
        out += _little(v.entries).tobytes()
    if isinstance(v, Affine):
        out.append((v.bits - 1) | (v.scale.shape[0] != 1) << 3 | (v.zero_point is not None) << 4)
        put_varint(out, v.block)
    if v.scale is not None:
        out += _numbers(v.scale.ravel(), coder)
    if isinstance(v, Affine) and v.zero_point is not None:
        out += encode_stream(v.zero_point.ravel(), v.alphabet, v.bits, coder)
    return bytes(out)


def _structure(structure: Structure, view: View, coder: str) -> bytes:
    """Where values are held."""
    if isinstance(structure, Sparse):
        return encode_stream(structure.kept(view).view(np.uint8), 2, 1, coder, of_positions(view))
    if isinstance(structure, Blocks):
        kept = structure.kept_blocks(view).view(np.uint8)
        return bytes([BLOCKS.index(structure.shape)]) + encode_stream(kept.ravel(), 2, 1, coder, in_rows(kept.shape[1]))
    if isinstance(structure, Windowed):
        m, mask = structure.m, view.rows(structure.kept(view)).view(np.uint8).ravel()
        forms = (encode_stream(structure.positions, m, m.bit_length() - 1, coder, of_held(structure, view)),
                 encode_stream(mask, 2, 1, coder, in_rows(view.inputs)))
        form = POSITIONS if len(forms[POSITIONS]) <= len(forms[MASK]) else MASK
        return bytes([WINDOWS.index(m) | form << 2, structure.n - 1]) + forms[form]
    return b""


def _numbers(array: np.ndarray, coder: str, places: Places = NOWHERE) -> bytes:
    """Numbers as they are, or coded: a stream for each byte of the dtype, the lowest bytes first."""
    data = np.ascontiguousarray(_little(array))
    if coder == "raw":
        return data.tobytes()
    planes = data.view(np.uint8).reshape(-1, data.itemsize)
    return b"".join(encode_stream(np.ascontiguousarray(planes[:, i]), 256, 8, coder, places) for i in range(data.itemsize))


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
    if isinstance(tensor.values, Affine) and tensor.values.block > codes.MAX_SIZE:
        raise GraphError(f"{where} has scales for blocks of {tensor.values.block} inputs; a file allows 2**48 at most")


# ---------------------------------------------------------------- reading


def decode_blob(entry: WeightEntry, buffer: memoryview, decoder: Decoder, report: list[StreamInfo] | None = None) -> EncodedTensor:
    """The weight whose blob lies in ``buffer`` (the whole file) where ``entry`` says. Large raw values are views of the buffer."""
    reader = _BlobReader(entry, StreamReader(_cursor(entry, buffer), decoder, entry.coder, report))
    values = reader.tables()
    structure = reader.structure()
    held, places = structure.held(entry.view), _places(structure, entry.view, entry.coder)
    if isinstance(values, Plain):
        values = Plain(reader.numbers(entry.stored, held, "the values", places))
    else:
        values = values.with_symbols(reader.streams.read(held, values.alphabet, values.bits, places))
    if reader.cursor.left:
        reader.cursor.fail(TrailingDataError, f"{reader.cursor.left} bytes are left over after the last stream")
    return EncodedTensor(entry.shape, entry.dtype, values, structure, entry.axis, entry.coder)


def outline_blob(entry: WeightEntry, buffer: memoryview, decoder: Decoder) -> EncodedTensor:
    """The dense weight of ``entry`` as ``EncodedTensor.outline`` gives it, without decoding its values."""
    values = _BlobReader(entry, StreamReader(_cursor(entry, buffer), decoder, entry.coder, None)).tables()
    outline: Values = Plain(absent(entry.size, entry.stored)) if isinstance(values, Plain) else values.with_symbols(absent(entry.size, "uint8"))
    return EncodedTensor(entry.shape, entry.dtype, outline, Dense(), entry.axis, entry.coder)


def _cursor(entry: WeightEntry, buffer: memoryview) -> Cursor:
    return Cursor(buffer, entry.offset, entry.offset + entry.nbytes, f"weight {entry.name!r}")


class _BlobReader:
    def __init__(self, entry: WeightEntry, streams: StreamReader) -> None:
        self.entry, self.streams, self.cursor, self.view = entry, streams, streams.cursor, entry.view

    def tables(self) -> Values:
        """The values without symbols or data, which lie behind the structure."""
        kind, none = self.entry.kind, np.empty(0, np.uint8)
        if kind == codes.CODEBOOK:
            return self.codebook(none)
        if kind == codes.AFFINE:
            return self.affine(none)
        if kind in (codes.BINARY, codes.TERNARY):
            scale = self.numbers("float32", self.view.channels, "the scales")
            return Binary(none, scale) if kind == codes.BINARY else Ternary(none, scale)
        return Plain(none)

    def codebook(self, none: np.ndarray) -> Codebook:
        cursor = self.cursor
        code = cursor.byte("the codebook")
        if code >> 6 or code >> 3 & 3 >= len(ENTRY_DTYPES):
            cursor.fail(CodeError, f"the codebook begins with {code}, which is no code")
        bits = (code & 7) + 1
        ngroups, nentries = cursor.varint("the number of codebook groups"), cursor.varint("the number of codebook entries")
        channels = max(self.view.channels, 1)
        if not 1 <= ngroups <= channels or not 1 <= nentries <= 2 ** bits:
            cursor.fail(CodebookError, f"the codebook has {ngroups} groups of {nentries} entries, but there are {channels} channels and "
                                       f"{bits}-bit indices")
        entries = read_array(cursor, ENTRY_DTYPES[code >> 3 & 3], ngroups * nentries, "the codebook").reshape(ngroups, nentries).copy()
        return Codebook(none, bits, entries, self.numbers("float32", self.view.channels, "the scales") if code >> 5 else None)

    def affine(self, none: np.ndarray) -> Affine:
        code = self.cursor.byte("the affine codes")
        if code >> 5 or code & 7 == 0:
            self.cursor.fail(CodeError, f"the affine codes begin with {code}, which is no code")
        bits, block = (code & 7) + 1, self.cursor.bounded("the block of the scales", 1, codes.MAX_SIZE)
        shape = (self.view.channels if code >> 3 & 1 else 1), -(-self.view.inputs // block)
        count = shape[0] * shape[1]
        scale = self.numbers("float32", count, "the scales").reshape(shape)
        zero_point = self.streams.read(count, 2 ** bits, bits).reshape(shape) if code >> 4 & 1 else None
        return Affine(none, bits, scale, zero_point, block)

    def structure(self) -> Structure:
        """Where values are held. Whether positions ascend is for ``graph.verify`` to say."""
        kind, cursor, view = self.entry.structure, self.cursor, self.view
        if kind == "sparse":
            return Sparse(np.packbits(self.streams.read(view.size, 2, 1, of_positions(view)), bitorder="little"))
        if kind == "blocks":
            code = cursor.byte("the shape of the blocks")
            if code >= len(BLOCKS):
                cursor.fail(CodeError, f"the shape of the blocks has code {code}, but codes go to {len(BLOCKS) - 1}")
            grid = Blocks(BLOCKS[code], absent(0, "uint8")).grid(view)
            return Blocks(BLOCKS[code], np.packbits(self.streams.read(grid[0] * grid[1], 2, 1, in_rows(grid[1])), bitorder="little"))
        return self.windows() if kind == "windowed" else Dense()

    def windows(self) -> Windowed:
        cursor, view = self.cursor, self.view
        code, n = cursor.byte("the windows"), cursor.byte("the values of a window") + 1
        if code & 3 >= len(WINDOWS) or code >> 3 or n > WINDOWS[code & 3]:
            cursor.fail(CodeError, f"windows begin with {code} and {n - 1}, which is no code")
        m = WINDOWS[code & 3]
        bare = Windowed(n, m, absent(0, "uint8"))
        if code >> 2 == POSITIONS:
            return Windowed(n, m, self.streams.read(bare.held(view), m, m.bit_length() - 1, of_held(bare, view)))
        mask = self.streams.read(view.size, 2, 1, in_rows(view.inputs)).view(bool).reshape(view.channels, view.inputs)
        if mask.size and (np.add.reduceat(mask, range(0, view.inputs, m), axis=1, dtype=np.int64) != bare.per_window(view.inputs)).any():
            cursor.fail(StreamLengthError, f"a mask keeps more or fewer than {n} of {m} inputs in a window")
        return Windowed(n, m, (np.nonzero(mask)[1] % m).astype(np.uint8))

    def numbers(self, dtype: str, count: int, what: str, places: Places = NOWHERE) -> np.ndarray:
        """``count`` numbers: as they lie in the file (only aligned values are views of it), or out of a stream for each of their bytes."""
        if self.entry.coder == "raw":
            data = read_array(self.cursor, dtype, count, what)
            return data if self.entry.is_aligned else data.copy()
        planes = [self.streams.read(count, 256, 8, places) for _ in range(np.dtype(dtype).itemsize)]
        stacked = np.ascontiguousarray(np.stack(planes, axis=1)).ravel().data
        return read_array(Cursor(stacked, 0, len(stacked), self.cursor.where), dtype, count, what)
