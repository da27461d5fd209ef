"""Repacks sparse weights into the layout rows (README.md has it byte by byte), values still encoded."""

from __future__ import annotations

import numpy as np

from ...formats.tensor import EncodedTensor, Plain
from ..tables import table_of
from .pack import Kind, Order, held_positions, sections_of, symbols_of, tables_of

TILE = 256
"""Rows, at most, that share the inputs of a chunk while these are in L1."""
MOST_COLUMNS = 256
"""Columns of a chunk: a byte names them, or what a word has left beside the longest index of a codebook."""


def pack_rows(tensor: EncodedTensor, kind: Kind, order: Order, outputs: int, groups: int, tile: int, chunk: int) -> np.ndarray:
    """uint8: header, then the weights of each tile of rows and chunk of columns, rows sorted by how many they have there. ``tile``: rows of one,
    at most a group's. ``kind`` f32, f16 or codebook (then binary values are a codebook, too)."""
    columns, per_group = tensor.size // outputs, outputs // groups
    chunks = -(-columns // chunk)
    tiles = -(-per_group // tile)
    row, column = held_positions(tensor, order, outputs, columns)
    key = (row // per_group * tiles + row % per_group // tile) * chunks + column // chunk
    in_tile = row % per_group % tile
    counts = np.bincount((key * tile + in_tile).astype(np.intp), minlength=groups * tiles * chunks * tile).reshape(-1, tile)
    by_count = np.argsort(-counts, axis=1, kind="stable")
    rank = np.argsort(by_count, axis=1)
    sorted_counts = np.take_along_axis(counts, by_count, 1)
    listed = sorted_counts > 0
    at_end = np.arange(len(counts)) % chunks % (chunks - 1) == 0 if chunks > 1 else np.ones(len(counts), bool)
    there = by_count < np.minimum(tile, per_group - np.arange(len(counts)) // chunks % tiles * tile)[:, None]
    listed |= at_end[:, None] & there  # every row begins with the first chunk and is finished with the last one
    lists = np.stack([by_count[listed], sorted_counts[listed]], 1).astype(np.uint16)
    starts = np.zeros((len(counts) + 1, 2), np.uint32)
    starts[1:, 0], starts[1:, 1] = np.cumsum(listed.sum(1)), np.cumsum(counts.sum(1))
    held = np.argsort(key * tile + rank[key, in_tile], kind="stable")
    within = column[held] % chunk
    sections: dict[str, np.ndarray] = {"starts": starts, "lists": lists}
    bits = 0
    if kind == "codebook":
        book = table_of(tensor)
        assert book is not None
        bits = max((book.entries.shape[1] - 1).bit_length(), 1)
        sections["index"] = (within << bits | symbols_of(book)[held]).astype(np.uint16)
        tables = tables_of(book, np.arange(outputs), outputs)
        sections |= {"tables": tables["tables"], "places": tables["bases"]}
    else:
        values = tensor.values.data if isinstance(tensor.values, Plain) else tensor.held_values().astype(np.float32)
        sections |= {"index": within.astype(np.uint8), "values": values[held]}
    return sections_of([tiles, per_group, tile, columns, chunks, chunk, bits], ("starts", "lists", "index", "values", "tables", "places"), sections)
