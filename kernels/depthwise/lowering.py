"""Depthwise Conv: one filter per channel, channels in lanes, weights in the panels of the gemm family."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from .. import costs
from ..gemm.lowering import layouts, row_bias
from ..gemm.pack import PANEL, Panels
from ..gemm.product import bias_of
from ..lowering import Emitter, Lowering, Site, f32, lowers
from ..ops._window import Window, window

BLOCK_BYTES = 1 << 18
"""Activations that a work item reads, at most (but one row of output at least): they stay in L2 while panel after panel reads them."""
ITEMS_PER_THREAD = 4


@lowers("Conv")
def lower_depthwise(site: Site) -> Iterator[Lowering]:
    x, tensor = site.inputs[0], site.weights.get(1)
    if x is None or 0 in site.weights or tensor is None or len(x.shape) not in (3, 4):
        return
    if site.attrs["group"] != x.shape[1] or tensor.shape[:2] != (x.shape[1], 1):
        return
    bias, known = row_bias(site, 2, x.shape[1])
    for layout in layouts(tensor, 1, "conv") if known else ():
        yield _lowering(site, layout, bias, x.shape, window("Conv", site.attrs, x.shape[2:], tensor.shape[2:]))


def _lowering(site: Site, layout: Panels, bias: np.ndarray | None, shape: tuple[int, ...], win: Window) -> Lowering:
    batch, channels, *spatial = shape
    missing = (1,) * (2 - len(spatial))
    height, width = (*missing, *spatial)
    out_height, out_width = (*missing, *win.out)
    kernel, strides, dilations = ((*missing, *axis) for axis in (win.kernel, win.strides, win.dilations))
    pads = (*(0,) * len(missing), *win.begin)
    rows, chunk = _cut(batch, out_height, width * channels * 4 * strides[0], layout.panels, site.threads)
    items = batch * -(-out_height // rows) * -(-layout.panels // chunk)
    name = f"depthwise_{layout.kind.replace('fp', 'f')}"

    def emit(em: Emitter) -> None:
        params = [channels, height, width, out_height, out_width, *kernel, *strides, *pads, *dilations, rows, chunk,
                  f32(em.low), f32(em.high), *layout.params()]
        weight = em.weight(1, layout.name, layout.pack)
        em.step(name, [em.input(0), weight, bias_of(em, bias, layout), em.output()], params, items, scratch=layout.columns * PANEL * 4)

    outputs = batch * out_height * out_width * layout.panels * PANEL
    moved = batch * height * width * channels + outputs
    cost = costs.STEP + outputs * layout.columns * costs.DEPTHWISE["tap"] * costs.SLOWER.get(site.isa, 1.0) + moved * costs.DEPTHWISE["float"]
    return Lowering(name, ("NHWC", *(None,) * (len(site.inputs) - 1)), "NHWC", cost, emit, fuses=True)


def _cut(batch: int, out_height: int, row_bytes: int, panels: int, threads: int) -> tuple[int, int]:
    """(rows of output, panels) of a work item; ``row_bytes``: activations read per row of output."""
    blocks = -(-out_height // max(1, BLOCK_BYTES // row_bytes))
    chunks = 1
    if threads > 1 and batch * blocks < ITEMS_PER_THREAD * threads:
        chunks = min(panels, -(-ITEMS_PER_THREAD * threads // (batch * blocks)))
    return -(-out_height // blocks), -(-panels // chunks)
