"""Products of one row of codes with a dense weight of integers: Gemm and MatMul (README.md has the kernel's parameters)."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

import numpy as np

from .. import costs
from ..gemm.lowering import row_bias
from ..lowering import Emitter, Layout, Lowering, Site, f32, lowers
from ..ops._integer import DOMAIN, HOW
from ..quantized import LARGEST_SUM, largest_code
from .pack import largest, pack, plan

LONGEST_STEP = 32
"""Columns that a row in scratch is padded by (LONGEST_STEP of rows.h)."""
GIVEN_BY_DATA = -129
"""Zero point that stands for one which Quantize finds."""


@lowers(f"{DOMAIN}Gemm", f"{DOMAIN}MatMul", takes=("float32", "int8", "uint8"))
def lower_row(site: Site) -> Iterator[Lowering]:
    """One row of codes times a weight, every weight read once."""
    x, attrs = site.inputs[0], site.attrs
    how, second = attrs[HOW]
    if x is None or second is not None or 0 in site.weights or 1 not in site.weights or attrs.get("transA", 0):
        return
    tensor, by_rows = site.weights[1], bool(attrs.get("transB", 0))
    zero = how.zero_point if how.kind == "static" else 0 if how.dtype == "int8" else GIVEN_BY_DATA
    is_unsigned = how.dtype == "uint8"
    layout = plan(tensor, by_rows, has_sums=zero != (128 if is_unsigned else 0))
    if layout is None or prod(x.shape) != layout.columns or largest_code(how) * largest(tensor) * layout.columns > LARGEST_SUM:
        return
    beta = attrs.get("beta", 1.0)
    bias, is_known = (None, True) if beta == 0 else row_bias(site, 2, layout.outputs)
    if not is_known:
        return
    params = [layout.columns, layout.outputs, layout.bits, int(is_unsigned), zero, int(bias is not None), f32(attrs.get("alpha", 1.0))]

    def emit(em: Emitter) -> None:
        scale = em.constant(np.array([how.scale], np.float32)) if how.kind == "static" else em.input(3)
        zeros = em.input(4) if zero == GIVEN_BY_DATA else em.output()
        added = em.output() if bias is None else em.constant(bias * np.float32(beta))
        buffers = [em.input(0), scale, zeros, em.weight(1, layout.name, lambda weight: pack(weight, layout)), added, em.output()]
        em.step("bits_gemv", buffers, [*params, f32(em.low), f32(em.high), *layout.sections()[:4]], layout.panels, layout.columns + LONGEST_STEP)

    weights = layout.groups * 16 * layout.columns
    cost = costs.STEP + weights * costs.BITS.get(site.isa, costs.BITS["baseline"])
    inputs: list[Layout | None] = ["NCHW", None, None, "NCHW", "NCHW"]
    yield Lowering("bits_gemv", tuple(inputs[:len(site.inputs)]), "NCHW", cost, emit, fuses=True)
