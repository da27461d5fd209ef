"""Moving floats: reorders between layouts, and the operators that only move or rename."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import product
from math import prod

import numpy as np

from .. import costs
from ..lowering import Emitter, Layout, Lowering, Ref, Site, lowers
from .strides import MAX_DIMS, contiguous, memory_axes, merged, strides_of

LAYOUTS: tuple[Layout, ...] = ("NCHW", "NHWC")
TILE = 64
"""Side of the blocks of the kernel copy_tiles."""
ROW_BLOCK = 8192
"""Floats of a row that are one work item of the kernel copy_rows."""
FLOAT = 4


def emit_copy(em: Emitter, src: Ref, dst: Ref, shape: Sequence[int], src_strides: Sequence[int], dst_strides: Sequence[int]) -> None:
    """Steps that copy a strided array of ``shape`` into another (strides in elements, 0 in ``src`` repeats). Any rank that merges to 8."""
    if prod(shape) == 0:
        return
    order = sorted(range(len(shape)), key=lambda axis: -dst_strides[axis])  # so that writes run forwards
    lengths, xs, ys = merged(*([values[axis] for axis in order] for values in (shape, src_strides, dst_strides)))
    if len(lengths) > MAX_DIMS + 1:
        raise ValueError(f"a copy over {len(lengths)} axes, but the kernel walks {MAX_DIMS + 1}")
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


def emit_reorder(em: Emitter, src: Ref, dst: Ref, shape: Sequence[int], from_layout: Layout, to_layout: Layout) -> None:
    """Steps that copy a value of logical ``shape`` from one layout into another (or the same one)."""
    emit_copy(em, src, dst, shape, strides_of(shape, from_layout), strides_of(shape, to_layout))


def reorder_is_free(shape: Sequence[int]) -> bool:
    """True where both layouts are the same bytes: below rank 3, or with one channel, or with one position."""
    return len(shape) < 3 or shape[1] == 1 or prod(shape[2:]) == 1


def reorder_cost(shape: Sequence[int]) -> float:
    """Estimated nanoseconds of a reorder of this shape."""
    return 0.0 if reorder_is_free(shape) else costs.STEP + costs.MOVEMENT["copy_tiles"] * prod(shape)


def _copy_cost(shape: Sequence[int], rows: float) -> float:
    return costs.STEP + costs.MOVEMENT["copy_rows"] * prod(shape) + costs.MOVEMENT["row"] * rows


def _is_float(site: Site, *inputs: int) -> bool:
    kinds = [site.inputs[i] for i in inputs]
    return all(kind is not None and kind.dtype == "float32" for kind in kinds) and site.outputs[0].dtype == "float32"


def _alias(site: Site, layouts: Sequence[Layout]) -> Iterator[Lowering]:
    for layout in layouts if 0 not in site.weights else ():
        yield Lowering("alias", (layout, *[None] * (len(site.inputs) - 1)), layout, 0.0, lambda em: None, alias=True)


@lowers("Reshape", "Flatten", "Squeeze", "Unsqueeze", "Cast")
def lower_rename(site: Site) -> Iterator[Lowering]:
    if _is_float(site, 0):
        yield from _alias(site, ("NCHW",))


@lowers("Identity", "Dropout")
def lower_identity(site: Site) -> Iterator[Lowering]:
    trains = len(site.inputs) > 2 and site.inputs[2] is not None and (site.constant(2) is None or bool(site.constant(2)))
    if _is_float(site, 0) and not any(site.node.outputs[1:]) and not trains:
        yield from _alias(site, LAYOUTS)


@lowers("Transpose")
def lower_transpose(site: Site) -> Iterator[Lowering]:
    """In every pair of layouts, so that a network written for channels-last can run in it without moving anything."""
    if not _is_float(site, 0):
        return
    shape = site.outputs[0].shape
    rank = len(shape)
    perm = [axis % rank for axis in site.attrs.get("perm") or range(rank)[::-1]]
    assert site.inputs[0] is not None
    for given, wanted in product(LAYOUTS, LAYOUTS):
        source = strides_of(site.inputs[0].shape, given)
        xs, ys = [source[axis] for axis in perm], strides_of(shape, wanted)
        lengths, *walks = _by_destination(shape, xs, ys)
        if len(lengths) > MAX_DIMS:
            continue
        if walks[0] == walks[1] and 0 not in site.weights:
            yield Lowering("alias", (given,), wanted, 0.0, lambda em: None, alias=True)
            continue
        yield Lowering("copy", (given,), wanted, costs.STEP + costs.MOVEMENT["copy_tiles"] * prod(shape), _mover(shape, xs, ys))


def _by_destination(shape: Sequence[int], xs: Sequence[int], ys: Sequence[int]) -> tuple[list[int], ...]:
    order = sorted(range(len(shape)), key=lambda axis: -ys[axis])
    return merged(*([values[axis] for axis in order] for values in (shape, xs, ys)))


def _mover(shape: Sequence[int], xs: Sequence[int], ys: Sequence[int]) -> Callable[[Emitter], None]:
    return lambda em: emit_copy(em, em.input(0), em.output(), shape, xs, ys)


@lowers("Concat")
def lower_concat(site: Site) -> Iterator[Lowering]:
    if not _is_float(site, *range(len(site.inputs))):
        return
    shape = site.outputs[0].shape
    axis = site.attrs["axis"] % len(shape)
    for layout in LAYOUTS:
        rows = prod(shape[a] for a in memory_axes(len(shape), layout)[:memory_axes(len(shape), layout).index(axis)])
        yield Lowering("copy_rows", (layout,) * len(site.inputs), layout, _copy_cost(shape, rows * len(site.inputs)),
                       _concatenator(site, axis, layout))


def _concatenator(site: Site, axis: int, layout: Layout) -> Callable[[Emitter], None]:
    def emit(em: Emitter) -> None:
        strides = strides_of(site.outputs[0].shape, layout)
        start = 0
        for i, kind in enumerate(site.inputs):
            assert kind is not None
            place = em.output().plus(start * strides[axis] * FLOAT)
            if kind.size:
                emit_copy(em, em.input(i), place, kind.shape, strides_of(kind.shape, layout), strides)
            start += kind.shape[axis]

    return emit


@lowers("Pad")
def lower_pad(site: Site) -> Iterator[Lowering]:
    """Constant padding: the output filled with the constant, then the input copied into its place."""
    pads = site.constant(1)
    if not _is_float(site, 0) or pads is None or site.attrs.get("mode", "constant") != "constant" or (pads < 0).any():
        return
    if any(i < len(site.inputs) and site.inputs[i] is not None and site.constant(i) is None for i in (2, 3)):
        return
    value, axes = (site.constant(i) if i < len(site.inputs) else None for i in (2, 3))
    shape = site.outputs[0].shape
    rank = len(shape)
    chosen = [int(axis) % rank for axis in (range(rank) if axes is None else axes)]
    before = [0] * rank
    for place, axis in enumerate(chosen):
        before[axis] = int(pads[place])
    fill = np.array([0.0 if value is None else np.asarray(value).item()], np.float32)
    for layout in LAYOUTS:
        yield Lowering("copy_rows", (layout, *[None] * (len(site.inputs) - 1)), layout, 2 * _copy_cost(shape, prod(shape[:-1])),
                       _padder(site, before, fill, layout))


def _padder(site: Site, before: Sequence[int], fill: np.ndarray, layout: Layout) -> Callable[[Emitter], None]:
    source = site.inputs[0]
    assert source is not None

    def emit(em: Emitter) -> None:
        shape = site.outputs[0].shape
        strides = strides_of(shape, layout)
        start = sum(count * stride for count, stride in zip(before, strides))
        emit_copy(em, em.constant(fill), em.output(), [prod(shape)], [0], [1])
        emit_copy(em, em.input(0), em.output().plus(start * FLOAT), source.shape, strides_of(source.shape, layout), strides)

    return emit


@lowers("Gather")
def lower_gather(site: Site) -> Iterator[Lowering]:
    """Constant indices into floats."""
    data, index = site.inputs[0], site.constant(1)
    if not _is_float(site, 0) or data is None or index is None or site.outputs[0].size == 0:
        return
    axis = site.attrs.get("axis", 0) % len(data.shape)
    length, row = data.shape[axis], contiguous(data.shape)[axis]
    if (index < -length).any() or (index >= length).any():
        return
    index = np.where(index < 0, index + length, index).astype(np.int32).ravel()
    items = prod(data.shape[:axis]) * index.size
    yield Lowering("gather_rows", ("NCHW", None), "NCHW", _copy_cost(site.outputs[0].shape, items), lambda em: em.step(
        "gather_rows", [em.input(0), em.constant(index), em.output()], [length, index.size, row], items))
