"""Products with a sparse constant matrix: Gemm, MatMul and Conv."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np

from .. import costs
from ..lowering import Emitter, Layout, Lowering, Ref, Site, f32, lowers
from ..ops._window import Window, window
from .pack import ROWS, SMALL_TABLE, Order, bundle, kind_of, pack, row_scale

LAYOUTS: tuple[Layout, ...] = ("NCHW", "NHWC")
SLICES = 4
"""Slices of a work item of the kernels sparse_gemv."""
BLOCKS = (64, 32, 16)
"""Positions of a work item of the kernels sparse_spmm: the most that keep scratch memory within SCRATCH."""
SCRATCH = 1 << 20


@dataclass(frozen=True, eq=False)
class Matrix:
    """A sparse [outputs, K] per group, and what is done to its products."""

    site: Site
    order: Order
    groups: int
    outputs: int
    kind: str
    bias: np.ndarray | None
    alpha: float = 1.0

    @property
    def together(self) -> int:
        """Groups that are packed as one."""
        return bundle(self.groups, self.outputs // self.groups)

    @property
    def columns(self) -> int:
        """Columns of a packed group."""
        return self.site.weights[1].size // self.outputs * self.together

    @property
    def slices(self) -> int:
        packed_groups = self.groups // self.together
        return packed_groups * -(-(self.outputs // packed_groups) // ROWS)

    @property
    def slower(self) -> float:
        return costs.SLOWER.get(self.site.isa, 1.0)

    def buffers(self, em: Emitter) -> list[Ref]:
        """Weight, x, scale, bias, y."""
        tensor = self.site.weights[1]
        scale = row_scale(tensor, self.outputs) * np.float32(self.alpha)
        bias = np.zeros(self.outputs, np.float32) if self.bias is None else self.bias
        name = f"sell16 {self.kind}" + ("" if self.groups == 1 else f" {self.groups} groups")
        packed = em.weight(1, f"{name} {self.order}", lambda t: pack(t, self.order, self.groups))
        return [packed, em.input(0), em.constant(scale), em.constant(bias), em.output()]


def _matrix(site: Site, order: Order, groups: int, outputs: int, bias_at: int | None, alpha: float = 1.0,
            beta: float = 1.0) -> Matrix | None:
    if 0 in site.weights or 1 not in site.weights or site.outputs[0].size == 0:
        return None
    kind = kind_of(site.weights[1], order)
    bias = None
    if bias_at is not None and bias_at < len(site.inputs) and site.inputs[bias_at] is not None:
        found = site.constant(bias_at)
        if found is None or prod(found.shape[:-1]) != 1:
            return None
        bias = (np.broadcast_to(found.reshape(-1), (outputs,)) * np.float32(beta)).astype(np.float32)
    return None if kind is None else Matrix(site, order, groups, outputs, kind, bias, alpha)


@lowers("Gemm")
def lower_gemm(site: Site) -> Iterator[Lowering]:
    m = None if site.attrs["transA"] else _matrix(site, "rows" if site.attrs["transB"] else "columns", 1, site.outputs[0].shape[1], 2,
                                                  site.attrs["alpha"], site.attrs["beta"])
    if m is not None:
        yield from _rows(m, site.outputs[0].shape[0], "NCHW")


@lowers("MatMul")
def lower_mat_mul(site: Site) -> Iterator[Lowering]:
    if 1 in site.weights and len(site.weights[1].shape) == 2 and site.inputs[0] is not None:
        m = _matrix(site, "columns", 1, site.weights[1].shape[1], None)
        if m is not None:
            yield from _rows(m, prod(site.inputs[0].shape[:-1]), "NCHW")


@lowers("Conv")
def lower_conv(site: Site) -> Iterator[Lowering]:
    x = site.inputs[0]
    if x is None or 1 not in site.weights or len(x.shape) not in (3, 4):
        return
    groups = site.attrs["group"]
    m = _matrix(site, "rows", groups, site.outputs[0].shape[1], 2)
    if m is None:
        return
    win = window("Conv", site.attrs, x.shape[2:], site.weights[1].shape[2:])
    if prod(win.out) == 1 and win.kernel == x.shape[2:] and not win.padded:
        yield from _rows(m, x.shape[0], "NCHW")  # each image is one row, in the order of the kernel
    for layout in LAYOUTS:
        yield _positions(m, x.shape, win, layout)


def _rows(m: Matrix, rows: int, layout: Layout) -> Iterator[Lowering]:
    """y [rows, outputs] = x [rows, groups · K] Wᵀ: one row at a time, or blocks of rows as positions side by side."""
    width = m.columns * (m.groups // m.together)
    held = m.site.weights[1].held

    def emit(em: Emitter) -> None:
        em.step(f"sparse_gemv_{m.kind}", m.buffers(em), [f32(em.low), f32(em.high), width, m.outputs], rows * -(-m.slices // SLICES))

    inputs: tuple[Layout | None, ...] = (layout, *[None] * (len(m.site.inputs) - 1))
    per_weight = costs.SPARSE["gemv_gathered" if m.kind == "codebook" and not _small(m) else "gemv"]
    yield Lowering(f"sparse_gemv_{m.kind}", inputs, layout, costs.STEP + m.slower * per_weight * held * rows, emit, fuses=True)
    if rows > 1:
        geometry = [m.columns, 1, rows, rows, 1, 1, 1, 1, 1, 1, 0, 0, 0, 1, 0, width, 0, 1, m.outputs]
        yield _spmm(m, 1, rows, geometry, False, layout)


def _small(m: Matrix) -> bool:
    entries = getattr(m.site.weights[1].values, "entries", None)
    return entries is not None and entries.shape[0] == 1 and entries.size <= SMALL_TABLE


def _positions(m: Matrix, shape: Sequence[int], win: Window, layout: Layout) -> Lowering:
    """A convolution, each output position a column."""
    def pair(values: Sequence[int], other: int) -> list[int]:
        return [*[other] * (2 - len(values)), *values]

    batch, channels = shape[:2]
    height, width = pair(shape[2:], 1)
    positions = prod(win.out)
    if layout == "NCHW":
        x_strides, y_strides = [channels * height * width, height * width, width, 1], [m.outputs * positions, positions, 1]
    else:
        x_strides, y_strides = [channels * height * width, 1, width * channels, channels], [m.outputs * positions, 1, m.outputs]
    geometry = [channels // m.groups * m.together, height, width, win.out[-1], *pair(win.kernel, 1), *pair(win.strides, 1), *pair(win.dilations, 1),
                *pair(win.begin, 0), *x_strides, *y_strides]
    direct = layout == "NCHW" and prod(win.kernel) == 1 and prod(win.strides) == 1 and not win.padded
    return _spmm(m, batch, positions, geometry, direct, layout)


def _spmm(m: Matrix, batch: int, positions: int, geometry: list[int], direct: bool, layout: Layout) -> Lowering:
    block = next((b for b in BLOCKS if m.columns * b * 4 <= SCRATCH), BLOCKS[-1])
    blocks = batch * -(-positions // block)

    def emit(em: Emitter) -> None:
        params = [f32(em.low), f32(em.high), batch, positions, block, int(direct), *geometry]
        em.step(f"sparse_spmm_{m.kind}", m.buffers(em), params, blocks * m.slices, m.columns * block * 4)

    padded = batch * -(-positions // 16) * 16
    gathered = 0 if direct else padded * m.columns * (m.groups // m.together)
    scattered = batch * positions * m.outputs if geometry[-1] != 1 else 0
    cost = costs.STEP + m.slower * costs.SPARSE["spmm"] * m.site.weights[1].held * padded \
        + costs.SPARSE["columns"] * gathered + costs.SPARSE["scatter"] * scattered
    return Lowering(f"sparse_spmm_{m.kind}", (layout, *[None] * (len(m.site.inputs) - 1)), layout, cost, emit, fuses=True)


