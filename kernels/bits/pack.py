"""Weights of integers, 1 to 8 bits each, in the order in which ``bits_gemv`` reads them (README.md: the layout byte by byte)."""

from __future__ import annotations

import numpy as np

from ...formats.record import dataclass
from ...formats.tensor import Affine, Binary, Codebook, Dense, EncodedTensor, Plain
from ..quantized import weight_scale
from ..slabs import aligned

GROUP, PANEL_GROUPS = 16, 4
IN_MEMORY = {1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 6, 7: 8, 8: 8}
"""Bits that a weight takes, by those of its encoding."""
MOST_GRID_BITS, MOST_GRID_COLUMNS = 4, 1 << 16
"""Up to which indices are multiplied as they are: 240 · 128 · columns stay below 2³¹."""


@dataclass(frozen=True)
class Layout:
    """Where everything lies. ``bits``: of a weight in memory; ``by_rows``: the tensor is [outputs, columns], else [columns, outputs];
    ``has_sums``: the sum of each row's weights is there, which codes with a zero point need. ``grid``: from one entry of the table to the next,
    where that is always as much; 0 where it is not, or indices need to be looked up for another reason."""

    name: str
    bits: int
    outputs: int
    columns: int
    by_rows: bool
    has_sums: bool
    grid: int = 0

    @property
    def groups(self) -> int:
        return -(-self.outputs // GROUP)

    @property
    def panels(self) -> int:
        return -(-self.groups // PANEL_GROUPS)

    @property
    def step_bytes(self) -> int:
        """Of one group."""
        return 192 if self.bits in (3, 6) else 64

    @property
    def step(self) -> int:
        """Columns of a step."""
        return 4 * (self.step_bytes // 64 * 8 // self.bits)

    @property
    def steps(self) -> int:
        return -(-self.columns // self.step)

    def sections(self) -> tuple[int, int, int, int, int]:
        """Byte offsets of table, zeros, sums (0: none) and scale, and the size of the whole."""
        rows = 4 * GROUP * self.groups
        table = self.groups * self.steps * self.step_bytes
        zeros = table + (256 if self.bits < 8 else 0)
        sums = zeros + rows
        scale = sums + (rows if self.has_sums else 0)
        return table, zeros, sums if self.has_sums else 0, scale, scale + rows


    def params(self) -> list[int]:
        """Of ``bits_gemv``: those that say where everything lies."""
        return [*self.sections()[:4], self.grid]


def plan(tensor: EncodedTensor, by_rows: bool, has_sums: bool) -> Layout | None:
    """The layout for this weight; None if it is not dense, or not of integers that one table serves."""
    values = tensor.values
    if not isinstance(tensor.structure, Dense) or len(tensor.shape) != 2 or tensor.size == 0 or tensor.dtype != "float32":
        return None
    scale = weight_scale(tensor)
    if scale is None or isinstance(values, Plain):
        return None
    out_axis = 0 if by_rows else 1
    bits = IN_MEMORY[values.bits]
    several = isinstance(values, Codebook) and len(values.entries) > 1
    if (several and bits < 8) or (tensor.axis != out_axis and (several or scale.size > 1)):
        return None
    name = f"integer rows16 {values.name}{'' if by_rows else ' of columns'}{' with sums' if has_sums else ''}"
    columns = tensor.shape[1 - out_axis]
    grid = _grid(tensor) if bits <= MOST_GRID_BITS and columns <= MOST_GRID_COLUMNS else 0
    return Layout(name, bits, tensor.shape[out_axis], columns, by_rows, has_sums, grid)


def _grid(tensor: EncodedTensor) -> int:
    steps = np.unique(np.diff(_table(tensor, tensor.channels)[0][0].astype(np.int32)))
    return int(steps[0]) if steps.size == 1 else 0


def largest(tensor: EncodedTensor) -> int:
    """Bound of any |weight| in integers, from tables alone."""
    values = tensor.values
    if isinstance(values, Codebook):
        return int(np.max(np.abs(values.entries.astype(np.int32))))
    return 2 ** values.bits - 1 if isinstance(values, Affine) else 1


def pack(tensor: EncodedTensor, layout: Layout) -> np.ndarray:
    """uint8: groups, table, zeros, sums, scale. Rows and columns that fill up have index 0; columns meet codes of 0 there."""
    values, scale = tensor.values, weight_scale(tensor)
    assert not isinstance(values, Plain)
    assert scale is not None
    symbols = values.symbols.reshape(tensor.shape)
    symbols = symbols if layout.by_rows else symbols.T
    table, zero = _table(tensor, layout.outputs)
    if layout.bits == 8:
        run = -(-layout.outputs // len(table))
        symbols = table[np.arange(layout.outputs)[:, None] // run, symbols]
    table_at, zeros_at, sums_at, scale_at, nbytes = layout.sections()
    packed = aligned(nbytes)
    packed[:] = 0
    _fill(packed[:table_at], symbols, layout)
    if layout.bits < 8:
        packed[table_at:table_at + 256] = table[0][-1]
        packed[table_at:table_at + table.shape[1]] = table[0]
    _put(packed, zeros_at, zero)
    if layout.has_sums:
        found = symbols if layout.bits == 8 else table[0][symbols]
        _put(packed, sums_at, found.sum(axis=1, dtype=np.int32) - zero * np.int32(layout.columns))
    _put(packed, scale_at, np.broadcast_to(scale, layout.outputs).astype(np.float32))
    return packed


def _table(tensor: EncodedTensor, outputs: int) -> tuple[np.ndarray, np.ndarray]:
    """(uint8[groups, symbols], int32[outputs]): a weight is what the table says of its symbol, less the zero of its row."""
    values = tensor.values
    if isinstance(values, Affine):
        zero = np.int32(2 ** (values.bits - 1)) if values.zero_point is None else values.zero_point[:, 0].astype(np.int32)
        return np.arange(2 ** values.bits, dtype=np.uint8)[None], np.broadcast_to(zero, outputs)
    if isinstance(values, Codebook):
        entries = values.entries.astype(np.int16)
    else:
        entries = np.array([[-1, 1] if isinstance(values, Binary) else [-1, 0, 1]], np.int16)
    return (entries + 128).astype(np.uint8), np.full(outputs, 128, np.int32)


def _fill(packed: np.ndarray, symbols: np.ndarray, layout: Layout) -> None:
    """Packs uint8[outputs, columns] group by group, each [steps][bytes of a step]."""
    fields = layout.step // 4
    whole = np.zeros((layout.groups * GROUP, layout.steps * layout.step), np.uint8)
    whole[:layout.outputs, :layout.columns] = symbols
    found = whole.reshape(layout.groups, GROUP, layout.steps, fields, 4).transpose(3, 0, 2, 1, 4)
    body = np.zeros((layout.groups, layout.steps, layout.step_bytes // 64, GROUP, 4), np.uint8)
    if layout.step_bytes == 64:
        for f in range(fields):
            body[:, :, 0] |= found[f] << (layout.bits * f)
    else:
        seen = 6 // layout.bits
        for f in range(fields - seen):
            body[:, :, f // seen] |= found[f] << (layout.bits * (f % seen))
        rest = sum(found[fields - seen + f].astype(np.uint8) << (layout.bits * f) for f in range(seen))
        words = body.view(np.uint16)
        rest ^= (words[:, :, 0] >> 2 ^ words[:, :, 1] >> 4 ^ words[:, :, 2] >> 6).view(np.uint8)
        for plane in range(3):
            body[:, :, plane] |= (rest >> (4 - 2 * plane) & 3) << 6
    packed[:] = body.reshape(-1)


def _put(packed: np.ndarray, at: int, array: np.ndarray) -> None:
    data = np.ascontiguousarray(array)
    packed[at:at + data.nbytes] = data.view(np.uint8)
