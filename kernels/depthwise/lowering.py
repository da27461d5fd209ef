"""Depthwise Conv: one filter per channel, channels or columns in lanes, weights in the panels of the gemm family."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from math import prod

import numpy as np

from ...formats.record import dataclass, replace
from .. import costs
from ..gemm.lowering import layouts, row_bias
from ..gemm.pack import PANEL, PanelLayout, Panels
from ..gemm.product import bias_of
from ..isa import ARM_LEVELS
from ..lowering import Band, Emitter, Expands, Layout, Lowering, Planes, Ref, Site, Strips, f32, lowers
from ..ops._window import Window, window

BLOCK_BYTES = 1 << 18
"""Activations that a work item reads, at most (but one row of output at least): they stay in L2 while panel after panel reads them."""
STRIP_BYTES = 20 << 10
"""Rows of one channel that planes.cpp copies to scratch at a time: most of an L1 cache."""
TILE_ROWS = 4
"""Rows that planes.cpp sums together."""
NARROW = 8
"""Columns of an output that narrow.h sums in vectors of so many."""
ITEMS_PER_THREAD = 4
TAPS = ("fp32", "fp16", "codebook")
"""Kinds of weights, as DECODERS of planes.cpp numbers them."""


@dataclass(frozen=True)
class Shape:
    """Lengths of the convolution as depthwise kernels see them: two spatial axes, the first of length 1 if there is one only."""

    batch: int
    channels: int
    size: tuple[int, int]
    out: tuple[int, int]
    kernel: tuple[int, int]
    strides: tuple[int, int]
    pads: tuple[int, int]
    dilations: tuple[int, int]

    @staticmethod
    def of(shape: tuple[int, ...], win: Window) -> Shape:
        def pair(axis: tuple[int, ...], missing: int) -> tuple[int, int]:
            first, second = (*(missing,) * (2 - len(axis)), *axis)
            return first, second

        return Shape(shape[0], shape[1], pair(shape[2:], 1), pair(win.out, 1), pair(win.kernel, 1), pair(win.strides, 1), pair(win.begin, 0),
                     pair(win.dilations, 1))

    @property
    def rolls(self) -> bool:
        """As rolling.h says: 3 × 3, at most one row of padding on each side."""
        outside = [(out - 1) * stride - pad + 2 > size for out, stride, pad, size in zip(self.out, self.strides, self.pads, self.size)]
        return (self.kernel == (3, 3) and self.dilations == (1, 1) and self.strides in ((1, 1), (2, 2)) and max(self.pads) <= 1 and not any(outside))

    def params(self, cut: Cut) -> list[int]:
        """Param of taps.h up to LOW."""
        lengths = [self.channels, *self.size, *self.out, *self.kernel, *self.strides, *self.pads, *self.dilations]
        return [*lengths, cut.rows, cut.chunk, cut.strip, cut.pitch]


@dataclass(frozen=True)
class Cut:
    """Rows of output and panels of a work item; of planes the rows that are done together, and the floats of a row in scratch."""

    rows: int
    chunk: int
    strip: int = 0
    pitch: int = 0


@lowers("Conv")
def lower_depthwise(site: Site) -> Iterator[Lowering]:
    x, tensor = site.inputs[0], site.weights.get(1)
    if x is None or 0 in site.weights or tensor is None or len(x.shape) not in (3, 4):
        return
    if site.attrs["group"] != x.shape[1] or tensor.shape[:2] != (x.shape[1], 1):
        return
    bias, known = row_bias(site, 2, x.shape[1])
    for layout in layouts(tensor, 1, "conv") if known else ():
        shape = Shape.of(x.shape, window("Conv", site.attrs, x.shape[2:], tensor.shape[2:]))
        yield _channels(site, layout, bias, shape)
        if isinstance(layout, PanelLayout):
            yield _planes(site, layout, bias, shape)


def _channels(site: Site, layout: Panels, bias: np.ndarray | None, shape: Shape) -> Lowering:
    """Channels in lanes: NHWC."""
    cut = _cut_rows(shape, layout.panels, site.threads)
    rolled = shape.rolls and site.isa != "baseline"  # as fast on NEON, which sums each row anew with its edges known (rows_neon.h)
    taps = costs.DEPTHWISE["rolled" if rolled else "tap"] * layout.panels * PANEL
    option = _lowering(site, "depthwise", "NHWC", layout, bias, shape, cut, taps * shape.out[1], 0)
    return replace(option, strips=_strips(layout, bias, shape))


def _strips(layout: Panels, bias: np.ndarray | None, shape: Shape) -> Strips | None:
    stride, pad = shape.strides[0], shape.pads[0]
    reach = (shape.kernel[0] - 1) * shape.dilations[0] + 1

    def needs(first: int, last: int) -> tuple[int, int]:
        return max(0, first * stride - pad), min(shape.size[0], (last - 1) * stride - pad + reach)

    @cache
    def part(rows: int, read: int, above: int) -> tuple[Shape, Cut]:
        found = replace(shape, size=(read, shape.size[1]), out=(rows, shape.out[1]), pads=(above, shape.pads[1]))
        return found, _cut_rows(found, layout.panels, 1)

    def emit(em: Emitter, x: Ref, x0: int, y: Ref, first: int, last: int) -> None:
        top, bottom = needs(first, last)
        own, cut = part(last - first, bottom - top, top - first * stride + pad)
        _step(em, "depthwise", layout, bias, own, cut, x.plus((top - x0) * shape.size[1] * shape.channels * 4), y, 0)

    every_row_reads = pad < reach and (shape.out[0] - 1) * stride - pad < shape.size[0]
    return Strips(needs, emit) if shape.batch == 1 and every_row_reads else None


def _planes(site: Site, layout: PanelLayout, bias: np.ndarray | None, shape: Shape) -> Lowering:
    """Columns in lanes: NCHW."""
    cut = _cut_planes(shape, site.threads)
    lanes = NARROW if shape.out[1] <= NARROW and site.isa.startswith("avx") else -(-shape.out[1] // PANEL) * PANEL
    rolled = "rolled on NEON" if site.isa in ARM_LEVELS else "rolled"
    taps = costs.DEPTHWISE[rolled if shape.rolls and shape.out[1] >= PANEL else "tap"] * shape.channels * lanes
    option = _lowering(site, "depthwise_planes", "NCHW", layout, bias, shape, cut, taps, 4 * _strip_floats(shape, cut))
    def rows(bands: int) -> int:
        return _cut_planes(shape, bands).rows

    def emit(em: Emitter, planes: Planes, band: Band | None) -> None:
        _expanded(em, planes, layout, bias, shape, _cut_planes(shape, band.count if band else site.threads), band)

    return replace(option, expands=Expands(rows, emit))


def _expanded(em: Emitter, planes: Planes, layout: PanelLayout, bias: np.ndarray | None, shape: Shape, cut: Cut, band: Band | None) -> None:
    """One step that makes its input's planes itself, some channels of a panel at a time."""
    floats = prod(shape.size)
    reach = (cut.strip - 1) * shape.strides[0] + (shape.kernel[0] - 1) * shape.dilations[0] + 1
    plane = -(-min(reach, shape.size[0]) * shape.size[1] // PANEL) * PANEL + 2 * PANEL
    together = min(PANEL, max(1, STRIP_BYTES // (4 * plane)))
    copy = 0 if floats % PANEL == 0 else -(-floats // PANEL) * PANEL
    x, *rest = planes.buffers
    buffers = [x, em.weight(1, layout.name, layout.pack), bias_of(em, bias, layout), band.y if band else em.output(), *rest]
    chunks = -(-layout.panels // cut.chunk)
    part = [band.index * chunks, band.pitch, band.index * cut.rows] if band else [0, prod(shape.out), 0]
    params = [*shape.params(cut), f32(em.low), f32(em.high), *layout.params(), floats, copy, together, plane, TAPS.index(layout.kind),
              f32(planes.low), f32(planes.high), *part]
    scratch = layout.columns * PANEL + _strip_floats(shape, cut) + together * plane + planes.columns * copy
    items = chunks if band else shape.batch * -(-shape.out[0] // cut.rows) * chunks
    em.step(f"depthwise_expanded_{planes.kind}", buffers, params, items, 4 * scratch)


def _lowering(site: Site, family: str, scheme: Layout, layout: Panels, bias: np.ndarray | None, shape: Shape, cut: Cut, row_cost: float,
              scratch: int) -> Lowering:
    """``row_cost``: nanoseconds of a tap for one row of the output; ``scratch``: bytes besides the decoded taps."""
    moved = shape.batch * shape.channels * (prod(shape.size) + prod(shape.out))
    computed = shape.batch * shape.out[0] * layout.columns * row_cost * costs.SLOWER.get(site.isa, 1.0)
    cost = costs.STEP + computed + moved * costs.DEPTHWISE["float"]
    return Lowering(_named(family, layout), (scheme, *(None,) * (len(site.inputs) - 1)), scheme, cost,
                    lambda em: _step(em, family, layout, bias, shape, cut, em.input(0), em.output(), scratch), fuses=True)


def _step(em: Emitter, family: str, layout: Panels, bias: np.ndarray | None, shape: Shape, cut: Cut, x: Ref, y: Ref, scratch: int) -> None:
    items = shape.batch * -(-shape.out[0] // cut.rows) * -(-layout.panels // cut.chunk)
    params = [*shape.params(cut), f32(em.low), f32(em.high), *layout.params()]
    buffers = [x, em.weight(1, layout.name, layout.pack), bias_of(em, bias, layout), y]
    em.step(_named(family, layout), buffers, params, items, layout.columns * PANEL * 4 + scratch)


def _named(family: str, layout: Panels) -> str:
    return f"{family}_{layout.kind.replace('fp', 'f')}"


def _cut_rows(shape: Shape, panels: int, threads: int) -> Cut:
    row_bytes = shape.size[1] * shape.channels * 4 * shape.strides[0]  # activations read per row of output
    blocks = -(-shape.out[0] // max(1, BLOCK_BYTES // row_bytes))
    chunks = 1
    if threads > 1 and shape.batch * blocks < ITEMS_PER_THREAD * threads:
        chunks = min(panels, -(-ITEMS_PER_THREAD * threads // (shape.batch * blocks)))
    return Cut(-(-shape.out[0] // blocks), -(-panels // chunks))


def _cut_planes(shape: Shape, threads: int) -> Cut:
    """Work items are panels; of one image for several threads, panels of a band of its rows each: sparse products before and after it are cut by
    positions, too, and a thread reads what it wrote."""
    bands = threads if shape.batch % threads else 1
    rows = -(-shape.out[0] // bands)
    rows = rows if shape.rolls else _whole_tiles(rows)
    reach = (shape.kernel[1] - 1) * shape.dilations[1] // shape.strides[1]
    spare = PANEL - 1 if shape.strides[1] == 1 else PANEL + shape.pads[1]  # Strip::shift; what Strip::halve writes past a row's end
    pitch = -(-(spare + max(shape.out[1], PANEL) + reach) // PANEL) * PANEL
    held = STRIP_BYTES // (4 * pitch * shape.strides[1])
    strip = max(TILE_ROWS, (held - (shape.kernel[0] - 1) * shape.dilations[0] - 1) // shape.strides[0] + 1)
    strips = -(-rows // strip)
    return Cut(rows, 1, min(rows, _whole_tiles(-(-rows // strips))), pitch)


def _whole_tiles(rows: int) -> int:
    return -(-rows // TILE_ROWS) * TILE_ROWS


def _strip_floats(shape: Shape, cut: Cut) -> int:
    height = (cut.strip - 1) * shape.strides[0] + (shape.kernel[0] - 1) * shape.dilations[0] + 1
    return height * shape.strides[1] * cut.pitch
