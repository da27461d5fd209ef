"""ConvTranspose in NHWC: one product makes what every tap of every pixel adds, ``fold`` adds it up where it falls (README.md)."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

import numpy as np

from .. import costs
from ..gemm.lowering import every_layout, row_bias
from ..gemm.pack import by_panel
from ..gemm.product import Product, way_of
from ..lowering import Emitter, Lowering, Site, f32, lowers
from ..ops.conv_transpose import geometry
from .matrix import Unfolded


@lowers("ConvTranspose")
def lower_conv_transpose(site: Site) -> Iterator[Lowering]:
    x = site.inputs[0]
    if x is None or 0 in site.weights or 1 not in site.weights or len(x.shape) > 5:
        return
    weight, groups = site.weights[1], site.attrs["group"]
    unfolded = Unfolded(weight.shape, groups)
    outline = unfolded.outline(weight)
    channels = weight.shape[1] * groups
    bias, known = row_bias(site, 2, channels)
    if outline is None or not known:
        return
    win, out = geometry("ConvTranspose", site.attrs, x.shape[2:], weight.shape[2:])
    rows, missing = x.shape[0] * prod(x.shape[2:]), 5 - len(x.shape)
    axes = ((x.shape[2:], 1), (out, 1), (win.kernel, 1), (win.strides, 1), (win.begin, 0), (win.dilations, 1))
    places = [n for axis, fill in axes for n in (*(fill,) * missing, *axis)]
    shifts = np.zeros(channels, np.float32) if bias is None else bias
    size = rows * unfolded.matrix_shape[1]
    for layout in every_layout(outline, groups, "columns"):
        way = way_of(Product(layout, rows, x.shape[1], None, scheme="NHWC", clamps=False), site.threads, site.isa)

        def emit(em: Emitter, layout=layout, way=way) -> None:  # type: ignore[no-untyped-def]
            columns = em.temporary(4 * size)
            packed = em.weight(1, f"{layout.name} of taps", lambda tensor: layout.pack(unfolded.of(tensor)))
            way.emit(em, [em.input(0), packed, em.constant(by_panel(np.zeros(unfolded.matrix_shape[1], np.float32), layout)), columns])
            em.step("fold", [columns, em.constant(shifts), em.output()],
                    [channels, groups, f32(em.low), f32(em.high), *places], x.shape[0] * prod(out[:-1]))

        cost = way.cost + costs.STEP + costs.FOLD["float"] * size
        yield Lowering(way.kernel, ("NHWC", *(None,) * (len(site.inputs) - 1)), "NHWC", cost, emit, fuses=True)
