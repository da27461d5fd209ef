"""Resize of the last two axes of an image (the last one of a line), by whatever taps the operator's own rules give."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

import numpy as np

from .. import costs
from ..lowering import Emitter, Lowering, Site, lowers
from ..ops._resize import Stretch, numbers, stretches

LANES = 16
"""Floats of the widest vector."""


@lowers("Resize")
def lower_resize(site: Site) -> Iterator[Lowering]:
    x, known = site.inputs[0], [site.constant(i) for i in (1, 2, 3)]
    there = [i < len(site.inputs) and (kind := site.inputs[i]) is not None and kind.size > 0 for i in (1, 2, 3)]
    if x is None or x.dtype != "float32" or any(here and value is None for here, value in zip(there, known)):
        return
    rank = len(x.shape)
    changed = {axis: found for axis, found in stretches("Resize", site.attrs, x.shape, *numbers(*known)).items() if not found.same}
    images = 2 if rank != 3 else 1  # axes that may change: the last two, but of N, C and a length only the last
    if rank == 0 or site.attrs["coordinate_transformation_mode"] == "tf_crop_and_resize" or any(axis < rank - images for axis in changed):
        return
    spatial = ([1] * (2 - images) + [*x.shape[-images:]])[-2:]
    row, column = (changed.get(axis, Stretch(length, length, 1.0)) for axis, length in zip((rank - images if images > 1 else -1, rank - 1), spatial))
    yield from _resample(site, row, column, x.shape)


def _resample(site: Site, row: Stretch, column: Stretch, shape: tuple[int, ...]) -> Iterator[Lowering]:
    (row_index, row_weight), (column_index, column_weight) = (stretch.taps(site.attrs) for stretch in (row, column))
    taps = row_index.shape[1], column_index.shape[1]
    tables = [table for index, weight in ((row_index, row_weight), (column_index, column_weight))
              for table in (index.astype(np.int32).ravel(), weight.astype(np.float32).ravel())]
    sizes = [row.length, column.length, row.new, column.new, *taps]
    outer, y = prod(shape) // (row.length * column.length), site.outputs[0]
    absent = [None] * (len(site.inputs) - 1)

    def planes(em: Emitter) -> None:
        em.step("resample_planes", [em.input(0), *map(em.constant, tables), em.output()], sizes, outer * row.new, scratch=column.length * 4)

    def channels(em: Emitter) -> None:
        em.step("resample_channels", [em.input(0), *map(em.constant, tables), em.output()], [*sizes, shape[1]], outer // shape[1] * row.new)

    down = y.size * column.length / max(column.new, 1) * taps[0] if taps[0] > 1 else 0
    yield Lowering("resample_planes", ("NCHW", *absent), "NCHW",
                   costs.STEP + costs.RESAMPLE["down"] * down + costs.RESAMPLE["across"] * y.size * taps[1], planes)
    if len(shape) > 2:
        each = costs.RESAMPLE["pixel"] + costs.RESAMPLE["channels"] * -(-shape[1] // LANES) * LANES * taps[0] * taps[1]
        yield Lowering("resample_channels", ("NHWC", *absent), "NHWC", costs.STEP + each * y.size / shape[1], channels)
