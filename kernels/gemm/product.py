"""How a product with a packed matrix becomes a step: which kernel, how it is cut into work items, what it costs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from ...formats.tensor import EncodedTensor
from .. import costs
from ..lowering import Emitter, Layout, Lowering, Ref, Site, f32
from .pack import PANEL, PanelLayout, by_panel, pack

K_BLOCK = 192
"""Columns that are decoded and multiplied at a time: three panels of them are 36 KB, most of an L1 cache."""
MOST_ROWS = 128
"""Rows of a work item: enough to spread decoding thin, few enough for their activations to stay in L2."""
TILE_ROWS, TILE_PANELS = 8, 3
"""What the micro-kernel takes at a time (MR and NP of gemm.cpp, the largest of all ISA levels)."""
ITEMS_PER_THREAD = 4
RUN_BLOCK = 256
"""Runs of gemv_runs whose tables, 64 bytes each, are in use together (Runs::BLOCK of gemv.cpp)."""
FEWEST_PANELS_FOR_RUNS = 8
"""Below this many panels, tabling the activations costs more than it saves."""


@dataclass(frozen=True, eq=False)
class Product:
    """y[rows, groups * outputs] = alpha * x · Wᵀ + bias, W packed in ``layout``.

    ``ldx``: floats from one row (or pixel) of x to the next. ``geometry``: ConvParam of gather.h where the rows are patches
    of an image, None where they lie in x as they are needed. ``scheme``: the layout of x and y.
    """

    layout: PanelLayout
    rows: int
    ldx: int
    bias: np.ndarray | None
    alpha: float = 1.0
    geometry: tuple[int, ...] | None = None
    scheme: Layout = "NCHW"

    @property
    def weights(self) -> int:
        """Weights in the panels, filled-up rows included."""
        return self.layout.panels * PANEL * self.layout.columns


def lowering(site: Site, product: Product) -> Lowering:
    """The way to run it: a matrix-vector kernel for one row, else the tiled product."""
    if product.rows == 1 and product.geometry is None:
        kernel, cost, emit = _vector(product)
    else:
        kernel, cost, emit = _matrix(product, site.threads)
    inputs: tuple[Layout | None, ...] = (product.scheme, *(None,) * (len(site.inputs) - 1))
    slower = costs.SLOWER.get(site.isa, 1.0)
    return Lowering(kernel, inputs, product.scheme, costs.STEP + cost * slower, emit, fuses=True)


Way = tuple[str, float, Callable[[Emitter], None]]


def _vector(product: Product) -> Way:
    layout = product.layout
    runs = layout.bits in (1, 2) and layout.tables == 1 and layout.groups == 1 and layout.panels >= FEWEST_PANELS_FOR_RUNS
    kernel = f"gemv_runs{layout.bits}" if runs else _named("gemv", layout)
    cost = product.weights * costs.GEMM[kernel]
    scratch = RUN_BLOCK * 64 + layout.panels * PANEL * 4 if runs else 0

    def emit(em: Emitter) -> None:
        params = [layout.columns, layout.outputs, layout.groups, *_finish(product, em), *layout.params()]
        em.step(kernel, _buffers(product, em), params, layout.panels, scratch)

    return kernel, cost, emit


def _matrix(product: Product, threads: int) -> Way:
    layout = product.layout
    kernel = _named("gemm", layout)
    k_block = _k_block(layout)
    rows, chunk = _cut(product, threads)
    blocks, per_group = -(-product.rows // rows), layout.panels // layout.groups
    items = blocks * layout.groups * -(-per_group // chunk)
    decoded = TILE_PANELS * k_block * PANEL if layout.kind != "fp32" else 0
    scratch = 4 * (decoded + (rows * k_block if product.geometry else 0))
    cost = product.rows * product.weights * costs.GEMM["gemm"] + costs.GEMM.get(f"decode_{layout.kind}", 0.0) * blocks * product.weights
    if product.geometry:
        cost += costs.GEMM["gather"] * product.rows * layout.columns * layout.groups

    def emit(em: Emitter) -> None:
        params = [product.rows, layout.columns, layout.outputs, layout.groups, product.ldx, layout.groups * layout.outputs,
                  k_block, rows, chunk, *_finish(product, em), int(product.geometry is not None), decoded]
        em.step(kernel, _buffers(product, em), [*params, *layout.params(), *(product.geometry or ())], items, scratch)

    return kernel, cost, emit


def _named(family: str, layout: PanelLayout) -> str:
    return f"{family}_{layout.kind.replace('fp', 'f')}"


def _finish(product: Product, em: Emitter) -> list[int]:
    return [f32(product.alpha), f32(em.low), f32(em.high)]


def _buffers(product: Product, em: Emitter) -> list[Ref]:
    layout = product.layout
    bias = np.zeros(layout.groups * layout.outputs, np.float32) if product.bias is None else product.bias
    weight = em.weight(1, layout.name, partial(_packed, layout=layout))
    return [em.input(0), weight, em.constant(by_panel(bias, layout)), em.output()]


def _packed(tensor: EncodedTensor, layout: PanelLayout) -> np.ndarray:
    return pack(tensor, layout)


def _k_block(layout: PanelLayout) -> int:
    """Columns per pass: passes of nearly equal length, each a whole number of words."""
    passes = -(-layout.columns // K_BLOCK)
    return -(-layout.columns // passes // layout.per_word) * layout.per_word if passes > 1 else layout.columns


def _cut(product: Product, threads: int) -> tuple[int, int]:
    """(rows, panels) of a work item. One thread: as large as the caches like it. More: several items for each of them, cut along
    the panels where x is read in place, so that no weight is decoded twice, else along the rows, so that no patch is copied twice."""
    per_group = product.layout.panels // product.layout.groups
    blocks = -(-product.rows // MOST_ROWS)
    chunks = 1
    wanted = ITEMS_PER_THREAD * threads if threads > 1 else 1
    if blocks * product.layout.groups < wanted:
        missing = -(-wanted // (blocks * product.layout.groups))
        if product.geometry is not None:
            more = min(missing, max(1, -(-product.rows // blocks) // TILE_ROWS))
            blocks, missing = blocks * more, -(-missing // more)
        chunks = min(missing, -(-per_group // TILE_PANELS))
    return -(-product.rows // blocks), -(-per_group // chunks // TILE_PANELS) * TILE_PANELS
