"""Packs weights of any structure and values for the kernels ``*_tiles``: still encoded, in panels of 16 rows (README.md has it byte by byte)."""

from __future__ import annotations

from math import prod

import numpy as np

from ...formats.bits import pack as pack_bits
from ...formats.record import dataclass
from ...formats.tensor import (
    Affine,
    Binary,
    Blocks,
    Codebook,
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
)
from ..slabs import ALIGNMENT, aligned
from .pack import PANEL, Order

UNIT = 64
"""Columns that are decoded together."""
FIELDS = 32
"""int64 at the beginning of a packed weight: TileField of tiles.h, filled up."""
SLACK = 256
"""Bytes after a section: kernels read vectors of 64 bytes, for up to three columns past the last."""

DENSE, MASKED, WINDOWED = range(3)
FLOATS, HALVES, SYMBOLS, CODES = range(4)


@dataclass(frozen=True, eq=False)
class TileLayout:
    """A matrix as ``PanelLayout``; where everything lies in it is in the packed weight. ``taps``: elements of a channel that lie together;
    ``is_grid``: affine, and dense or in windows of which runs of a scale hold whole ones, which ``gemv_affine``
    reads; ``kept``: the fraction of positions that hold a value."""

    name: str
    groups: int
    outputs: int
    columns: int
    order: Order
    taps: int
    is_grid: bool
    kept: float
    kind = "tiles"

    @property
    def panels(self) -> int:
        """Panels of all groups."""
        return self.groups * -(-self.outputs // PANEL)

    @property
    def per_word(self) -> int:
        """Columns that should be decoded together: whole units, or whole channels."""
        return UNIT if self.taps == 1 else self.taps

    def params(self) -> list[int]:
        """PackedParam of decode.h: all that it says is in the packed weight."""
        return [0] * 6

    def pack(self, tensor: EncodedTensor) -> np.ndarray:
        """uint8: the fields, then their sections."""
        return _Packer(_along_outputs(tensor, self.order), self).packed()


def plan_tiles(tensor: EncodedTensor, groups: int, order: Order) -> TileLayout | None:
    """The layout for this tensor, or None: not float32 or float16, empty, plain and dense, or with scales or tables along an axis that is
    not its outputs."""
    values = tensor.values
    if tensor.dtype not in ("float32", "float16") or tensor.size == 0:
        return None
    if isinstance(values, Plain) and (isinstance(tensor.structure, Dense) or values.data.dtype.name not in ("float32", "float16")):
        return None
    out_axis = 1 if order == "columns" else 0
    if tensor.axis != out_axis and not _is_uniform(values):
        return None
    outputs = tensor.shape[out_axis]
    place = (" of columns" if order == "columns" else "") + (f" in {groups} groups" if groups > 1 else "")
    block = f"/{values.block}" if isinstance(values, Affine) and values.scale.shape[1] > 1 else ""
    structure = tensor.structure if tensor.axis == out_axis or isinstance(tensor.structure, Dense) else Sparse(np.empty(0, np.uint8))
    return TileLayout(f"tile16 {structure.label} {values.name}{block}{place}", groups, outputs // groups, tensor.size // outputs, order,
                      prod(tensor.shape[2:]) if order == "conv" else 1, _is_grid(values, structure), tensor.held / tensor.size)


def _is_grid(values: Values, structure: Structure) -> bool:
    if not isinstance(values, Affine):
        return False
    in_runs = isinstance(structure, Windowed) and (values.scale.shape[1] == 1 or values.block % structure.m == 0)
    return isinstance(structure, Dense) or in_runs


def _is_uniform(values: Values) -> bool:
    """Whether values mean the same in every channel and input."""
    if isinstance(values, Affine):
        return values.scale.size == 1
    return isinstance(values, Plain) or (isinstance(values, Codebook) and values.scale is None and len(values.entries) == 1)


def _along_outputs(tensor: EncodedTensor, order: Order) -> EncodedTensor:
    """The same weight with its channels along the outputs. Windows and blocks along another axis become a mask."""
    out_axis = 1 if order == "columns" else 0
    if tensor.axis == out_axis:
        return tensor
    structure = tensor.structure if isinstance(tensor.structure, Dense) else Sparse.of(tensor.kept())
    return EncodedTensor(tensor.shape, tensor.dtype, _one_block(tensor.values, View(tensor.shape, out_axis)), structure, out_axis)


def _one_block(values: Values, view: View) -> Values:
    if isinstance(values, Affine):
        return Affine(values.codes, values.bits, values.scale, values.zero_point, view.inputs)
    return values


class _Packer:
    """Gathers the sections of one weight. ``rows``: the channel of every lane of every panel, -1 where a panel is only filled up."""

    def __init__(self, tensor: EncodedTensor, layout: TileLayout) -> None:
        self.tensor, self.layout, self.view = tensor, layout, tensor.view
        per_group = -(-layout.outputs // PANEL) * PANEL
        lanes = np.full((layout.groups, per_group), -1)
        lanes[:, :layout.outputs] = np.arange(layout.groups * layout.outputs).reshape(layout.groups, -1)
        self.rows = lanes.reshape(-1)
        self.fields: dict[str, int] = dict.fromkeys(_FIELDS, 0)
        self.sections: list[tuple[str, np.ndarray]] = []

    def packed(self) -> np.ndarray:
        self.fields.update(columns=self.layout.columns, taps=self.layout.taps, run=self.layout.columns)
        self.tables()
        self.structure()
        at, places = FIELDS * 8, []
        for name, array in self.sections:
            self.fields[name] = at
            places.append(at)
            at = -(-(at + array.nbytes + SLACK) // ALIGNMENT) * ALIGNMENT
        out = aligned(at)
        out[:] = 0
        out[:FIELDS * 8].view(np.int64)[:len(_FIELDS)] = [self.fields[name] for name in _FIELDS]
        for start, (_, array) in zip(places, self.sections):
            out[start:start + array.nbytes] = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
        return out

    def by_lane(self, channels: np.ndarray) -> np.ndarray:
        """[panels * 16, …]: what belongs to the channels, zero where a panel is only filled up."""
        out: np.ndarray = channels[np.maximum(self.rows, 0)]
        out[self.rows < 0] = 0
        return out

    def in_panels(self, channels: np.ndarray) -> np.ndarray:
        """[panels, columns, 16] of [channels, columns]."""
        return self.by_lane(channels).reshape(self.layout.panels, PANEL, -1).transpose(0, 2, 1)

    # ------------------------------------------------------------ what symbols stand for

    def tables(self) -> None:
        values, f = self.tensor.values, self.fields
        if isinstance(values, Plain):
            f["values"] = HALVES if values.data.dtype == np.float16 else FLOATS
            return
        f.update(values=CODES if isinstance(values, Affine) else SYMBOLS, bits=values.bits)
        if isinstance(values, Affine):
            f.update(run=values.block, zero=2 ** (values.bits - 1))
            self.sections.append(("scale_at", self.by_run(values.scale)))
            if values.zero_point is not None:
                self.sections.append(("zeros_at", self.by_run(values.zero_point)))
            return
        entries = np.zeros((len(_entries(values)), max(PANEL, 1 << values.bits)), np.float32)
        entries[:, :_entries(values).shape[1]] = _entries(values)
        self.sections.append(("tables_at", entries))
        if len(entries) > 1:
            assert isinstance(values, Codebook)
            first = values.group_of_channel(self.view.channels) * entries.shape[1]
            self.sections.append(("lanes_at", self.by_lane(first).astype(np.int32)))
        if values.scale is not None:
            self.sections.append(("scale_at", self.by_run(values.scale[:, None])))

    def by_run(self, table: np.ndarray) -> np.ndarray:
        """[panels, runs, 16], or [runs] where all channels share a row."""
        if len(table) == 1:
            return table[0]
        self.fields["scale_panel"] = table.shape[1] * PANEL
        return self.in_panels(table)

    # ------------------------------------------------------------ what is held, and where

    def structure(self) -> None:
        structure = self.tensor.structure
        if isinstance(structure, Dense):
            assert isinstance(self.tensor.values, Symbols)
            self.held_words(self.view.rows(self.tensor.values.symbols))
        elif isinstance(structure, Windowed):
            self.windows(structure)
        else:
            self.masked(*self.masks(structure))

    def held_words(self, rows: np.ndarray) -> None:
        """What each channel holds, as many of each: symbols in words, floats one by one."""
        bits = self.fields["bits"]
        body = words(self.in_panels(rows), bits) if bits else self.in_panels(rows)
        self.fields["held_bytes"] = prod(body.shape[1:]) * body.itemsize
        self.sections.append(("held_at", body))

    def rows_of_held(self) -> np.ndarray:
        """[channels, columns]: symbols, floats or halves, zero where nothing is held."""
        values = self.tensor.values
        held = values.symbols if isinstance(values, Symbols) else _without_mark(values.data)
        if isinstance(self.tensor.structure, Dense):
            return self.view.rows(held)
        full = np.zeros(self.view.size, held.dtype)
        full[self.tensor.kept()] = held
        return self.view.rows(full)

    def windows(self, structure: Windowed) -> None:
        self.fields.update(structure=WINDOWED, n=structure.n, m=structure.m)
        channels = self.view.channels
        places = words(self.in_panels(structure.positions.reshape(channels, -1)), structure.m.bit_length() - 1)
        self.fields["places_bytes"] = prod(places.shape[1:]) * places.itemsize
        self.sections.append(("places_at", places))
        self.held_words(self.rows_of_held()[self.view.rows(self.tensor.kept())].reshape(channels, -1))

    def masks(self, structure: Structure) -> tuple[np.ndarray, tuple[int, int]]:
        """(bool[panels, columns, 16], the rows and columns that share a bit). Blocks that panels would cut are told row by row."""
        if isinstance(structure, Blocks) and (structure.shape[0] == 1 or self.layout.groups == 1 or self.layout.outputs % 4 == 0):
            r, c = structure.shape
            rows = structure.kept_blocks(self.view).repeat(r, axis=0).repeat(c, axis=1)[:, :self.layout.columns]
            last = self.rows.reshape(-1, r).max(axis=1).repeat(r)  # the rows that fill up a block are held with it
            kept = rows[np.maximum(last, 0)] & (last >= 0)[:, None]
            return kept.reshape(self.layout.panels, PANEL, -1).transpose(0, 2, 1), (r, c)
        return self.in_panels(self.view.rows(self.tensor.kept())), (1, 1)

    def masked(self, kept: np.ndarray, shape: tuple[int, int]) -> None:
        layout, units = self.layout, -(-self.layout.columns // UNIT)
        padded = np.zeros((layout.panels, units * UNIT, PANEL), bool)
        padded[:, :layout.columns] = kept
        mask = np.packbits(padded[:, ::shape[1], ::shape[0]].reshape(layout.panels, -1), axis=1, bitorder="little")
        self.fields.update(structure=MASKED, mask_bytes=mask.shape[1], block_rows=shape[0], block_columns=shape[1])
        self.sections.append(("mask_at", mask))
        values, bits = self.in_panels(self.rows_of_held()), self.fields["bits"]
        counts = padded.reshape(layout.panels, units, -1).sum(axis=2)
        sizes = -(-counts // 8) if bits else counts
        held = [in_eights(values[i][kept[i]], counts[i], bits) if bits else values[i][kept[i]] for i in range(layout.panels)]
        self.sections += [("starts_at", np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)), ("held_at", np.concatenate(held))]


_FIELDS = ("structure", "values", "bits", "columns", "taps", "held_at", "held_bytes", "starts_at", "mask_at", "mask_bytes", "block_rows",
           "block_columns", "places_at", "places_bytes", "n", "m", "tables_at", "lanes_at", "scale_at", "scale_panel", "run", "zeros_at", "zero")
"""TileField of tiles.h, in its order."""


def words(symbols: np.ndarray, bits: int) -> np.ndarray:
    """uint32[panels, words, 16] of [panels, columns, 16]: 32 // bits symbols of a lane in each word, lowest bits first."""
    per = 32 // bits
    panels, columns, lanes = symbols.shape
    out = np.zeros((panels, -(-columns // per), lanes), np.uint32)
    for j in range(per):
        part = symbols[:, j::per]
        out[:, :part.shape[1]] |= part.astype(np.uint32) << np.uint32(bits * j)
    return out


def in_eights(symbols: np.ndarray, counts: np.ndarray, bits: int) -> np.ndarray:
    """uint8: the symbols, of which ``counts`` follow each other, packed; each run is filled up to a multiple of eight symbols."""
    padding = -counts % 8
    out = np.zeros(symbols.size + int(padding.sum()), np.uint8)
    out[np.arange(symbols.size) + np.repeat(np.cumsum(padding) - padding, counts.astype(np.intp))] = symbols
    return pack_bits(out, bits)


def _entries(values: Values) -> np.ndarray:
    if isinstance(values, Ternary):
        return np.array([[-1, 0, 1]], np.float32)
    if isinstance(values, Binary):
        return np.array([[-1, 1]], np.float32)
    assert isinstance(values, Codebook)
    return values.entries.astype(np.float32)


def _without_mark(data: np.ndarray) -> np.ndarray:
    """The data with one NaN for all: kernels mark what is absent with another one (MARK of tiles.h)."""
    nan = np.isnan(data)
    return np.where(nan, np.array(np.nan, data.dtype), data) if nan.any() else data
