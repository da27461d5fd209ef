"""Resize and mirrored Pad of the last two axes of an image (the last one of a line), by the taps that the operators' own rules give."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import prod

import numpy as np

from .. import costs
from ..lowering import Emitter, Lowering, Site, lowers
from ..ops._resize import numbers, stretches
from ..ops.pad import source, widths_of

LANES = 16
"""Floats of the widest vector."""

Taps = tuple[np.ndarray, np.ndarray]
"""(index, weight) [length, taps]: the elements of an axis that count for each new one."""


@lowers("Resize")
def lower_resize(site: Site) -> Iterator[Lowering]:
    x, known = site.inputs[0], [site.constant(i) for i in (2, 3)]
    there = [i < len(site.inputs) and (kind := site.inputs[i]) is not None and kind.size > 0 for i in (2, 3)]
    if x is None or x.dtype != "float32" or any(here and value is None for here, value in zip(there, known)):
        return
    if site.attrs["coordinate_transformation_mode"] == "tf_crop_and_resize":
        return
    found = stretches("Resize", site.attrs, x.shape, *numbers(None, *known))
    yield from _resample(site, x.shape, {axis: stretch.taps(site.attrs) for axis, stretch in found.items() if not stretch.same})


@lowers("Pad")
def lower_mirror(site: Site) -> Iterator[Lowering]:
    """The modes that take from the input: each new row and column is one of the old ones."""
    x, pads, mode = site.inputs[0], site.constant(1), site.attrs["mode"]
    named = len(site.inputs) > 3 and site.inputs[3] is not None
    axes = site.constant(3) if named else None
    if mode == "constant" or x is None or x.dtype != "float32" or pads is None or (named and axes is None):
        return
    widths = widths_of("Pad", len(x.shape), pads.ravel().tolist(), None if axes is None else axes.ravel().tolist())
    yield from _resample(site, x.shape, {axis: _one_tap(source(mode, length, width))
                                         for axis, (length, width) in enumerate(zip(x.shape, widths)) if any(width)})


def _one_tap(index: np.ndarray) -> Taps:
    return index[:, None], np.ones((index.size, 1))


def _resample(site: Site, shape: tuple[int, ...], changed: Mapping[int, Taps]) -> Iterator[Lowering]:
    """The ways to do it if nothing but the last two axes changes, or in N, C and a length the last one."""
    rank = len(shape)
    images = 1 if rank == 3 else 2
    if rank == 0 or any(axis < rank - images for axis in changed):
        return
    lengths = [shape[axis] if axis >= rank - images and axis >= 0 else 1 for axis in (rank - 2, rank - 1)]
    (row_index, row_weight), (column_index, column_weight) = (
        changed.get(axis, _one_tap(np.arange(length))) for axis, length in zip((rank - 2, rank - 1), lengths))
    taps = row_index.shape[1], column_index.shape[1]
    tables = [table for index, weight in ((row_index, row_weight), (column_index, column_weight))
              for table in (index.astype(np.int32).ravel(), weight.astype(np.float32).ravel())]
    rows, columns = len(row_index), len(column_index)
    sizes = [*lengths, rows, columns, *taps]
    outer, y = prod(shape) // prod(lengths), site.outputs[0]
    absent = [None] * (len(site.inputs) - 1)

    def planes(em: Emitter) -> None:
        em.step("resample_planes", [em.input(0), *map(em.constant, tables), em.output()], sizes, outer * rows, scratch=lengths[1] * 4)

    def channels(em: Emitter) -> None:
        em.step("resample_channels", [em.input(0), *map(em.constant, tables), em.output()], [*sizes, shape[1]], outer // shape[1] * rows)

    down = y.size * lengths[1] / columns * taps[0] if taps[0] > 1 else 0
    yield Lowering("resample_planes", ("NCHW", *absent), "NCHW",
                   costs.STEP + costs.RESAMPLE["down"] * down + costs.RESAMPLE["across"] * y.size * taps[1], planes)
    if len(shape) > 2:
        each = costs.RESAMPLE["pixel"] + costs.RESAMPLE["channels"] * -(-shape[1] // LANES) * LANES * taps[0] * taps[1]
        yield Lowering("resample_channels", ("NHWC", *absent), "NHWC", costs.STEP + each * y.size / shape[1], channels)
