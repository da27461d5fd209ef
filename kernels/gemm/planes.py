"""Convolutions of few NCHW channels into NHWC or NCHW (conv_planes.cpp): the first layer, with no reorder before it and nothing gathered."""

from __future__ import annotations

import numpy as np

from .. import costs
from ..lowering import Emitter, Layout, Lowering, Ref, Site, Strips, f32
from ..ops._window import Window
from .pack import PANEL, PanelLayout
from .product import ITEMS_PER_THREAD, bias_of

STRIP_BYTES = 24 << 10
"""What a work item copies to scratch, at most (but one row of output at least)."""
MOST_BYTES = 64 << 10
"""With more for one row of output, rows that are gathered are faster."""
STRIDES = (1, 2)
"""Between columns, which the kernel knows."""
KEPT_BYTES = 64 << 10
"""Up to which all panels are decoded before the first strip; of more, some are for each strip."""
PIXELS = {"avx512vnni": 14, "avx512": 14, "baseline": 3}
"""Of a row that are computed at a time, 6 at other levels; FEW where a row has fewer (both as in conv_planes.cpp)."""
FEW = 4
TILE_PANELS = 2
"""NP of conv_planes.cpp, the largest of all ISA levels."""


def conv_planes(site: Site, layout: PanelLayout, bias: np.ndarray | None, win: Window, makes: Layout) -> Lowering | None:
    """The lowering, or None where the kernel cannot run the convolution, or had better not."""
    x = site.inputs[0]
    assert x is not None
    if len(x.shape) != 4 or layout.groups != 1 or win.strides[1] not in STRIDES:
        return None
    batch, channels, height, width = x.shape
    pitch = (win.out[1] - 1) * win.strides[1] + (win.kernel[1] - 1) * win.dilations[1] + 1
    reach = (win.kernel[0] - 1) * win.dilations[0] + 1
    lanes = makes == "NCHW"
    if lanes:  # a row for each remainder of the columns; vectors go past the end
        pitch = -(-win.out[1] // PANEL) * PANEL + -(-pitch // win.strides[1]) - win.out[1] + 1
    row_floats = pitch * win.strides[1] if lanes else pitch
    row_bytes = 4 * channels * row_floats
    if row_bytes * reach > MOST_BYTES:
        return None
    most = min(max(1, (STRIP_BYTES // row_bytes - reach) // win.strides[0] + 1), win.out[0])
    rows = min(most, -(-batch * win.out[0] // (ITEMS_PER_THREAD * site.threads))) if site.threads > 1 else most
    if lanes:
        rows = _even(rows, win.out[0], site.threads)
    strip = channels * ((rows - 1) * win.strides[0] + reach) * row_floats
    offsets_at = strip + strip % 2
    decoded_at = -(-(offsets_at + 2 * layout.columns) // PANEL) * PANEL
    weights = layout.panels * PANEL * layout.columns
    kept = 4 * weights <= KEPT_BYTES
    decoded = 0 if layout.kind == "fp32" else weights if kept else TILE_PANELS * layout.columns * PANEL
    name = f"conv_planes_{layout.kind.replace('fp', 'f')}"

    def write(em: Emitter, x: Ref, y: Ref, first: int, last: int) -> None:
        begin = win.begin[0] - first * win.strides[0]
        params = [channels, height, width, last - first, win.out[1], layout.outputs, *win.kernel, *win.strides, begin, win.begin[1], *win.dilations,
                  rows, pitch, int(lanes), offsets_at, decoded_at, int(kept), f32(em.low), f32(em.high), *layout.params()]
        weight = em.weight(1, layout.name, layout.pack)
        items = batch * -(-(last - first) // rows)
        em.step(name, [x, weight, bias_of(em, bias, layout), y], params, items, 4 * (decoded_at + decoded))

    strips = Strips(lambda first, last: (0, height), lambda em, x, x0, y, first, last: write(em, x, y, first, last), whole=True)
    # That of one thread's strips, so that the choice of kernels, and with it the last bits, do not depend on the number of threads.
    items = batch * -(-win.out[0] // most)
    each = costs.GEMM["read_planes"] * items if layout.kind == "fp32" else costs.GEMM[f"read_{layout.kind}"] * (1 if kept else items)
    across = -(-win.out[1] // PANEL) * PANEL if lanes else _whole_tiles(win.out[1], PIXELS.get(site.isa, 6))
    pixels = batch * win.out[0] * across
    computed = weights * (pixels * costs.GEMM["gemm"] + each) * costs.SLOWER.get(site.isa, 1.0)
    copied = items * channels * ((most - 1) * win.strides[0] + reach) * row_floats * costs.GEMM["gather"]
    return Lowering(name, ("NCHW", *(None,) * (len(site.inputs) - 1)), makes, costs.STEP + computed + copied,
                    lambda em: write(em, em.input(0), em.output(), 0, win.out[0]), fuses=True, strips=strips if batch == 1 and not lanes else None)


def _even(rows: int, total: int, threads: int) -> int:
    """At most so many rows, so that threads make as many of them each, if half as many would do."""
    return next((each for each in range(rows, rows // 2, -1) if total % (each * threads) == 0), rows)


def _whole_tiles(width: int, most: int) -> int:
    """The pixels that are computed for a row, some of them twice."""
    tile = next(size for size in (most, min(FEW, most), 1) if width >= size)
    return -(-width // tile) * tile
