"""Steps that copy strided arrays, and what they cost."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from .. import costs
from ..lowering import Emitter, Layout, Ref
from .strides import MAX_DIMS, merged, strides_of

TILE = 64
"""Side of the blocks of the kernel copy_tiles."""
ROW_BLOCK = 8192
"""Floats of a row that are one work item of the kernel copy_rows."""
FLOAT = 4
"""Bytes of a float."""


def emit_copy(em: Emitter, src: Ref, dst: Ref, shape: Sequence[int], src_strides: Sequence[int], dst_strides: Sequence[int],
              itemsize: int = FLOAT) -> None:
    """Steps that copy a strided array of ``shape`` into another (strides in elements, 0 in ``src`` repeats). Any rank that merges to 8.
    Elements are floats or (``itemsize`` 1) bytes."""
    if prod(shape) == 0:
        return
    order = sorted(range(len(shape)), key=lambda axis: -dst_strides[axis])  # so that writes run forwards
    lengths, xs, ys = merged(*([values[axis] for axis in order] for values in (shape, src_strides, dst_strides)))
    if len(lengths) > MAX_DIMS + 1:
        raise ValueError(f"a copy over {len(lengths)} axes, but the kernel walks {MAX_DIMS + 1}")
    if itemsize == 1:
        outer = [len(lengths) - 1, *lengths[:-1], *xs[:-1], *ys[:-1]]
        em.step("copy_bytes", [src, dst], [lengths[-1], xs[-1], ys[-1], *outer], prod(lengths[:-1]))
        return
    unit = next((axis for axis in range(len(lengths) - 1) if xs[axis] == 1), None)
    if unit is None or xs[-1] == 1 or ys[-1] != 1:
        outer = [len(lengths) - 1, *lengths[:-1], *xs[:-1], *ys[:-1]]
        block = min(lengths[-1], ROW_BLOCK)
        em.step("copy_rows", [src, dst], [lengths[-1], block, xs[-1], ys[-1], *outer], prod(lengths[:-1]) * -(-lengths[-1] // block))
        return
    rest = [axis for axis in range(len(lengths) - 1) if axis != unit]
    outer = [len(rest), *(values[axis] for values in (lengths, xs, ys) for axis in rest)]
    items = prod(lengths[axis] for axis in rest) * -(-lengths[unit] // TILE) * -(-lengths[-1] // TILE)
    em.step("copy_tiles", [src, dst], [lengths[unit], lengths[-1], xs[-1], ys[unit], *outer], items)


def emit_move(em: Emitter, src: Ref, dst: Ref, count: int) -> None:
    """A step that copies so many floats, one or more, which lie side by side."""
    block = min(count, ROW_BLOCK)
    em.step("copy_rows", [src, dst], [count, block, 1, 1, 0], -(-count // block))


def emit_reorder(em: Emitter, src: Ref, dst: Ref, shape: Sequence[int], from_layout: Layout, to_layout: Layout,
                 itemsize: int = FLOAT) -> None:
    """Steps that copy a value of logical ``shape`` from one layout into another (or the same one)."""
    emit_copy(em, src, dst, shape, strides_of(shape, from_layout), strides_of(shape, to_layout), itemsize)


def reorder_is_free(shape: Sequence[int]) -> bool:
    """True where both layouts are the same bytes: below rank 3, or with one channel, or with one position."""
    return len(shape) < 3 or shape[1] == 1 or prod(shape[2:]) == 1


def reorder_cost(shape: Sequence[int], itemsize: int = FLOAT) -> float:
    """Estimated nanoseconds of a reorder of this shape."""
    return 0.0 if reorder_is_free(shape) else costs.STEP + costs.MOVEMENT["copy_bytes" if itemsize == 1 else "copy_tiles"] * prod(shape)


def copy_cost(shape: Sequence[int], rows: float) -> float:
    return costs.STEP + costs.MOVEMENT["copy_rows"] * prod(shape) + costs.MOVEMENT["row"] * rows


def by_destination(shape: Sequence[int], xs: Sequence[int], ys: Sequence[int]) -> tuple[list[int], ...]:
    order = sorted(range(len(shape)), key=lambda axis: -ys[axis])
    return merged(*([values[axis] for axis in order] for values in (shape, xs, ys)))
