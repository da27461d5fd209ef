"""Repacks sparse weights into the layout sell16 (README.md has it byte by byte), values still encoded."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import numpy as np

from ...formats.tensor import Binary, Codebook, EncodedTensor, Plain, Sparse, Windowed
from ..slabs import ALIGNMENT, aligned

ROWS = 16
HEADER = 128
REPEATED = 32
"""The only table is filled up to a power of two and repeated to as many entries: kernels look them up by a word's low bits."""
WORD_BITS = 16
"""A column and a symbol that fit into as many bits lie in one word."""
WINDOW = 256
"""Rows that are sorted together."""
SLOT_BYTES: dict[str, int] = {"f32": 4 * ROWS, "f16": 2 * ROWS, "codebook": ROWS, "binary": ROWS // 8}
"""Bytes that a slot's values take."""
NARROW = 1 << 16
"""Column indices take 16 bits up to this many columns."""
CHUNK = 1 << 22
"""Positions of the tensor that are looked at together, which bounds the memory that packing needs."""

Kind = Literal["f32", "f16", "codebook", "binary"]
Order = Literal["rows", "columns"]
"""How the tensor holds the matrix: [outputs, K] (a convolution's kernel flattened), or [K, outputs]."""


def kind_of(tensor: EncodedTensor, order: Order) -> Kind | None:
    """How the values are packed, or None if the layout cannot hold this tensor. Values whose scales or tables run along the
    matrix's columns are expanded to f32, though only those that are held."""
    values = tensor.values
    if not isinstance(tensor.structure, (Sparse, Windowed)) or tensor.dtype not in ("float32", "float16") or tensor.size == 0:
        return None
    if isinstance(values, Plain):
        plain: dict[str, Kind] = {"float32": "f32", "float16": "f16"}
        return plain.get(values.data.dtype.name)
    along_rows = len(tensor.shape) > 1 and tensor.axis == (0 if order == "rows" else len(tensor.shape) - 1)
    if isinstance(values, Binary):
        return "binary" if along_rows else "f32"
    if not isinstance(values, Codebook):
        return None
    return "codebook" if along_rows or (values.scale is None and values.entries.shape[0] == 1) else "f32"


def symbol_bits(tensor: EncodedTensor, kind: Kind, columns: int) -> int | None:
    """Bits of a codebook index or a sign, where it shares a word with one of ``columns`` columns; None where it does not."""
    if kind == "binary":
        bits = 1
    elif kind == "codebook" and isinstance(tensor.values, Codebook):
        bits = (tensor.values.entries.shape[1] - 1).bit_length()
    else:
        return None
    return bits if bits + (columns - 1).bit_length() <= WORD_BITS else None


def row_scale(tensor: EncodedTensor, kind: Kind, outputs: int) -> np.ndarray:
    """float32[outputs]: what each output's sum is multiplied by."""
    scale = tensor.values.scale if isinstance(tensor.values, (Codebook, Binary)) and kind != "f32" else None
    return np.ones(outputs, np.float32) if scale is None else scale.astype(np.float32)


def bundle(groups: int, per_group: int) -> int:
    """How many groups of a convolution share a slice: the fewest that fill it (a depthwise convolution has one row per group)."""
    return next(b for b in range(1, groups + 1) if groups % b == 0 and (b * per_group >= ROWS or b == groups))


def pack(tensor: EncodedTensor, kind: Kind, order: Order, outputs: int, groups: int) -> np.ndarray:
    """uint8: header, then slices of 16 rows. Within WINDOW rows of a group, rows are sorted by how many weights they have, so
    that a slice pads little and what it writes still lies close together (SELL-C-sigma: Kreutzer et al. 2014, section 3).

    Groups that are bundled become one, whose matrix has their blocks on its diagonal: each row's columns are moved to its block.
    """
    own_columns = tensor.size // outputs
    together = bundle(groups, outputs // groups)
    columns, shift = own_columns * together, np.arange(outputs) // (outputs // groups) % together * own_columns
    groups //= together
    counts = _row_counts(tensor, order, outputs, own_columns)
    rows, starts, full, lengths = _slices(counts, groups)
    slots = int(starts[-1])
    place = np.empty(outputs, np.int64)  # of each row's first weight, in units of a lane
    lane = np.flatnonzero(rows >= 0)
    place[rows[lane]] = starts[lane // ROWS].astype(np.int64) * ROWS + lane % ROWS
    bits = symbol_bits(tensor, kind, columns)
    wide = columns > NARROW
    book = tensor.values if kind == "codebook" else None
    assert book is None or isinstance(book, Codebook)
    sections: dict[str, np.ndarray | int] = {"starts": starts, "full": full, "rows": rows, "lengths": lengths,
                "index": (4 if wide else 2) * slots * ROWS}
    if bits is None:
        sections["values"] = SLOT_BYTES[kind] * slots
    if book is not None:
        sections |= tables_of(book, rows, outputs)
    at, offsets = HEADER, {}
    for name, content in sections.items():
        offsets[name] = at
        at += -(-(content if isinstance(content, int) else content.nbytes) // ALIGNMENT) * ALIGNMENT
    packed = aligned(at)
    packed[:] = 0
    order_of = ("starts", "full", "rows", "lengths", "index", "values", "tables", "bases")
    packed[:HEADER].view(np.int64)[:14] = [len(starts) - 1, (len(starts) - 1) // groups, columns, int(wide),
                                           *(offsets.get(name, 0) for name in order_of), entries_of_one(book), bits or 0]
    for name, content in sections.items():
        if isinstance(content, np.ndarray):
            packed[offsets[name]:offsets[name] + content.nbytes] = np.ascontiguousarray(content).reshape(-1).view(np.uint8)
    index = packed[offsets["index"]:offsets["index"] + slots * ROWS * (4 if wide else 2)].view(np.uint32 if wide else np.uint16)
    _fill(tensor, kind, order, shift, own_columns, place, index, packed[offsets["values"]:] if bits is None else bits)
    return packed


def entries_of_one(book: Codebook | None) -> int:
    """Entries of the only table, 0 if there are several or none."""
    return book.entries.size if book is not None and len(book.entries) == 1 else 0


def _row_counts(tensor: EncodedTensor, order: Order, outputs: int, columns: int) -> np.ndarray:
    counts = np.zeros(outputs, np.int64)
    for row, _, _ in _held(tensor, order, outputs, columns):
        counts += np.bincount(row.astype(np.intp), minlength=outputs)
    return counts


def _slices(counts: np.ndarray, groups: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """(row of each lane or -1, first slot per slice, slots that all rows of a slice have, weights of each lane)."""
    per_group = len(counts) // groups
    slices = -(-per_group // ROWS)
    window = np.arange(per_group) // WINDOW
    by_length = np.array([np.lexsort((-own, window)) for own in counts.reshape(groups, per_group)])
    padded = np.full((groups, slices * ROWS), -1, np.int32)
    padded[:, :per_group] = by_length + np.arange(groups)[:, None] * per_group
    rows = padded.reshape(-1)
    lengths = np.where(rows < 0, 0, counts[rows]).astype(np.int32).reshape(-1, ROWS)
    starts = np.concatenate([[0], np.cumsum(lengths.max(1))]).astype(np.uint32)
    full = np.where(rows.reshape(-1, ROWS) < 0, np.iinfo(np.int32).max, lengths).min(1).astype(np.uint32)
    return rows, starts, full, lengths.reshape(-1)


def tables_of(values: Codebook, rows: np.ndarray, outputs: int) -> dict[str, np.ndarray]:
    """The entries in float32 (an only table filled up and repeated to 32), and where in them the table of each of ``rows`` begins."""
    entries = values.entries.astype(np.float32)
    groups, size = entries.shape
    table = entries.reshape(-1)
    if groups == 1:
        period = 1 << (size - 1).bit_length()
        table = np.tile(np.pad(table, (0, period - size)), max(1, REPEATED // period))
    run = -(-outputs // groups)
    return {"tables": table, "bases": (np.maximum(rows, 0) // run * size if groups > 1 else np.zeros_like(rows)).astype(np.int32)}


def _held(tensor: EncodedTensor, order: Order, outputs: int, columns: int) -> Iterator[tuple[np.ndarray, np.ndarray, slice]]:
    """(row, column, which of the held values) of the held positions, a chunk of the tensor at a time."""
    size, seen, structure = tensor.size, 0, tensor.structure
    mask = structure.mask if isinstance(structure, Sparse) else np.packbits(tensor.kept(), bitorder="little")
    for first in range(0, size, CHUNK):
        count = min(CHUNK, size - first)
        bits = np.unpackbits(mask[first // 8:(first + count + 7) // 8], count=count, bitorder="little")
        position = np.flatnonzero(bits) + first
        major, minor = np.divmod(position, columns if order == "rows" else outputs)
        row, column = (major, minor) if order == "rows" else (minor, major)
        yield row, column, slice(seen, seen + len(position))
        seen += len(position)


def held_positions(tensor: EncodedTensor, order: Order, outputs: int, columns: int) -> tuple[np.ndarray, np.ndarray]:
    """(row, column) of the held positions, in the tensor's order."""
    parts = [(row, column) for row, column, _ in _held(tensor, order, outputs, columns)]
    return np.concatenate([row for row, _ in parts]), np.concatenate([column for _, column in parts])


def sections_of(fields: list[int], names: tuple[str, ...], sections: dict[str, np.ndarray]) -> np.ndarray:
    """uint8: a header of the fields and the offsets of the sections of those names (0: not there), then these at multiples of 64 bytes."""
    at, offsets = HEADER, {}
    for name, content in sections.items():
        offsets[name] = at
        at += -(-content.nbytes // ALIGNMENT) * ALIGNMENT
    packed = aligned(at)
    packed[:] = 0
    packed[:HEADER].view(np.int64)[:len(fields) + len(names)] = [*fields, *(offsets.get(name, 0) for name in names)]
    for name, content in sections.items():
        packed[offsets[name]:offsets[name] + content.nbytes] = np.ascontiguousarray(content).reshape(-1).view(np.uint8)
    return packed


def symbols_of(book: Codebook) -> np.ndarray:
    """The indices, wide enough to be shifted."""
    return book.indices.astype(np.uint32)


def _symbols(tensor: EncodedTensor, kind: Kind) -> np.ndarray:
    """What is packed of each held value."""
    values = tensor.values
    if isinstance(values, Codebook) and kind == "codebook":
        return values.indices
    if isinstance(values, Binary) and kind == "binary":
        return values.signs
    return values.data if isinstance(values, Plain) else tensor.held_values().astype(np.float32)


def _fill(tensor: EncodedTensor, kind: Kind, order: Order, shift: np.ndarray, columns: int, place: np.ndarray, index: np.ndarray,
          body: np.ndarray | int) -> None:
    """Puts every held value into its row's next slot, its column moved by the row's ``shift``: into ``body``, or below the
    column as a symbol of so many bits."""
    outputs = len(shift)
    symbols = _symbols(tensor, kind)
    into = None if isinstance(body, int) else _lanes(body, kind, len(index), symbols)
    nexts = place.copy()
    for row, column, held in _held(tensor, order, outputs, columns):
        by_row = np.argsort(row, kind="stable") if order == "columns" else slice(None)
        sorted_row = row[by_row]
        used = np.bincount(sorted_row.astype(np.intp), minlength=outputs)
        before = np.cumsum(used) - used
        at = nexts[sorted_row] + (np.arange(len(sorted_row)) - before[sorted_row]) * ROWS
        words = column[by_row] + shift[sorted_row]
        if into is None:
            words = words << body | symbols[held][by_row]
        else:
            into[at] = symbols[held][by_row]
        index[at] = words
        nexts += used * ROWS
    if kind == "binary" and not isinstance(body, int) and into is not None:
        body[:len(index) // 8] = np.packbits(into, bitorder="little")


def _lanes(body: np.ndarray, kind: Kind, count: int, symbols: np.ndarray) -> np.ndarray:
    """Where ``count`` values go that lie apart from their columns; signs are packed into bits in the end."""
    return np.zeros(count, np.uint8) if kind == "binary" else body[:count * symbols.itemsize].view(symbols.dtype)
