"""Products with a sparse constant matrix: Gemm, MatMul and Conv."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from math import prod

import numpy as np

from ...formats.record import dataclass, replace
from ...formats.tensor import EncodedTensor
from .. import costs
from ..lowering import Emitter, Layout, Lowering, Part, Planes, Ref, Site, Strips, lowers
from ..movement.strides import strides_of
from ..ops._window import Window, window
from ..tables import with_table
from .gemv import FREE, SLICES, operands
from .grid import ALIGNED, IN_PLACE, ITEMS_PER_THREAD, SCRATCH, SPAN, Grid
from .matrix import Matrix, in_windows, matrix_of, with_bias
from .pack import Kind, kind_of, pack
from .rows import MOST_COLUMNS, TILE, pack_rows
from .windows import PANEL, TOGETHER, pack_windows

LAYOUTS: tuple[tuple[Layout, Layout], ...] = (("NCHW", "NCHW"), ("NHWC", "NHWC"), ("NHWC", "NCHW"))
"""What convolutions read and make: blocks of inputs can be transposed on their way into scratch."""
Step = Callable[[Emitter, str, str, Callable[[EncodedTensor], np.ndarray], Sequence[int], int, int], None]
"""(emitter, kernel, layout of the weight, what packs it so, parameters, work items, scratch): writes a step."""
X_CHANNEL = 21
"""Where in a geometry x's stride from channel to channel stands."""
LEAST_TILE = 32
"""Rows of a tile, at least, where several threads share few work items."""


@dataclass(frozen=True)
class Added:
    """What a product of positions reads and makes, and what is added to that, which lies as it does."""

    x: Ref | None
    y: Ref | None
    addend: Ref | None


@lowers("Gemm")
def lower_gemm(site: Site) -> Iterator[Lowering]:
    rows, outputs = site.outputs[0].shape
    w = with_bias(in_windows(site, "rows" if site.attrs["transB"] else "columns", outputs), site.attrs["beta"])
    if w is not None and not site.attrs["transA"]:
        yield _window_rows(replace(w, alpha=site.attrs["alpha"]), rows)
    m = with_bias(matrix_of(site, "rows" if site.attrs["transB"] else "columns", 1, outputs), site.attrs["beta"])
    if m is None:
        return
    m = replace(m, alpha=site.attrs["alpha"])
    if site.attrs["transA"]:
        yield _spmm(m, 1, _geometry(m.columns, rows, [0, rows, 1], [0, 1, outputs]), True)
    else:
        yield from _rows(m, rows)


@lowers("MatMul")
def lower_mat_mul(site: Site) -> Iterator[Lowering]:
    """x W with W [K, outputs] or [K], and W x with W [outputs, K]."""
    a, b = site.inputs[:2]
    if a is None or b is None:
        return
    if 1 in site.weights and len(b.shape) == 2:
        w = in_windows(site, "columns", b.shape[1])
        if w is not None:
            yield _window_rows(w, prod(a.shape[:-1]))
    if 1 in site.weights and len(b.shape) <= 2:
        m = matrix_of(site, "columns", 1, b.shape[1] if len(b.shape) == 2 else 1)
        if m is not None:
            yield from _rows(m, prod(a.shape[:-1]))
    if 0 in site.weights and len(a.shape) == 2 and len(b.shape) >= 2:
        m = matrix_of(site, "rows", 1, a.shape[0], at=0)
        if m is not None:
            # copied into scratch: the caller's x may lie anywhere, and loads across cache lines take twice as long
            yield _spmm(m, prod(b.shape[:-2]), _matrix_geometry(m, b.shape[-1]), False)


@lowers("Conv")
def lower_conv(site: Site) -> Iterator[Lowering]:
    x = site.inputs[0]
    if x is None or 1 not in site.weights or len(x.shape) not in (3, 4, 5):
        return
    groups = site.attrs["group"]
    win = window("Conv", site.attrs, x.shape[2:], site.weights[1].shape[2:])
    w = with_bias(in_windows(site, "rows", site.outputs[0].shape[1]))
    if w is not None and groups == 1 and prod(win.out) == 1 and win.kernel == x.shape[2:] and not win.padded:
        yield _window_rows(w, x.shape[0])
    m = with_bias(matrix_of(site, "rows", groups, site.outputs[0].shape[1]))
    if m is None:
        return
    if prod(win.out) == 1 and win.kernel == x.shape[2:] and not win.padded:
        yield from _rows(m, x.shape[0])  # each image is one row, in the order of the kernel
    for reads, makes in LAYOUTS:
        yield _positions(m, x.shape, win, reads, makes)


def _matrix_geometry(m: Matrix, positions: int) -> list[int]:
    """W x over x [K, positions], as a 1×1 convolution in NCHW."""
    return _geometry(m.columns, positions, [m.columns * positions, positions, 1], [m.outputs * positions, positions, 1])


def _geometry(channels: int, positions: int, x_strides: Sequence[int], y_strides: Sequence[int], groups: int = 1) -> list[int]:
    """Positions in one row and a window of one tap. Strides: image, channel, position."""
    return [channels, groups, 1, 1, positions, 1, 1, positions, *[1] * 9, 0, 0, 0, *x_strides[:2], 0, 0, x_strides[2], *y_strides]


def _rows(m: Matrix, rows: int) -> Iterator[Lowering]:
    """y [rows, outputs] = x [rows, groups · K] Wᵀ: one row at a time, or blocks of rows as positions side by side."""
    width = m.columns * (m.groups // m.together)

    def emit(em: Emitter) -> None:
        m.emit(em, f"sparse_gemv_{m.kind}", m.layout, lambda t: pack(with_table(t), m.kind, m.order, m.outputs, m.groups), [width, m.outputs],
               rows * -(-m.slices // SLICES))

    cost = costs.STEP + m.slower * m.per_weight * m.tensor.held * rows
    yield Lowering(f"sparse_gemv_{m.kind}", m.inputs("NCHW"), "NCHW", cost, emit, fuses=True)
    if rows > 1 and m.groups == 1:
        yield _spmm(m, 1, _geometry(m.columns, rows, [0, 1, width], [0, 1, m.outputs]), False)


def _window_rows(m: Matrix, rows: int) -> Lowering:
    """y [rows, outputs] = x [rows, K] Wᵀ, one row at a time."""
    assert m.encoding is not None
    panels, encoding, kernel = -(-m.outputs // PANEL), m.encoding, f"sparse_window_{m.kind}"

    def emit(em: Emitter) -> None:
        m.emit(em, kernel, f"{encoding.name} {m.order}", lambda t: pack_windows(t, encoding, m.order), [m.columns, m.outputs],
               rows * -(-panels // TOGETHER), encoding.row_bytes(m.columns))

    return Lowering(kernel, m.inputs("NCHW"), "NCHW", costs.STEP + m.slower * m.per_weight * m.tensor.held * rows, emit, fuses=True)


def _positions(m: Matrix, shape: Sequence[int], win: Window, reads: Layout, makes: Layout) -> Lowering:
    """A convolution, each output position a column."""
    def three(values: Sequence[int], other: int) -> list[int]:
        return [*[other] * (3 - len(values)), *values]

    batch, channels = shape[:2]
    positions = prod(win.out)
    image, channel, *axes = strides_of(shape, reads)
    y_strides = [m.outputs * positions, positions, 1] if makes == "NCHW" else [m.outputs * positions, 1, m.outputs]
    if prod(win.kernel) == 1 and prod(win.strides) == 1 and not win.padded:
        def rows_of(count: int) -> list[int]:
            return _geometry(channels // m.groups, count, [image, channel, axes[-1]], y_strides, m.groups)

        row = win.out[-1]
        strips = batch == 1 == m.groups and len(shape) == 4 and reads == "NHWC" and m.addend is None
        found = _spmm(m, batch, rows_of(positions), reads == "NCHW", reads, makes, (row, rows_of) if strips else None)
        if makes == "NCHW" and batch == 1 == m.groups and m.addend is None:
            found = replace(found, adds=partial(_added, m, reads, rows_of, win.out))
        return replace(found, planes=_planes(m)) if (reads, makes) == ("NCHW", "NCHW") and _expands(m, shape) else found
    windows = [three(values, other) for values, other in ((shape[2:], 1), (win.out, 1), (win.kernel, 1), (win.strides, 1), (win.dilations, 1),
                                                          (win.begin, 0))]
    geometry = [channels // m.groups, m.groups, *(n for window in windows for n in window), image, channel, *three(axes, 0), *y_strides]
    return _spmm(m, batch, geometry, False, reads, makes)


def _added(m: Matrix, reads: Layout, rows_of: Callable[[int], list[int]], out: Sequence[int], em: Emitter, y: Ref, addend: Ref | None,
           part: Part | None) -> None:
    """``Lowering.adds`` of a 1×1 convolution of one image; ``rows_of``: the geometry of so many positions."""
    if part is None:
        _spmm(m, 1, rows_of(prod(out)), reads == "NCHW", reads, added=Added(em.input(0), y, addend)).emit(em)
        return
    row, pitch = prod(out[1:]), part.pitch

    def band_of(count: int) -> list[int]:
        return _geometry(m.columns, count, [0, pitch, 1], [0, prod(out), 1])

    above = part.first * row * 4
    # Cut as the largest band that the buffer has room for, so that lower ones read the same packed weight.
    found = _spmm(m, 1, band_of(pitch // row * row), True, rows=(row, band_of), added=Added(part.x, y.plus(above), addend and addend.plus(above)))
    assert found.strips is not None
    found.strips.emit(em, part.x, part.first, y, part.first, part.last)


def _expands(m: Matrix, shape: Sequence[int]) -> bool:
    """Whether a depthwise convolution after it may make its channels one by one: where inputs stay in L2, and outputs would not."""
    positions = prod(shape[2:])
    copied = 0 if positions % ALIGNED == 0 else m.columns * positions * 4
    return m.groups == 1 and m.addend is None and m.columns <= MOST_COLUMNS and copied <= SCRATCH and len(shape) == 4


def _planes(m: Matrix) -> Callable[[Emitter], Planes]:
    kind: Kind = "codebook" if m.kind == "binary" else m.kind
    tile = min(PANEL, m.outputs)
    return lambda em: m.planes(em, f"rows {kind} {m.order} in tiles of {tile} x {m.columns}",
                               lambda t: pack_rows(t, kind, m.order, m.outputs, 1, tile, m.columns), kind)


def _tile(rows: int, blocks: int, threads: int) -> int:
    """Rows of a tile: fewer for several threads, where there are few work items that are not as many for each."""
    if blocks % threads == 0:
        return -(-rows // -(-rows // TILE))
    items = min(ITEMS_PER_THREAD * threads, -(-rows // LEAST_TILE)) if threads > 1 else 1
    return -(-rows // max(-(-rows // TILE), -(-items // blocks)))


def _spmm(m: Matrix, batch: int, geometry: list[int], direct: bool, reads: Layout = "NCHW", makes: Layout = "NCHW",
          rows: tuple[int, Callable[[int], list[int]]] | None = None, step: Step | None = None, added: Added | None = None) -> Lowering:
    """``rows``: positions of a row of an image, and the geometry of so many positions, where it can run on some rows only. ``step``: what writes
    the step; None: the matrix does, on the node's own input and output or those of ``added``. ``direct``: x is [K][positions], or has channels so far
    apart that vectors may go past a channel's positions."""
    columns, channels, per_group, tiled = m.tensor.size // m.outputs, geometry[0], m.outputs // m.groups, geometry[-1] != 1
    grids = [Grid.of(geometry, copied) for copied in ((False,) if columns == channels else (False, True))]
    apart = geometry[X_CHANNEL]
    direct = direct and apart % ALIGNED == 0 and columns * apart < 1 << 31
    cost, grid = min(((_spmm_cost(m, batch, grid, channels, direct, reads, tiled), grid) for grid in grids), key=lambda found: found[0])
    block = grid.block(channels, m.site.threads)
    chunk = grid.chunk(channels, block)
    chunks = -(-columns // chunk)
    tile = _tile(per_group, batch * -(-grid.positions // block) * m.groups, m.site.threads)
    kind: Kind = "codebook" if m.kind == "binary" else m.kind
    name = f"rows {kind} {m.order} in tiles of {tile} x {chunk}" + ("" if m.groups == 1 else f" {m.groups} groups")

    def emit(em: Emitter, count: int = grid.positions, geometry: Sequence[int] = geometry, x: Ref | None = None, y: Ref | None = None) -> None:
        wide = min(block, -(-count // ALIGNED) * ALIGNED)
        items = batch * -(-count // wide) * m.groups * -(-per_group // tile)
        inputs = -(-columns // ALIGNED) * ALIGNED + (0 if direct else channels * grid.floats(wide))
        ours = added or Added(x, y, None)
        params = [batch, count, wide, IN_PLACE if direct else int(grid.copied), int(ours.addend is not None), *geometry]
        (step or partial(m.emit, x=ours.x, y=ours.y, added=[ours.addend] if ours.addend else []))(em, f"sparse_spmm_{kind}", name,
                                            lambda t: pack_rows(t, kind, m.order, m.outputs, m.groups, tile, chunk), params, items,
                                            4 * (inputs + tile * ((chunks > 1) * SPAN + tiled * wide)))

    def emit_rows(em: Emitter, x: Ref, x0: int, y: Ref, first: int, last: int) -> None:
        assert rows is not None
        row, geometry_of = rows
        emit(em, (last - first) * row, geometry_of((last - first) * row), x.plus((first - x0) * row * columns * 4), y)

    return Lowering(f"sparse_spmm_{kind}", m.inputs(reads), makes, cost, emit, fuses=True,
                    strips=Strips(lambda first, last: (first, last), emit_rows) if rows else None)


def _spmm_cost(m: Matrix, batch: int, grid: Grid, channels: int, direct: bool, reads: Layout, tiled: bool) -> float:
    """Nanoseconds. One thread's blocks count, so that the choice of kernels does not depend on threads."""
    per, block = costs.SPARSE, grid.block(channels, 1)
    chunks = -(-channels * grid.taps // grid.chunk(channels, block))
    padded = batch * -(-grid.positions // ALIGNED) * ALIGNED
    gathered = 0 if direct else batch * -(-grid.positions // block) * channels * grid.floats(block) * m.groups
    each = per["columns" if reads == "NHWC" or grid.step in (1, 2, 4) else "strided"]
    if reads == "NHWC":  # all lanes of a vector of channels are transposed
        each *= -(-channels // ALIGNED) * ALIGNED / channels
    scattered = padded * m.outputs if tiled else 0
    product = m.slower * per["spmm" if grid.phases == grid.taps else "taps"] * m.tensor.held * padded
    rows = batch * -(-grid.positions // min(block, SPAN)) * m.outputs * chunks
    return costs.STEP + product + (each + per["piece"] / grid.width) * gathered + per["row"] * rows + per["scatter"] * scattered


@dataclass(frozen=True, eq=False)
class Positions:
    """``rows`` rows of x, side by side, times ``matrix``, as a part of some node's work: each row is a column of the product."""

    matrix: Matrix
    rows: int

    @staticmethod
    def of(site: Site, at: int, outline: EncodedTensor, rows: int) -> Positions | None:
        """As ``Gemv.all``."""
        kind = kind_of(with_table(outline), "rows")
        mine = replace(site, weights={**site.weights, at: outline})
        return None if kind is None else Positions(Matrix(mine, at, "rows", 1, outline.shape[0], kind), rows)

    @property
    def cost(self) -> float:
        """Nanoseconds on one thread."""
        return self._lowering(None).cost

    def emit(self, em: Emitter, name: str, part: Callable[[EncodedTensor], EncodedTensor], buffers: Sequence[Ref]) -> None:
        """As ``Gemv.emit``."""
        m = self.matrix

        def step(em: Emitter, kernel: str, layout: str, packer: Callable[[EncodedTensor], np.ndarray], params: Sequence[int], items: int,
                 scratch: int) -> None:
            packed = em.weight(m.at, f"{layout}, {name}", lambda tensor: packer(part(tensor)))
            em.step(kernel, operands(em, m, name, packed, buffers), [*FREE, *params], items, scratch)

        self._lowering(step).emit(em)

    def _lowering(self, step: Step | None) -> Lowering:
        m = self.matrix
        return _spmm(m, 1, _geometry(m.columns, self.rows, [0, 1, m.columns], [0, 1, m.outputs]), False, step=step)
