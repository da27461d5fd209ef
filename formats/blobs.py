"""One weight's blob: bytes → EncodedTensor (SPEC.md, "Blobs"); ``blob_writer`` is the way there."""

from __future__ import annotations

import numpy as np

from . import codes
from .bare import check_end, cursor_of, decode_bare, lying
from .codes import WeightEntry, read_array
from .cursor import Cursor
from .decoders import Decoder
from .errors import CodebookError, CodeError, StreamLengthError
from .places import NOWHERE, Places, in_rows, of_held, of_positions
from .stream_reader import StreamInfo, StreamReader
from .tensor import (
    BLOCKS,
    ENTRY_DTYPES,
    WINDOWS,
    Affine,
    Binary,
    Blocks,
    Codebook,
    Dense,
    EncodedTensor,
    Plain,
    Sparse,
    Structure,
    Ternary,
    Values,
    View,
    Windowed,
    absent,
)

POSITIONS, MASK = range(2)
"""How windows lie in a blob: the places in each of them, or a bit for each input."""


def held_places(structure: Structure, view: View, coder: str) -> Places:
    """Of the held values; nobody but the arithmetic coder asks."""
    return of_held(structure, view) if coder == "arithmetic" else NOWHERE


Tables = tuple[Values, int]
"""Values without symbols, and where in the file what follows their tables begins."""


def decode_blob(entry: WeightEntry, buffer: memoryview, decoder: Decoder, report: list[StreamInfo] | None = None,
                tables: Tables | None = None) -> EncodedTensor:
    """The weight whose blob lies in ``buffer`` (the whole file) where ``entry`` says. Large raw values are views of the buffer. ``tables``: what
    ``outline_blob`` found; they are not decoded again."""
    if entry.is_bare:
        return decode_bare(entry, buffer)
    reader = _BlobReader(entry, StreamReader(cursor_of(entry, buffer), decoder, entry.coder, report))
    if tables is None:
        values = reader.tables()
    else:
        values, reader.cursor.position = tables
    structure = reader.structure()
    held, places = structure.held(entry.view), held_places(structure, entry.view, entry.coder)
    if isinstance(values, Plain):
        values = Plain(reader.numbers(entry.stored, held, "the values", places))
    else:
        values = values.with_symbols(reader.streams.read(held, values.alphabet, values.bits, places))
    check_end(reader.cursor)
    return EncodedTensor(entry.shape, entry.dtype, values, structure, entry.axis, entry.coder)


def outline_blob(entry: WeightEntry, buffer: memoryview, decoder: Decoder) -> tuple[EncodedTensor, Tables]:
    """The dense weight of ``entry`` as ``EncodedTensor.outline`` gives it, without decoding its values; and its tables."""
    reader = _BlobReader(entry, StreamReader(cursor_of(entry, buffer), decoder, entry.coder, None))
    values = reader.tables()
    outline: Values = Plain(absent(entry.size, entry.stored)) if isinstance(values, Plain) else values.with_symbols(absent(entry.size, "uint8"))
    return EncodedTensor(entry.shape, entry.dtype, outline, Dense(), entry.axis, entry.coder), (values, reader.cursor.position)


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
            return lying(self.entry, self.cursor, dtype, count, what)
        stacked = self.streams.planes(count, np.dtype(dtype).itemsize, places).data
        return read_array(Cursor(stacked, 0, len(stacked), self.cursor.where), dtype, count, what)
