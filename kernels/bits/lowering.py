"""Products of one row of codes with a dense weight of integers, and codes of binary activations (README.md has the kernels' parameters)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import prod

import numpy as np

from ...formats.graph import ActivationQuantization
from ...formats.record import dataclass
from .. import costs
from ..gemm.lowering import row_bias
from ..lowering import Emitter, Layout, Lowering, Ref, Site, f32, lowers
from ..ops._op import DOMAIN, HOW
from ..quantized import LARGEST_SUM, largest_code
from . import signs
from .pack import largest, pack, plan

LONGEST_STEP = 32
"""Columns that a row in scratch is padded by (LONGEST_STEP of rows.h)."""
GIVEN_BY_DATA = -129
"""Zero point that stands for one which Quantize finds."""


@lowers(f"{DOMAIN}Quantize", takes=("float32", "int8"))
def lower_signs(site: Site) -> Iterator[Lowering]:
    """Codes of binary activations, where the floats of a group lie together."""
    x, how = site.inputs[0], site.attrs[HOW]
    if x is None or how.dtype != "binary" or not x.size:
        return
    group = prod(x.shape[{"tensor": 0, "sample": 1, "row": len(x.shape) - 1}[how.granularity]:])
    half = 1 << max(group - 1, 1).bit_length() - 1
    yield Lowering("binarize", ("NCHW",), "NCHW", costs.STEP + costs.INTEGER["quantize"] * x.size, lambda em: em.step(
        "binarize", [em.input(0), em.output(0), em.output(1)], [group], x.size // group, 4 * half), makes=2)


@lowers(f"{DOMAIN}Gemm", f"{DOMAIN}MatMul", takes=("float32", "int8", "uint8"))
def lower_row(site: Site) -> Iterator[Lowering]:
    """One row of codes times a weight, every weight read once."""
    x, attrs = site.inputs[0], site.attrs
    how, second = attrs[HOW]
    if x is None or second is not None or 0 in site.weights or 1 not in site.weights or attrs.get("transA", 0):
        return
    outputs, beta = site.outputs[0].shape[-1], attrs.get("beta", 1.0)
    bias, is_known = (None, True) if beta == 0 else row_bias(site, 2, outputs)
    columns = x.shape[-1]
    if not is_known or len(site.weights[1].shape) != 2 or prod(x.shape) != columns:
        return
    row = _Row(site, how, None if bias is None else bias * np.float32(beta), columns)
    if how.dtype == "binary":
        yield from _counted(row)
    yield from _summed(row)


@dataclass(frozen=True, eq=False)
class _Row:
    """A product of one row. ``bias``: times beta."""

    site: Site
    how: ActivationQuantization
    bias: np.ndarray | None
    columns: int

    @property
    def by_rows(self) -> bool:
        return bool(self.site.attrs.get("transB", 0))

    def scale(self, em: Emitter) -> Ref:
        return em.constant(np.array([self.how.scale], np.float32)) if self.how.kind == "static" else em.input(3)

    def added(self, em: Emitter) -> list[Ref]:
        """Buffers of the bias (not read if there is none) and y."""
        return [em.output() if self.bias is None else em.constant(self.bias), em.output()]

    def finish(self, em: Emitter) -> list[int]:
        return [int(self.bias is not None), f32(self.site.attrs.get("alpha", 1.0)), f32(em.low), f32(em.high)]

    def lowering(self, kernel: str, cost: float, emit: Callable[[Emitter], None], bits: int = 1) -> Lowering:
        inputs: list[Layout | None] = ["NCHW", None, None, "NCHW", "NCHW"]
        cost = costs.STEP + cost * cost_per_weight(kernel, bits, self.site.isa)
        return Lowering(kernel, tuple(inputs[:len(self.site.inputs)]), "NCHW", cost, emit, fuses=True)


def cost_per_weight(kernel: str, bits: int, isa: str) -> float:
    """Nanoseconds."""
    found = costs.BITS["bits_gemv8" if kernel == "bits_gemv" and bits == 8 else kernel]
    return found.get(isa, found["baseline"])


def _summed(row: _Row) -> Iterator[Lowering]:
    """By sums of products of integers."""
    how, tensor = row.how, row.site.weights[1]
    zero = how.zero_point if how.kind == "static" else GIVEN_BY_DATA if how.dtype == "uint8" else 0
    is_unsigned = how.dtype == "uint8"
    layout = plan(tensor, row.by_rows, has_sums=zero != (128 if is_unsigned else 0))
    if layout is None or largest_code(how) * largest(tensor) * row.columns > LARGEST_SUM:
        return

    def emit(em: Emitter) -> None:
        zeros = em.input(4) if zero == GIVEN_BY_DATA else em.output()
        weight = em.weight(1, layout.name, lambda found: pack(found, layout))
        params = [row.columns, layout.outputs, layout.bits, int(is_unsigned), zero, *row.finish(em), *layout.params()]
        em.step("bits_gemv", [em.input(0), row.scale(em), zeros, weight, *row.added(em)], params, layout.panels, row.columns + LONGEST_STEP)

    yield row.lowering("bits_gemv", layout.groups * 16 * row.columns, emit, layout.bits)


def _counted(row: _Row) -> Iterator[Lowering]:
    """Binary activations and weights: by counts of differing signs."""
    layout = signs.plan(row.site.weights[1], row.by_rows)
    if layout is None or row.columns > LARGEST_SUM:
        return

    def emit(em: Emitter) -> None:
        weight = em.weight(1, layout.name, lambda found: signs.pack(found, layout))
        params = [row.columns, layout.outputs, *row.finish(em), layout.scale_at]
        em.step("xnor_gemv", [em.input(0), row.scale(em), weight, *row.added(em)], params, layout.panels, 8 * layout.words)

    yield row.lowering("xnor_gemv", layout.outputs * row.columns, emit)
