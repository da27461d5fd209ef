"""Repacks windowed and sparse weights, and blocks, into the layout window16 (README.md has it byte by byte), values still encoded."""

from __future__ import annotations

import numpy as np

from ...formats.record import dataclass, replace
from ...formats.tensor import Blocks, EncodedTensor, Plain, Sparse, Windowed
from ..isa import ARM_LEVELS
from ..tables import table_of
from .pack import Kind, Order, held_positions, sections_of, symbols_of, tables_of

PANEL = 16
"""Rows of a panel."""
TOGETHER = 4
"""Panels whose slots lie side by side: a window of x is loaded once for all of them."""
RUN = 16
"""Sparse weights look at two runs of so many inputs in each slot …"""
AHEAD = 8
"""… of which the second is one of the next so many after the first."""
MOST_COLUMNS = 1 << 16
"""Windows begin at what 16 bits can name."""


@dataclass(frozen=True)
class Encoding:
    """How a weight is packed. ``window``: inputs that a place names one of. ``symbol``: bits of a codebook's index beside it, 0 where
    values lie apart. ``tables``: whether indices are looked up in memory, each row's table for itself. ``by_bytes``: as NEON looks places
    and at most 16 entries up, a byte and half a byte each."""

    kind: Kind
    window: int
    symbol: int
    tables: bool
    elastic: bool
    by_bytes: bool = False

    @property
    def per_word(self) -> int:
        """Slots that a word of 32 bits holds."""
        if self.by_bytes:
            return 1
        return 2 if self.tables else 32 // (self.window.bit_length() - 1 + self.symbol)

    def row_bytes(self, columns: int) -> int:
        """Of a row of x in scratch; by bytes: of whole windows, and of all pairs of 16 entries."""
        pairs = 256 * 8 if self.by_bytes and self.symbol else 0
        return pairs + 4 * (-(-columns // self.window) * self.window if self.by_bytes else columns)

    @property
    def fields(self) -> list[tuple[int, int]]:
        """For each slot of a word the lowest bits of its place and of its codebook's index."""
        bits, stride = self.window.bit_length() - 1, 32 // self.per_word
        if self.window == 32 and stride == 10 and not self.tables:  # one shift brings a place and an index to where look-ups see them
            return [(0, 16), (5, 21), (10, 26)]
        return [(at, at + bits) for at in range(0, stride * self.per_word, stride)]

    @property
    def name(self) -> str:
        shape = "elastic windows" if self.elastic else "windows by bytes" if self.by_bytes else "windows"
        return f"window16 {shape} of {self.window}, {self.kind}{self.symbol or ''}{' in tables' if self.tables else ''}"


def encoding_of(tensor: EncodedTensor, order: Order, isa: str = "") -> Encoding | None:
    """How [outputs, K] or [K, outputs] is packed for that ISA level; None where the layout does not hold it: other structures, windows or
    scales that run along K, fewer columns than a window has or more than 16 bits can name, scales of blocks."""
    structure, axis = tensor.structure, 0 if order == "rows" else len(tensor.shape) - 1
    if not isinstance(structure, (Windowed, Sparse, Blocks)) or len(tensor.shape) < 2 or tensor.dtype not in ("float32", "float16"):
        return None
    window = structure.m if isinstance(structure, Windowed) else 2 * RUN
    columns = tensor.size // max(tensor.shape[axis], 1)
    if not (window if isinstance(structure, Windowed) else RUN) <= columns <= MOST_COLUMNS or tensor.held == 0 or tensor.axis != axis:
        return None
    elastic = not isinstance(structure, Windowed)
    if isinstance(tensor.values, Plain):
        plain: dict[str, Kind] = {"float32": "f32", "float16": "f16"}
        kind = plain.get(tensor.values.data.dtype.name)
        return None if kind is None else Encoding(kind, window, 0, False, elastic, isa in ARM_LEVELS and not elastic)
    book = table_of(tensor)
    if book is None:
        return None
    bits = max((book.entries.shape[1] - 1).bit_length(), 1)
    in_memory = len(book.entries) > 1 or bits > 5 or 32 // (window.bit_length() - 1 + bits) < 3
    by_bytes = isa in ARM_LEVELS and not elastic and not in_memory and bits <= 4
    return Encoding("codebook", window, bits, in_memory, elastic, by_bytes)


@dataclass(frozen=True, eq=False)
class _Slots:
    """What lies where. ``rows``: int32[panels · 16], the output of each lane or -1. ``starts``, ``counts``: int64[panels], slots.
    ``bases``: where the windows of slots begin, both runs of elastic ones. ``masks``: bool[slots, 16] of elastic ones. ``slot``, ``lane``, ``place``,
    ``held``: of each weight its slot, lane, place in its window, and number among the tensor's values."""

    rows: np.ndarray
    starts: np.ndarray
    counts: np.ndarray
    bases: np.ndarray
    masks: np.ndarray | None
    slot: np.ndarray
    lane: np.ndarray
    place: np.ndarray
    held: np.ndarray


def pack_windows(tensor: EncodedTensor, encoding: Encoding, order: Order) -> np.ndarray:
    """uint8: header, then sections at multiples of 64 bytes."""
    if isinstance(tensor.structure, Blocks):
        tensor = replace(tensor, structure=Sparse.of(tensor.kept()))
    slots = _elastic(tensor, encoding, order) if encoding.elastic else _fixed(tensor, encoding, order)
    panels, per, width = len(slots.starts), encoding.per_word, encoding.window.bit_length() - 1
    total = int(slots.starts[-1]) + -(-int(slots.counts[-1]) // per) * per
    together = np.ones(panels, np.int64)
    if not encoding.elastic:
        together[:panels // TOGETHER * TOGETHER] = TOGETHER
    sections = {"rows": slots.rows, "starts": np.concatenate([slots.starts, [total], slots.counts]).astype(np.uint32),
                "bases": slots.bases.astype(np.uint16)}
    if slots.masks is not None:
        sections["masks"] = np.packbits(slots.masks.reshape(-1), bitorder="little")
    entries, symbols = 0, None
    if isinstance(tensor.values, Plain):
        values = np.zeros(total * PANEL, tensor.values.data.dtype)
        values[_place(slots, together, slots.slot, 1)] = tensor.values.data[slots.held]
        sections["values"] = values
    else:
        book = table_of(tensor)
        assert book is not None
        symbols = symbols_of(book)[slots.held].astype(np.uint32)
        tables = tables_of(book, slots.rows, tensor.channels)
        sections |= {"tables": tables["tables"], "places": tables["bases"]}
        entries = 0 if encoding.tables else book.entries.shape[1]
    if encoding.by_bytes:
        sections |= _bytes(slots, together, total, symbols)
    else:
        words = np.zeros(total // per * PANEL, np.uint32)
        places, codes = np.array(encoding.fields, np.uint32)[slots.slot % per].T
        content = slots.place.astype(np.uint32) << places
        if symbols is not None:
            content |= symbols << codes
        np.bitwise_or.at(words, _place(slots, together, slots.slot // per, per), content)
        sections = {"words": words, **sections}  # never the last one: kernels read up to 3 bytes behind it
    together_in = _run(slots.bases) if encoding.by_bytes else per
    fields = [panels, TOGETHER, width, together_in, entries, 0 if encoding.elastic else int(slots.counts[0])]
    return sections_of(fields, ("rows", "starts", "bases", "masks", "words", "values", "tables", "places"), sections)


def _place(slots: _Slots, together: np.ndarray, row: np.ndarray, per: int) -> np.ndarray:
    """Where [row][lane] of each weight lies, rows of ``per`` slots each: those of panels that are ``together`` alternate."""
    panel, beside = slots.lane // PANEL, together[slots.lane // PANEL]
    first = slots.starts[panel // beside * beside] // per
    within = row - slots.starts[panel] // per
    return (first + within * beside + panel % beside) * PANEL + slots.lane % PANEL


def _bytes(slots: _Slots, together: np.ndarray, total: int, symbols: np.ndarray | None) -> dict[str, np.ndarray]:
    """The sections that NEON reads: places uint8[slots][16], rows as its look-ups want them, and indices uint8[slots][8], two rows in a byte."""
    lane, at = slots.lane % PANEL, _place(slots, together, slots.slot, 1)
    places = np.zeros(total * PANEL, np.uint8)
    places[at - lane + lane % 4 * 4 + lane // 4] = slots.place
    if symbols is None:
        return {"words": places}
    halves = np.zeros(total * PANEL // 2, np.uint8)
    np.bitwise_or.at(halves, at // 2, (symbols << (at % 2 * 4).astype(np.uint32)).astype(np.uint8))
    return {"words": places, "values": halves}


def _run(bases: np.ndarray) -> int:
    """How many slots after others lie in one window, in all windows; 3 at most."""
    lengths = np.unique(bases, return_counts=True)[1]
    return next(run for run in (3, 2, 1) if not (lengths % run).any())


def _fixed(tensor: EncodedTensor, encoding: Encoding, order: Order) -> _Slots:
    """Windows of a windowed weight: the same for all rows. The last one may be shorter, and is moved to where a whole one fits."""
    assert isinstance(tensor.structure, Windowed)
    view, per = tensor.view, encoding.per_word
    columns = tensor.structure.columns(view)
    slots = columns.shape[1]
    counts = tensor.structure.per_window(view.inputs)
    bases = np.minimum(np.repeat(np.arange(len(counts)) * encoding.window, counts.astype(np.intp)), view.inputs - encoding.window)
    panels = -(-view.channels // PANEL)
    rows = np.full(panels * PANEL, -1, np.int32)
    rows[:view.channels] = np.arange(view.channels)
    starts = np.arange(panels) * (-(-slots // per) * per)
    lane, s = (grid.reshape(-1) for grid in np.indices(columns.shape))
    held = np.arange(columns.size)
    if order == "columns":  # the tensor holds its values input by input
        held = np.empty(columns.size, np.int64)
        held[np.argsort((columns * view.channels + np.arange(view.channels)[:, None]).reshape(-1))] = np.arange(columns.size)
    return _Slots(rows, starts, np.full(panels, slots), bases, None, starts[lane // PANEL] + s, lane, (columns - bases).reshape(-1), held)


def _elastic(tensor: EncodedTensor, encoding: Encoding, order: Order) -> _Slots:
    """Windows of a sparse weight: two runs of 16 inputs each, chosen for each slot. Rows are sorted by how many weights they have, so
    that those of a panel end together."""
    outputs, inputs, per = tensor.channels, tensor.view.inputs, encoding.per_word
    row, column = held_positions(tensor, order, outputs, inputs)
    panels, runs = -(-outputs // PANEL), -(-inputs // RUN)
    lengths = np.bincount(row.astype(np.intp), minlength=outputs)
    rows = np.full(panels * PANEL, -1, np.int32)
    rows[:outputs] = np.argsort(-lengths, kind="stable")
    lane_of = np.empty(outputs, np.int64)
    lane_of[rows[:outputs]] = np.arange(outputs)
    # A queue is what one lane has in one run of inputs; its n-th weight is taken by the n-th slot that takes from it.
    queue = lane_of[row] * runs + column // RUN
    in_order = np.argsort(queue, kind="stable")
    lengths = np.bincount(queue.astype(np.intp), minlength=panels * PANEL * runs)
    taken, pairs = _schedule(lengths.reshape(panels, PANEL, runs))
    counts = (pairs[:, :, 0] >= 0).sum(0)
    starts = np.concatenate([[0], np.cumsum(-(-counts // per) * per)])
    panel, lane, step = np.nonzero(taken.transpose(1, 2, 0))
    which = taken[step, panel, lane] - 1
    run = pairs[step, panel, which]
    queue = (panel * PANEL + lane) * runs + run
    by_queue = np.argsort(queue, kind="stable")
    held = np.empty(len(queue), np.int64)
    held[by_queue] = in_order
    slot = starts[panel] + step
    masks = np.zeros((int(starts[-1]), PANEL), bool)
    masks[slot, lane] = True
    bases = np.zeros((int(starts[-1]), 2), np.int64)
    at, of = np.nonzero(pairs[:, :, 0] >= 0)
    bases[starts[of] + at] = np.minimum(pairs[at, of] * RUN, inputs - RUN)
    return _Slots(rows, starts[:-1], counts, bases, masks, slot, panel * PANEL + lane, column[held] - bases[slot, which] + which * RUN, held)


def _schedule(left: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """``left``: [panels, 16, runs], weights that each lane has in each run of inputs. Makes (uint8[steps, panels, 16]: 1 or 2 where a lane
    takes a weight from the slot's first or second run, int[steps, panels, 2]: these runs; -1 where a panel has no more slots).

    The first run is the first one with weights left. The second one is that of the next AHEAD ones which gives most other lanes a weight:
    where each lane was bound to windows of 32 inputs in their order, half of a slot would be empty at 95 % sparsity."""
    panels, lanes, runs = left.shape
    left = np.concatenate([left, np.zeros((panels, lanes, AHEAD + 1), left.dtype)], 2).astype(np.int16)
    some: np.ndarray = np.any(left, axis=1)
    every, taken, pairs = np.arange(panels), [], []
    ahead = np.arange(AHEAD + 1)
    while True:
        first = some.argmax(1)
        live = some[every, first]
        if not live.any():
            break
        near = left[every[:, None], :, first[:, None] + ahead] > 0  # [panels, AHEAD + 1, 16]
        of_first = near[:, 0]
        step = (near[:, 1:] & ~of_first[:, None]).sum(2).argmax(1) + 1
        of_second = near[every, step] & ~of_first
        second = first + step
        left[every, :, first] -= of_first
        left[every, :, second] -= of_second
        some[every, first] = left[every, :, first].any(1)
        some[every, second] = left[every, :, second].any(1)
        taken.append((of_first + 2 * of_second).astype(np.uint8))
        pairs.append(np.where(live[:, None], np.stack([first, np.minimum(second, runs - 1)], 1), -1))
    return np.array(taken), np.array(pairs)
