"""Moving floats: reorders between layouts, and the operators that only move or rename."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import product
from math import prod

import numpy as np

from .. import costs
from ..lowering import Emitter, Layout, Lowering, Site, lowers
from .copies import FLOAT, by_destination, copy_cost, emit_copy
from .strides import MAX_DIMS, contiguous, memory_axes, strides_of

LAYOUTS: tuple[Layout, ...] = ("NCHW", "NHWC")
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
        lengths, *walks = by_destination(shape, xs, ys)
        if len(lengths) > MAX_DIMS:
            continue
        if walks[0] == walks[1] and 0 not in site.weights:
            yield Lowering("alias", (given,), wanted, 0.0, lambda em: None, alias=True)
            continue
        yield Lowering("copy", (given,), wanted, costs.STEP + costs.MOVEMENT["copy_tiles"] * prod(shape), _mover(shape, xs, ys))


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
        yield Lowering("copy_rows", (layout,) * len(site.inputs), layout, copy_cost(shape, rows * len(site.inputs)),
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


@lowers("Split")
def lower_split(site: Site) -> Iterator[Lowering]:
    if not _is_float(site, 0) or site.inputs[0] is None:
        return
    shape = site.inputs[0].shape
    axis = site.attrs["axis"] % len(shape)
    for layout in LAYOUTS:
        yield Lowering("copy_rows", (layout, *[None] * (len(site.inputs) - 1)), layout, sum(
            copy_cost(part.shape, _rows(part.shape, layout)) for part in site.outputs), _splitter(site, shape, axis, layout),
            makes=len(site.outputs))


def _splitter(site: Site, shape: Sequence[int], axis: int, layout: Layout) -> Callable[[Emitter], None]:
    def emit(em: Emitter) -> None:
        strides = strides_of(shape, layout)
        start = 0
        for i, part in enumerate(site.outputs):
            place = em.input(0).plus(start * strides[axis] * FLOAT)
            emit_copy(em, place, em.output(i), part.shape, strides, strides_of(part.shape, layout))
            start += part.shape[axis]

    return emit


def _rows(shape: Sequence[int], layout: Layout) -> int:
    """How many rows of adjacent floats a value has at least."""
    return prod(shape) // max(shape[memory_axes(len(shape), layout)[-1]], 1) if shape else 1


@lowers("Slice")
def lower_slice(site: Site) -> Iterator[Lowering]:
    """Constant bounds: every output walks its part of the input, backwards where a step is negative."""
    x, bounds = site.inputs[0], [site.constant(i) for i in (1, 2, 3, 4)]
    there = [i < len(site.inputs) and site.inputs[i] is not None for i in (1, 2, 3, 4)]
    if not _is_float(site, 0) or x is None or any(here and bound is None for here, bound in zip(there, bounds)):
        return
    starts, ends, axes, steps = (None if bound is None else [int(i) for i in bound.ravel()] for bound in bounds)
    if starts is None or ends is None:
        return
    from ..ops.slice import walk_of

    walk = walk_of("Slice", x.shape, starts, ends, axes, steps)
    if all(taken == range(x.shape[axis]) for axis, taken in walk.items()):
        yield from _alias(site, LAYOUTS)
        return
    for layout in LAYOUTS:
        strides = strides_of(x.shape, layout)
        first = sum(taken.start * strides[axis] for axis, taken in walk.items())
        steps_of = [stride * walk[axis].step if axis in walk else stride for axis, stride in enumerate(strides)]
        yield from _strided(site, layout, site.outputs[0].shape, steps_of, strides_of(site.outputs[0].shape, layout), first)


def _strided(site: Site, layout: Layout, shape: Sequence[int], xs: Sequence[int], ys: Sequence[int], first: int = 0) -> Iterator[Lowering]:
    """A copy over ``shape`` (any split of the axes) from strides ``xs``, starting at float ``first``, to strides ``ys``."""
    lengths, *_ = by_destination(shape, xs, ys)
    if len(lengths) <= MAX_DIMS:
        yield Lowering("copy_rows", (layout, *[None] * (len(site.inputs) - 1)), layout,
                       copy_cost(shape, prod(lengths[:-1])), lambda em: emit_copy(em, em.input(0).plus(first * FLOAT), em.output(), shape, xs, ys))


@lowers("Expand")
def lower_expand(site: Site) -> Iterator[Lowering]:
    """What is stretched is read again and again. A value of lower rank has its axes elsewhere in NHWC, so that it stays in NCHW."""
    x, shape = site.inputs[0], site.outputs[0].shape
    if not _is_float(site, 0) or x is None:
        return
    added = len(shape) - len(x.shape)
    if x.size == site.outputs[0].size:
        yield from _alias(site, LAYOUTS if added == 0 else ("NCHW",))
        return
    for layout in LAYOUTS if added == 0 else LAYOUTS[:1]:
        xs = [0] * added + [0 if length == 1 else stride for length, stride in zip(x.shape, strides_of(x.shape, layout))]
        yield from _strided(site, layout, shape, xs, strides_of(shape, layout))


@lowers("Tile")
def lower_tile(site: Site) -> Iterator[Lowering]:
    """Every axis of the output is two, the repetitions and what is repeated."""
    x, shape = site.inputs[0], site.outputs[0].shape
    if not _is_float(site, 0) or x is None:
        return
    for layout in LAYOUTS:
        lengths = [part for old, new in zip(x.shape, shape) for part in (new // old, old)]
        xs = [part for stride in strides_of(x.shape, layout) for part in (0, stride)]
        ys = [part for old, stride in zip(x.shape, strides_of(shape, layout)) for part in (old * stride, stride)]
        yield from _strided(site, layout, lengths, xs, ys)


@lowers("DepthToSpace", "SpaceToDepth")
def lower_blocks(site: Site) -> Iterator[Lowering]:
    """Both are one walk over N, C, H, row in a block, W, column in a block, in one direction or the other."""
    if not _is_float(site, 0) or site.inputs[0] is None:
        return
    b, opens = site.attrs["blocksize"], site.node.op == "DepthToSpace"
    deep, flat = (site.inputs[0].shape, site.outputs[0].shape) if opens else (site.outputs[0].shape, site.inputs[0].shape)
    n, c, height, width = flat
    row, column, channel = (b * c, c, 1) if site.attrs["mode"] == "DCR" else (b, 1, b * b)
    for layout in LAYOUTS:
        ds, fs = strides_of(deep, layout), strides_of(flat, layout)
        many = [ds[0], ds[1] * channel, ds[2], ds[1] * row, ds[3], ds[1] * column]
        wide = [fs[0], fs[1], fs[2] * b, fs[2], fs[3] * b, fs[3]]
        yield from _strided(site, layout, (n, c, height // b, b, width // b, b), *((many, wide) if opens else (wide, many)))


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
        yield Lowering("copy_rows", (layout, *[None] * (len(site.inputs) - 1)), layout, 2 * copy_cost(shape, prod(shape[:-1])),
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
    yield Lowering("gather_rows", ("NCHW", None), "NCHW", copy_cost(site.outputs[0].shape, items), lambda em: em.step(
        "gather_rows", [em.input(0), em.constant(index), em.output()], [length, index.size, row], items))
