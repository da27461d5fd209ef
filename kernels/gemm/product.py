"""How a product with a packed matrix becomes a step: which kernel, how it is cut into work items, what it costs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from math import prod
from typing import TYPE_CHECKING, cast

import numpy as np

from ...formats.record import dataclass, replace
from .. import costs
from ..lowering import Emitter, Layout, Lowering, Ref, Site, Strips, f32
from .pack import PANEL, PanelLayout, Panels, by_panel

if TYPE_CHECKING:
    from .tiles import TileLayout

K_BLOCK = 192
"""Columns that are decoded and multiplied at a time: three panels of them are 36 KB, most of an L1 cache."""
MOST_ROWS = 128
"""Rows of a work item: enough to spread decoding thin, few enough for their activations to stay in L2."""
TILE_ROWS, TILE_PANELS = 8, 3
"""What the micro-kernel takes at a time (MR and NP of gemm.cpp, the largest of all ISA levels)."""
ITEMS_PER_THREAD = 4
CHUNK_PANELS = 2
"""Panels of a work item, at least: fewer leave the micro-kernel waiting for its own sums."""
RUN_BLOCK = 1024
"""Most runs of gemv_runs whose tables, 64 bytes each, are in use together (Runs::BLOCK of runs.cpp)."""
MOST_FEW_ROWS, MOST_BITS = 32, 6
"""Rows, and bits of an index, up to which weights may be looked up in registers for each block of TILE_ROWS rows (few.cpp)."""
GATHERED_ROWS, PAIRED_BITS = 4, 5
"""The same where 6 bits are gathered (AVX2), whose rows are then those of one block, and where pairs of entries lie in memory."""
MOST_BITS_IN_LANES = 5
"""Bits of an index; more are looked up by bytes where the CPU can (bytes.h)."""
FEWEST_PANELS_FOR_RUNS = 8
"""Below this many panels, tabling the activations costs more than it saves."""


@dataclass(frozen=True, eq=False)
class Product:
    """y[rows, groups * outputs] = alpha * x · Wᵀ + beta * bias, W packed in ``layout``.

    ``ldx``: floats from one row (or pixel) of x to the next. ``geometry``: ConvParam of gather.h where the rows are patches
    of an image, None where they lie in x as they are needed. ``scheme``: the layout of x and y. ``clamps``: y is what the node makes,
    so that a fused activation's bounds hold for it. ``backwards``: one row starts with the last weights: in a chain of products with the same
    matrix that the cache does not quite hold, every other one should, to find there what the one before has read last.
    """

    layout: Panels
    rows: int
    ldx: int
    bias: np.ndarray | None
    alpha: float = 1.0
    beta: float = 1.0
    geometry: tuple[int, ...] | None = None
    scheme: Layout = "NCHW"
    clamps: bool = True
    backwards: bool = False

    @property
    def weights(self) -> int:
        """Weights in the panels, filled-up rows included."""
        return self.layout.panels * PANEL * self.layout.columns


def lowering(site: Site, product: Product) -> Lowering:
    """The way to run a node that is this product, of its inputs 0 and 1."""
    way = way_of(product, site.threads, site.isa)
    inputs: tuple[Layout | None, ...] = (product.scheme, *(None,) * (len(site.inputs) - 1))

    def emit(em: Emitter) -> None:
        way.emit(em, _buffers(product, em, em.input(0), em.output()))

    return Lowering(way.kernel, inputs, product.scheme, way.cost, emit, fuses=True, strips=_strips(site, product))


def _strips(site: Site, product: Product) -> Strips | None:
    """Of a convolution whose pixels are rows of the product."""
    shape = site.outputs[0].shape
    if product.scheme != "NHWC" or product.geometry is not None or len(shape) < 4 or product.rows != prod(shape[2:]):
        return None
    pixels = prod(shape[3:])

    @cache
    def way(rows: int) -> Way:
        # Always tiles: a kernel that is chosen by the rows of a strip would have the last bits depend on how high strips are, and so on threads.
        return _matrix(replace(product, rows=rows * pixels), 1)

    def emit(em: Emitter, x: Ref, x0: int, y: Ref, first: int, last: int) -> None:
        way(last - first).emit(em, _buffers(product, em, x.plus((first - x0) * pixels * product.ldx * 4), y))

    return Strips(lambda first, last: (first, last), emit)


@dataclass(frozen=True, eq=False)
class Way:
    """How to run a product. ``emit`` writes the step, given the buffers x, packed weight, bias by panel, y. ``cost``: nanoseconds."""

    kernel: str
    cost: float
    emit: Callable[[Emitter, list[Ref]], None]


def way_of(product: Product, threads: int, isa: str) -> Way:
    """A matrix-vector kernel for one row, else the tiled product."""
    layout = product.layout
    if product.rows == 1 and product.geometry is None and isinstance(layout, PanelLayout):
        way = _vector(product, layout, isa)
    elif product.rows == 1 and product.geometry is None and layout.kind == "tiles" and cast("TileLayout", layout).is_grid:
        way = _grid(product, cast("TileLayout", layout), isa)
    else:
        way = min([_matrix(product, threads), *_few(product, isa)], key=lambda found: found.cost)
        way = replace(way, cost=way.cost * costs.SLOWER.get(isa, 1.0))
    return replace(way, cost=costs.STEP + way.cost)


def lower_activations(site: Site, a: tuple[int, ...], b: tuple[int, ...]) -> Lowering:
    """MatMul of two activations, [batch…, M, K] by [batch…, K, N] with broadcast batches: one step per pair of matrices."""
    (rows, columns), outputs = a[-2:], b[-1]
    layout = PanelLayout("rows", "rows", 1, outputs, columns, "columns")
    batch = np.broadcast_shapes(a[:-2], b[:-2])
    pairs = [np.broadcast_to(np.arange(prod(shape[:-2])).reshape(shape[:-2]), batch).ravel() for shape in (a, b)]
    product = Product(layout, rows, columns, None)
    cut = Cut.of(product, site.threads)

    def emit(em: Emitter) -> None:
        bias = em.constant(by_panel(np.zeros(outputs, np.float32), layout))
        params = [*cut.params(product, em), outputs, PANEL * 4, 0, 1, 0, 0]
        for i, (left, right) in enumerate(zip(*pairs)):
            buffers = [em.input(0).plus(4 * int(left) * rows * columns), em.input(1).plus(4 * int(right) * columns * outputs), bias,
                       em.output().plus(4 * i * rows * outputs)]
            em.step("gemm_rows", buffers, params, cut.items, cut.scratch)

    cost = len(pairs[0]) * (costs.STEP + _cost(product, cut) * costs.SLOWER.get(site.isa, 1.0))
    return Lowering("gemm_rows", ("NCHW", "NCHW"), "NCHW", cost, emit, fuses=True)


def _vector(product: Product, layout: PanelLayout, isa: str) -> Way:
    runs = layout.bits in (1, 2) and layout.tables == 1 and layout.groups == 1 and layout.panels >= FEWEST_PANELS_FOR_RUNS
    kernel = f"gemv_runs{layout.bits}" if runs else _named("gemv", layout)
    cost = product.weights * _cost_per_weight(f"{kernel}{layout.bits}" if kernel == "gemv_codebook" else kernel, isa)
    scratch = RUN_BLOCK * 64 + layout.panels * PANEL * 4 if runs else 0
    if isa == "avx512vnni" and layout.bits > MOST_BITS_IN_LANES:
        scratch = -(-layout.columns // layout.per_word) * layout.per_word * 4  # x in another order

    def emit(em: Emitter, buffers: list[Ref]) -> None:
        params = [layout.columns, layout.outputs, layout.groups, *_finish(product, em), int(product.backwards), *layout.params()]
        em.step(kernel, buffers, params, layout.panels, scratch)

    return Way(kernel, cost, emit)


def _cost_per_weight(kernel: str, isa: str) -> float:
    return costs.GEMV_AVX2[kernel] if isa == "avx2" else costs.GEMM[kernel] * costs.SLOWER.get(isa, 1.0)


def _grid(product: Product, layout: TileLayout, isa: str) -> Way:
    """Affine codes whose scales may change along a row."""
    def emit(em: Emitter, buffers: list[Ref]) -> None:
        em.step("gemv_affine", buffers, [layout.columns, layout.outputs, layout.groups, *_finish(product, em), 0, *layout.params()], layout.panels)

    per_weight = _cost_per_weight("gemv_affine" if layout.kept == 1.0 else "gemv_affine in windows", isa)
    return Way("gemv_affine", product.weights * layout.kept * per_weight, emit)


def _few(product: Product, isa: str) -> Iterator[Way]:
    """Rows that share what is looked up: in registers or, where these hold no floats, in pairs of entries, if so many weights are worth them."""
    layout = product.layout
    if not isinstance(layout, PanelLayout) or product.geometry is not None or layout.groups > 1 or layout.own_tables:
        return
    if layout.kind != "codebook" or layout.bits > MOST_BITS or product.rows > MOST_FEW_ROWS:
        return
    if isa == "avx2" and layout.bits == MOST_BITS and product.rows > GATHERED_ROWS:
        return
    if not isa.startswith("avx") and (layout.bits > PAIRED_BITS or product.weights < layout.tables * 4 << 2 * layout.bits):
        return

    def emit(em: Emitter, buffers: list[Ref]) -> None:
        params = [product.rows, layout.columns, layout.outputs, product.ldx, *_finish(product, em), *layout.params()]
        em.step("few_codebook", buffers, params, layout.panels)

    each = product.rows * costs.GEMM["few"] + -(-product.rows // TILE_ROWS) * costs.GEMM["look_up"]
    yield Way("few_codebook", product.weights * each, emit)


def _matrix(product: Product, threads: int) -> Way:
    cut = Cut.of(product, threads)
    kernel = _named("gemm", product.layout)

    def emit(em: Emitter, buffers: list[Ref]) -> None:
        params = [*cut.params(product, em), *product.layout.params(), *(product.geometry or ())]
        em.step(kernel, buffers, params, cut.items, cut.scratch)

    # The cost of one thread's cut, so that the choice of kernels, and with it the last bits, do not depend on the number of threads.
    return Way(kernel, _cost(product, cut if threads == 1 else Cut.of(product, 1)), emit)


@dataclass(frozen=True)
class Cut:
    """A product in ``blocks`` of ``rows`` rows × ``chunks`` of each group's panels, ``k_block`` columns at a time; ``decoded``: floats
    of panels in scratch, ``scratch``: bytes of it."""

    rows: int
    chunks: int
    k_block: int
    blocks: int
    items: int
    decoded: int
    scratch: int

    @staticmethod
    def of(product: Product, threads: int) -> Cut:
        layout = product.layout
        k_block, (blocks, chunks) = _k_block(layout), _blocks_and_chunks(product, threads)
        rows = -(-product.rows // blocks)
        blocks = -(-product.rows // rows)
        decoded = _decoded(layout, k_block, chunks) if layout.kind != "fp32" else 0
        scratch = 4 * (decoded + (rows * k_block if product.geometry else 0))
        return Cut(rows, chunks, k_block, blocks, blocks * layout.groups * chunks, decoded, scratch)

    def params(self, product: Product, em: Emitter) -> list[int]:
        """Param of gemm.cpp up to PackedParam."""
        layout = product.layout
        return [product.rows, layout.columns, layout.outputs, layout.groups, product.ldx, layout.groups * layout.outputs,
                self.k_block, self.rows, self.chunks, *_finish(product, em), int(product.geometry is not None), self.decoded, layout.taps]


def _cost(product: Product, cut: Cut) -> float:
    layout = product.layout
    cost = product.rows * product.weights * costs.GEMM["gemm"] + cut.blocks * product.weights * costs.GEMM[f"read_{layout.kind}"]
    return cost + (costs.GEMM["gather"] * product.rows * layout.columns * layout.groups if product.geometry else 0.0)


def _named(family: str, layout: Panels) -> str:
    return f"{family}_{layout.kind.replace('fp', 'f')}"


def _finish(product: Product, em: Emitter) -> list[int]:
    low, high = (em.low, em.high) if product.clamps else (-np.inf, np.inf)
    return [f32(product.alpha), f32(low), f32(high)]


def _buffers(product: Product, em: Emitter, x: Ref, y: Ref) -> list[Ref]:
    layout = product.layout
    bias = bias_of(em, product.bias, layout, product.beta)
    return [x, em.weight(1, layout.name, layout.pack), bias, y]


def bias_of(em: Emitter, bias: np.ndarray | None, layout: Panels, beta: float = 1.0) -> Ref:
    """The node's input 2, times ``beta``, with a value per row of the panels; zeros if there is none. Shared between plans, as weights are."""
    outputs = layout.groups * layout.outputs
    if bias is None:
        return em.constant(by_panel(np.zeros(outputs, np.float32), layout))
    name = f"panel16 fp32 bias of {layout.groups} × {layout.outputs}" + ("" if beta == 1.0 else f", times {beta}")
    return em.weight(2, name, lambda _: by_panel(bias * np.float32(beta), layout))


def _k_block(layout: Panels) -> int:
    """Columns per pass: passes of nearly equal length, each a whole number of words."""
    passes = -(-layout.columns // K_BLOCK)
    return -(-layout.columns // passes // layout.per_word) * layout.per_word if passes > 1 else layout.columns


def _decoded(layout: Panels, k_block: int, chunks: int) -> int:
    """Floats of decoded weights: all that a work item multiplies with, if they are few, else two tiles."""
    tile = TILE_PANELS * -(-k_block // layout.per_word) * layout.per_word * PANEL
    tiles = -(-layout.panels // layout.groups // chunks // TILE_PANELS) * -(-layout.columns // k_block)
    return max(2 * tile, min(tiles * tile, 2 * TILE_PANELS * K_BLOCK * PANEL))


def _blocks_and_chunks(product: Product, threads: int) -> tuple[int, int]:
    """(parts that the rows, parts that a group's panels are cut into). One thread: as few as the caches like. More: several items for
    each of them. A cut along the rows reads and decodes all weights again, one along the panels copies all patches again; the
    cheaper one is taken."""
    layout = product.layout
    blocks = -(-product.rows // MOST_ROWS)
    if threads == 1:
        return blocks, 1
    wanted = -(-ITEMS_PER_THREAD * threads // layout.groups)
    if blocks >= wanted:
        return min(-(-blocks // threads) * threads, product.rows), 1
    if product.geometry is not None and product.rows > layout.outputs:
        blocks = min(wanted, max(blocks, product.rows // TILE_ROWS))
    chunks = min(-(-wanted // blocks), -(-layout.panels // layout.groups // CHUNK_PANELS))
    if chunks > threads and blocks * layout.groups * chunks % threads:  # as many for one as for another
        chunks -= chunks % threads
    return blocks, chunks
