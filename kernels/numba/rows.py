"""Weights as the Numba kernels read them: the rows of a matrix [outputs, K], still encoded, each row's values in whole eights."""

from __future__ import annotations

from functools import cache
from typing import Literal

import numpy as np

from ...formats.bits import pack as pack_bits
from ...formats.record import dataclass
from ...formats.tensor import Affine, Dense, EncodedTensor, Plain, Symbols
from ..slabs import ALIGNMENT, aligned
from ..tables import table_of

Order = Literal["rows", "columns"]
"""How the tensor holds the matrix: [outputs, K] (a convolution's kernel flattened), or [K, outputs]."""

EIGHT = 8
HEADER = 2 * ALIGNMENT
NARROW = 1 << 16
"""Columns are numbered in 16 bits up to this many."""
FP32, FP16 = 0, 16
"""``Rows.bits`` of values that have no table; the others have 1 to 8."""

Arrays = tuple[np.ndarray, ...]
"""What kernels take: starts, counts, columns, plain, codes, table, table of each row, scale, grid scales, grid zero points (README.md)."""


@dataclass(frozen=True)
class Rows:
    """The layout of one weight. ``bits``: of a symbol, FP32 or FP16. ``run``: rows that share a table. ``block``: inputs that share a scale
    and zero point of ``grid`` (rows, blocks); 0 where there are none."""

    name: str
    order: Order
    outputs: int
    columns: int
    bits: int
    is_dense: bool
    tables: int
    run: int
    block: int = 0
    grid: tuple[int, int] = (0, 0)
    has_zeros: bool = False

    def pack(self, tensor: EncodedTensor) -> np.ndarray:
        """uint8: a header with the size of each section, then the sections, each at a multiple of 64 bytes."""
        sections = self._sections(tensor)
        ends = np.cumsum([_round_up(part.nbytes) for part in sections])
        packed = aligned(HEADER + int(ends[-1]))
        packed[:] = 0
        packed[:HEADER].view(np.int64)[:len(sections)] = [part.nbytes for part in sections]
        for part, end in zip(sections, ends):
            at = HEADER + int(end) - _round_up(part.nbytes)
            packed[at:at + part.nbytes] = part.reshape(-1).view(np.uint8)
        return packed

    def views(self, packed: np.ndarray) -> Arrays:
        """The sections of a packed weight as arrays of their own types."""
        found, at = [], HEADER
        kinds = (np.int64, np.int64, self._column_dtype, np.float32, np.uint16 if self.bits == FP16 else np.uint8, np.float32, np.int64, np.float32,
                 np.float32, np.uint8)
        for nbytes, kind in zip(packed[:HEADER].view(np.int64), kinds):
            found.append(packed[at:at + int(nbytes)].view(kind))
            at += _round_up(int(nbytes))
        table = halves() if self.bits == FP16 else found[5].reshape(self.tables, -1)
        return (*found[:5], table, *found[6:8], found[8].reshape(self.grid), found[9].reshape(self.grid if self.has_zeros else (0, 0)))

    @property
    def _column_dtype(self) -> type[np.uint16] | type[np.uint32]:
        return np.uint16 if self.columns <= NARROW else np.uint32

    def _sections(self, tensor: EncodedTensor) -> list[np.ndarray]:
        kept = None if self.is_dense else self._matrix(tensor.kept())
        counts = np.full(self.outputs, self.columns) if kept is None else kept.sum(1)
        padded = -(-counts // EIGHT) * EIGHT
        starts = np.cumsum(padded) - padded
        place = np.repeat(starts - (np.cumsum(counts) - counts), counts) + np.arange(counts.sum())  # of each held value, row after row
        columns = np.zeros(0 if kept is None else int(padded.sum()), self._column_dtype)
        if kept is not None:
            columns[place] = np.nonzero(kept)[1]
        plain, table, scale = np.zeros(0, np.float32), np.zeros((self.tables, 1), np.float32), None
        codes: np.ndarray = np.zeros(0, np.uint8)
        scales, zeros = np.zeros(self.grid, np.float32), np.zeros(0, np.uint8)
        if isinstance(tensor.values, Plain):
            data = self._in_rows(tensor.values.data, tensor, kept)
            spread = np.zeros(int(padded.sum()), data.dtype)
            spread[place] = data
            plain, codes = (spread, codes) if self.bits == FP32 else (plain, spread.view(np.uint16))
        else:
            symbols = np.zeros(int(padded.sum()), np.uint8)
            symbols[place] = self._in_rows(tensor.values.symbols, tensor, kept)
            codes = pack_bits(symbols, self.bits)
            table = np.zeros((self.tables, 1 << self.bits), np.float32)
            book = table_of(tensor)
            if book is not None:
                table[:, :book.entries.shape[1]], scale = book.entries, book.scale
            elif isinstance(tensor.values, Affine):
                zero_point = tensor.values.zero_point
                table[:] = np.arange(1 << self.bits) - (1 << self.bits - 1 if zero_point is None else 0)
                scales, zeros = tensor.values.scale, zeros if zero_point is None else zero_point
        return [starts.astype(np.int64), counts.astype(np.int64), columns, plain, codes, table, np.arange(self.outputs) // self.run,
                np.ones(self.outputs, np.float32) if scale is None else scale, scales, zeros]

    def _matrix(self, flat: np.ndarray) -> np.ndarray:
        """[outputs, K] of what is given for every element of the tensor in row-major order."""
        return flat.reshape(self.outputs, self.columns) if self.order == "rows" else flat.reshape(self.columns, self.outputs).T

    def _in_rows(self, held: np.ndarray, tensor: EncodedTensor, kept: np.ndarray | None) -> np.ndarray:
        """What is held, row after row of the matrix."""
        if self.order == "rows":
            return held
        if kept is None:
            return self._matrix(held).reshape(-1)
        return held[self._matrix(np.cumsum(tensor.kept()) - 1)[kept]]


def plan(tensor: EncodedTensor, order: Order) -> Rows | None:
    """The layout for this weight, or None where rows cannot hold it: other than float32, or with tables and scales that run along its inputs."""
    if tensor.dtype != "float32" or tensor.size == 0:
        return None
    out_axis = 0 if order == "rows" else len(tensor.shape) - 1
    outputs = tensor.shape[out_axis]
    name = f"rows {tensor.structure.label} {tensor.values.name}{' of columns' if order == 'columns' else ''}"
    is_dense = isinstance(tensor.structure, Dense)
    columns = tensor.size // outputs
    if isinstance(tensor.values, Plain):
        bits = {"float32": FP32, "float16": FP16}.get(tensor.values.data.dtype.name)
        return None if bits is None else Rows(name, order, outputs, columns, bits, is_dense, 1, outputs)
    values, book = tensor.values, table_of(tensor)
    assert isinstance(values, Symbols)
    if book is not None and (tensor.axis == out_axis or (len(book.entries) == 1 and book.scale is None)):
        return Rows(name, order, outputs, columns, values.bits, is_dense, len(book.entries), -(-outputs // len(book.entries)))
    if book is None and isinstance(values, Affine) and tensor.axis == out_axis:
        return Rows(name, order, outputs, columns, values.bits, is_dense, 1, outputs, values.block, (values.scale.shape[0], values.scale.shape[1]),
                    values.zero_point is not None)
    return None


@cache
def halves() -> np.ndarray:
    """float32[1, 65536]: what each pattern of 16 bits is as a half."""
    return np.arange(1 << 16, dtype=np.uint16).view(np.float16).astype(np.float32)[None]


def _round_up(n: int) -> int:
    return -(-n // ALIGNMENT) * ALIGNMENT
