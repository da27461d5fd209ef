"""Repacks dense weights into panels of 16 output rows, still encoded (README.md: the layout byte by byte)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol

import numpy as np

from ...formats.record import cached_property, dataclass
from ...formats.tensor import Dense, EncodedTensor, Plain
from ..slabs import ALIGNMENT, aligned
from ..tables import table_of

PANEL = 16
Kind = Literal["fp32", "fp16", "codebook", "rows"]
"""Values of a panel; "rows" stands for another activation, not packed."""
Order = Literal["rows", "columns", "conv"]
"""How the tensor holds W: [out, in…] (K in its order); [in, out]; [out, channels per group, kernel…] (K becomes kernel…, channels)."""


class Panels(Protocol):
    """Weights in panels of 16 outputs, as products see them."""

    @property
    def kind(self) -> str: ...

    @property
    def name(self) -> str: ...

    @property
    def groups(self) -> int: ...

    @property
    def outputs(self) -> int:
        """Outputs of a group; as is ``columns``, K."""
        ...

    @property
    def columns(self) -> int: ...

    @property
    def taps(self) -> int:
        """Columns lie channel by channel, so many of each; 1: in the order of patches."""
        ...

    @property
    def panels(self) -> int:
        """Panels of all groups."""
        ...

    @property
    def per_word(self) -> int:
        """Columns that are read together."""
        ...

    def params(self) -> Sequence[int]:
        """PackedParam of decode.h."""
        ...

    def pack(self, tensor: EncodedTensor) -> np.ndarray:
        """uint8: the weight in this layout."""
        ...


@dataclass(frozen=True)
class PanelLayout:
    """Where everything lies in a packed weight. ``outputs`` and ``columns`` (K) are per group; sections not there are at 0."""

    kind: Kind
    name: str
    groups: int
    outputs: int
    columns: int
    order: Order
    bits: int = 0
    table_size: int = 0  # floats of a table
    tables: int = 0
    run: int = 0  # output channels that share a table
    own_tables: bool = False  # tables change inside a panel, so each row says where its own is
    has_scale: bool = False
    taps: int = 1

    @property
    def panels(self) -> int:
        """Panels of all groups."""
        return self.groups * -(-self.outputs // PANEL)

    @property
    def per_word(self) -> int:
        """Columns that share a word."""
        return 32 // self.bits if self.bits else 1

    @property
    def panel_bytes(self) -> int:
        if self.kind == "codebook":
            return -(-self.columns // self.per_word) * 4 * PANEL
        return self.columns * PANEL * (4 if self.kind == "fp32" else 2)

    def sections(self) -> tuple[int, int, int, int]:
        """Byte offsets of tables, lanes and scale, and the size of the whole."""
        at = _round_up(self.panels * self.panel_bytes)
        tables = at if self.kind == "codebook" else 0
        at += _round_up(self.tables * self.table_size * 4)
        lanes = at if self.own_tables else 0
        at += self.panels * PANEL * 4 if self.own_tables else 0
        scale = at if self.has_scale else 0
        return tables, lanes, scale, at + (self.panels * PANEL * 4 if self.has_scale else 0)

    def pack(self, tensor: EncodedTensor) -> np.ndarray:
        """The weight in this layout."""
        return pack(tensor, self)

    def params(self) -> Sequence[int]:
        """PackedParam of decode.h."""
        return self._params

    @cached_property
    def _params(self) -> tuple[int, ...]:
        tables, lanes, scale, _ = self.sections()
        per_table = 1 << 40 if self.tables <= 1 else max(self.run // PANEL, 1)
        return self.bits, self.panel_bytes, tables, per_table, lanes, scale


def plan(tensor: EncodedTensor, groups: int, order: Order) -> PanelLayout | None:
    """The layout for this tensor, or None if panels cannot hold it: not dense, not fp32 or fp16, values without a table, or scales that
    run along its inputs."""
    values = tensor.values
    if not isinstance(tensor.structure, Dense) or tensor.dtype not in ("float32", "float16") or tensor.size == 0:
        return None
    out_axis = 1 if order == "columns" else 0
    outputs = tensor.shape[out_axis] // groups
    columns = tensor.size // tensor.shape[out_axis]
    place = (" of columns" if order == "columns" else "") + (f" in {groups} groups" if groups > 1 else "")
    if isinstance(values, Plain):
        kinds: dict[str, Kind] = {"f": "fp32", "e": "fp16"}
        kind = kinds.get(values.data.dtype.char)
        return PanelLayout(kind, f"panel16 {kind}{place}", groups, outputs, columns, order) if kind else None
    book = table_of(tensor)
    if book is None or (tensor.axis != out_axis and (len(book.entries) > 1 or book.scale is not None)):
        return None
    tables = len(book.entries)
    run = -(-tensor.channels // tables)
    own = tables > 1 and (run % PANEL != 0 or (groups > 1 and outputs % PANEL != 0))
    return PanelLayout("codebook", f"panel16 {values.name}{place}", groups, outputs, columns, order, book.bits, max(PANEL, 1 << book.bits),
                       tables, run, own, book.scale is not None)


def pack(tensor: EncodedTensor, layout: PanelLayout) -> np.ndarray:
    """uint8: panels, tables, lanes, scale. Rows that fill up the last panel of a group are zero bits; their sums are never stored."""
    tables, lanes, scale, nbytes = layout.sections()
    packed = aligned(nbytes)
    written = layout.outputs // PANEL if isinstance(tensor.values, Plain) and layout.groups == 1 else 0  # panels of which every byte is
    packed[written * layout.panel_bytes:] = 0
    body = packed[:layout.panels * layout.panel_bytes].reshape(layout.panels, layout.panel_bytes)
    values = tensor.values
    if isinstance(values, Plain):
        data = values.data.view(np.uint32 if layout.kind == "fp32" else np.uint16)
        _fill(body.view(data.dtype).reshape(layout.panels, layout.columns, PANEL), data.reshape(tensor.shape), layout)
        return packed
    book = table_of(tensor)
    assert book is not None
    _fill_words(body.view(np.uint32).reshape(layout.panels, -1, PANEL), book.indices.reshape(tensor.shape), layout)
    _put(packed, tables, _repeated(book.entries.astype(np.float32), layout))
    if layout.own_tables:
        _put(packed, lanes, _by_panel(np.arange(tensor.channels) // layout.run * layout.table_size, layout).astype(np.int32))
    if book.scale is not None:
        _put(packed, scale, _by_panel(book.scale, layout).astype(np.float32))
    return packed


def by_panel(vector: np.ndarray, layout: Panels) -> np.ndarray:
    """float32[panels * 16]: a value per output, zero where a panel's rows are only filled up."""
    return _by_panel(vector, layout).astype(np.float32)


def _round_up(n: int) -> int:
    return -(-n // ALIGNMENT) * ALIGNMENT


def _put(packed: np.ndarray, at: int, array: np.ndarray) -> None:
    packed[at:at + array.nbytes] = array.reshape(-1).view(np.uint8)


def _repeated(entries: np.ndarray, layout: PanelLayout) -> np.ndarray:
    """[tables, table_size]: each table filled up to 2**bits, then repeated to 16, so that an index needs no mask there."""
    full = np.zeros((entries.shape[0], 1 << layout.bits), np.float32)
    full[:, :entries.shape[1]] = entries
    return np.tile(full, (1, layout.table_size >> layout.bits))


def _by_panel(vector: np.ndarray, layout: Panels) -> np.ndarray:
    grouped = np.zeros((layout.groups, layout.panels // layout.groups * PANEL), vector.dtype)
    grouped[:, :layout.outputs] = vector.reshape(layout.groups, layout.outputs)
    return grouped.reshape(-1)


def _rows(symbols: np.ndarray, group: int, first: int, last: int, layout: PanelLayout) -> np.ndarray:
    """[columns, last - first]: the weights of these outputs of a group, K in the kernels' order."""
    first, last = group * layout.outputs + first, group * layout.outputs + last
    if layout.order == "columns":
        return symbols[:, first:last]
    if layout.order == "rows":
        return symbols[first:last].reshape(last - first, -1).T
    channels_last = (0, *range(2, symbols.ndim), 1)
    return symbols[first:last].transpose(channels_last).reshape(last - first, -1).T


def _each_panel(layout: PanelLayout) -> list[tuple[int, int, int, int]]:
    """(panel, group, first output, last output) of every panel."""
    per_group = layout.panels // layout.groups
    return [(g * per_group + i, g, i * PANEL, min((i + 1) * PANEL, layout.outputs))
            for g in range(layout.groups) for i in range(per_group)]


def _fill(body: np.ndarray, data: np.ndarray, layout: PanelLayout) -> None:
    whole = layout.outputs // PANEL if layout.groups == 1 else 0  # panels that are filled at once
    if whole:
        body[:whole] = _rows(data, 0, 0, whole * PANEL, layout).reshape(layout.columns, -1, PANEL).transpose(1, 0, 2)
    for panel, group, first, last in _each_panel(layout)[whole:] if whole < layout.panels else ():
        body[panel, :, :last - first] = _rows(data, group, first, last, layout)


def _fill_words(body: np.ndarray, symbols: np.ndarray, layout: PanelLayout) -> None:
    """Word w of a row holds its columns w * per_word …, lowest bits first."""
    for panel, group, first, last in _each_panel(layout):
        rows = _rows(symbols, group, first, last, layout)
        for j in range(layout.per_word):
            part = rows[j::layout.per_word].astype(np.uint32)
            body[panel, :len(part), :last - first] |= part << np.uint32(layout.bits * j)
