"""Products with a sparse constant matrix: Gemm, MatMul and Conv."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from math import prod

import numpy as np

from ...formats.record import dataclass, replace
from ...formats.tensor import Codebook, EncodedTensor
from .. import costs
from ..elementwise.lowering import emit_add_constant
from ..lowering import Emitter, Layout, Lowering, Ref, Site, f32, lowers
from ..movement.strides import strides_of
from ..ops._window import Window, window
from ..tables import with_table
from .pack import ROWS, WINDOW, Kind, Order, bundle, entries_of_one, kind_of, pack, row_scale, symbol_bits
from .windows import PANEL, TOGETHER, Encoding, encoding_of, pack_windows

LAYOUTS: tuple[Layout, ...] = ("NCHW", "NHWC")
SLICES = 4
"""Slices of a work item of the kernels sparse_gemv."""
BLOCKS = (64, 32, 16)
"""Positions of a work item of the kernels sparse_spmm: the most that keep scratch memory within SCRATCH."""
SCRATCH = 1 << 20


@dataclass(frozen=True, eq=False)
class Matrix:
    """A sparse [outputs, K] per group, which is input ``at`` of the node, and what is done to its products.

    ``bias``: float32[outputs] or None. ``addend``: of a shape that broadcasts to the output, added in a step of its own.
    ``encoding``: how it lies in windows, for the kernels sparse_window; else it is packed as sell16.
    """

    site: Site
    at: int
    order: Order
    groups: int
    outputs: int
    kind: Kind
    bias: np.ndarray | None = None
    alpha: float = 1.0
    beta: float = 1.0
    addend: np.ndarray | None = None
    encoding: Encoding | None = None

    @property
    def tensor(self) -> EncodedTensor:
        return with_table(self.site.weights[self.at])

    @property
    def together(self) -> int:
        """Groups that are packed as one."""
        return bundle(self.groups, self.outputs // self.groups)

    @property
    def columns(self) -> int:
        """Columns of a packed group."""
        return self.tensor.size // self.outputs * self.together

    @property
    def slices(self) -> int:
        packed_groups = self.groups // self.together
        return packed_groups * -(-(self.outputs // packed_groups) // ROWS)

    @property
    def layout(self) -> str:
        bits = symbol_bits(self.tensor, self.kind, self.columns)
        held_as = self.kind if bits is None else "packed binary" if self.kind == "binary" else f"packed codebook{bits}"
        return f"sell16 {held_as} {self.order}" + ("" if self.groups == 1 else f" {self.groups} groups")

    @property
    def slower(self) -> float:
        return costs.SLOWER.get(self.site.isa, 1.0)

    @property
    def per_weight(self) -> float:
        """What a kept weight costs in the kernels sparse_gemv. Codebooks whose tables do not fit into registers are gathered from."""
        if self.kind != "codebook":
            return costs.SPARSE[f"gemv_{self.kind}"]
        assert isinstance(self.tensor.values, Codebook)
        entries = entries_of_one(self.tensor.values)
        if not 0 < entries <= (256 if self.site.isa.startswith("avx512") else 16):
            return costs.SPARSE["gemv_gathered"]
        if entries > 128:
            return costs.SPARSE["gemv_codebook8"]
        return costs.SPARSE["gemv_codebook" if symbol_bits(self.tensor, self.kind, self.columns) is None else "gemv_packed"]

    def inputs(self, layout: Layout) -> tuple[Layout | None, ...]:
        return tuple(layout if i == 1 - self.at else None for i in range(len(self.site.inputs)))

    def emit(self, em: Emitter, family: str, params: Sequence[int], items: int, scratch: int = 0) -> None:
        """The product's step, and the addend's if there is one: the last one clamps."""
        if self.encoding is not None:
            encoding = self.encoding
            packed = em.weight(self.at, f"{encoding.name} {self.order}", lambda t: pack_windows(t, encoding, self.order))
        else:
            packed = em.weight(self.at, self.layout, lambda t: pack(with_table(t), self.kind, self.order, self.outputs, self.groups))
        low, high = (em.low, em.high) if self.addend is None else (-np.inf, np.inf)
        buffers = [packed, em.input(1 - self.at), self._scale(em), self._bias(em), em.output()]
        em.step(f"sparse_{family}_{self.kind}", buffers, [f32(low), f32(high), *params], items, scratch)
        if self.addend is not None:
            emit_add_constant(em, em.output(), self.addend, self.site.outputs[0].shape)

    def _scale(self, em: Emitter) -> Ref:
        """float32[outputs]: what each sum is multiplied by."""
        scale = row_scale(self.tensor, self.kind, self.outputs) * np.float32(self.alpha)
        if (scale == 1).all():
            return em.constant(scale)
        return em.weight(self.at, f"fp32 scale of {self.kind} {self.order}" + _times(self.alpha), lambda _: scale)

    def _bias(self, em: Emitter) -> Ref:
        """float32[outputs]: what is added to each sum; shared between plans, as weights are."""
        if self.bias is None:
            return em.constant(np.zeros(self.outputs, np.float32))
        bias = np.ascontiguousarray(self.bias)
        return em.weight(2, f"fp32 bias of {self.outputs}" + _times(self.beta), lambda _: bias)


def _times(factor: float) -> str:
    return "" if factor == 1.0 else f", times {factor}"


def _matrix(site: Site, order: Order, groups: int, outputs: int, at: int = 1) -> Matrix | None:
    if 1 - at in site.weights or at not in site.weights or site.outputs[0].size == 0:
        return None
    kind = kind_of(with_table(site.weights[at]), order)
    return None if kind is None else Matrix(site, at, order, groups, outputs, kind)


def _in_windows(site: Site, order: Order, outputs: int) -> Matrix | None:
    """The same for products with rows of x: looked up in windows, where the weight can be packed so."""
    if 0 in site.weights or 1 not in site.weights or site.outputs[0].size == 0:
        return None
    encoding = encoding_of(site.weights[1], order)
    return None if encoding is None else Matrix(site, 1, order, 1, outputs, encoding.kind, encoding=encoding)


def _with_bias(m: Matrix | None, factor: float = 1.0) -> Matrix | None:
    """Takes up input 2 of the node, if there is one; None if it is not a constant."""
    if m is None or len(m.site.inputs) < 3 or m.site.inputs[2] is None:
        return m
    found = m.site.constant(2)
    if found is None:
        return None
    found = found.astype(np.float32) * np.float32(factor)
    if prod(found.shape[:-1]) == 1:
        return replace(m, bias=np.broadcast_to(found.reshape(-1), (m.outputs,)), beta=factor)
    return replace(m, addend=found)


@dataclass(frozen=True, eq=False)
class Gemv:
    """Rows of x, side by side, times a sparse matrix, as a part of some node's work."""

    matrix: Matrix
    rows: int

    @staticmethod
    def of(site: Site, at: int, outline: EncodedTensor, rows: int) -> Gemv | None:
        """``outline``: what input ``at`` becomes, [outputs, K]; None if it is not sparse, or of other values than these kernels take."""
        kind = kind_of(with_table(outline), "rows")
        mine = replace(site, weights={**site.weights, at: outline})
        return None if kind is None else Gemv(Matrix(mine, at, "rows", 1, outline.shape[0], kind), rows)

    @property
    def cost(self) -> float:
        """Nanoseconds on one thread."""
        return costs.STEP + self.matrix.slower * self.matrix.per_weight * self.matrix.tensor.held * self.rows

    def emit(self, em: Emitter, name: str, part: Callable[[EncodedTensor], EncodedTensor], buffers: Sequence[Ref]) -> None:
        """``part`` makes the matrix of the node's weight, ``name`` tells it from others; ``buffers``: x, bias [outputs], y."""
        m, (x, bias, y) = self.matrix, buffers
        packed = em.weight(m.at, f"{m.layout}, {name}", lambda tensor: pack(with_table(part(tensor)), m.kind, m.order, m.outputs, 1))
        scale = em.weight(m.at, f"fp32 scale of {m.kind}, {name}", lambda tensor: row_scale(m.tensor, m.kind, m.outputs))
        em.step(f"sparse_gemv_{m.kind}", [packed, x, scale, bias, y], [f32(-np.inf), f32(np.inf), m.columns, m.outputs],
                self.rows * -(-m.slices // SLICES))


@lowers("Gemm")
def lower_gemm(site: Site) -> Iterator[Lowering]:
    rows, outputs = site.outputs[0].shape
    w = _with_bias(_in_windows(site, "rows" if site.attrs["transB"] else "columns", outputs), site.attrs["beta"])
    if w is not None and not site.attrs["transA"]:
        yield _window_rows(replace(w, alpha=site.attrs["alpha"]), rows)
    m = _with_bias(_matrix(site, "rows" if site.attrs["transB"] else "columns", 1, outputs), site.attrs["beta"])
    if m is None:
        return
    m = replace(m, alpha=site.attrs["alpha"])
    if site.attrs["transA"]:
        yield _spmm(m, 1, rows, _geometry(m.columns, outputs, rows, [0, rows, 1], [0, 1, outputs]), True, "NCHW")
    else:
        yield from _rows(m, rows)


@lowers("MatMul")
def lower_mat_mul(site: Site) -> Iterator[Lowering]:
    """x W with W [K, outputs] or [K], and W x with W [outputs, K]."""
    a, b = site.inputs[:2]
    if a is None or b is None:
        return
    if 1 in site.weights and len(b.shape) == 2:
        w = _in_windows(site, "columns", b.shape[1])
        if w is not None:
            yield _window_rows(w, prod(a.shape[:-1]))
    if 1 in site.weights and len(b.shape) <= 2:
        m = _matrix(site, "columns", 1, b.shape[1] if len(b.shape) == 2 else 1)
        if m is not None:
            yield from _rows(m, prod(a.shape[:-1]))
    if 0 in site.weights and len(a.shape) == 2 and len(b.shape) >= 2:
        m = _matrix(site, "rows", 1, a.shape[0], at=0)
        if m is not None:
            yield _spmm(m, prod(b.shape[:-2]), b.shape[-1], _matrix_geometry(m, b.shape[-1]), True, "NCHW")


@lowers("Conv")
def lower_conv(site: Site) -> Iterator[Lowering]:
    x = site.inputs[0]
    if x is None or 1 not in site.weights or len(x.shape) not in (3, 4, 5):
        return
    groups = site.attrs["group"]
    win = window("Conv", site.attrs, x.shape[2:], site.weights[1].shape[2:])
    w = _with_bias(_in_windows(site, "rows", site.outputs[0].shape[1]))
    if w is not None and groups == 1 and prod(win.out) == 1 and win.kernel == x.shape[2:] and not win.padded:
        yield _window_rows(w, x.shape[0])
    m = _with_bias(_matrix(site, "rows", groups, site.outputs[0].shape[1]))
    if m is None:
        return
    if prod(win.out) == 1 and win.kernel == x.shape[2:] and not win.padded:
        yield from _rows(m, x.shape[0])  # each image is one row, in the order of the kernel
    for layout in LAYOUTS:
        yield _positions(m, x.shape, win, layout)


def _matrix_geometry(m: Matrix, positions: int) -> list[int]:
    """W x over x [K, positions], as a 1×1 convolution in NCHW."""
    return _geometry(m.columns, m.outputs, positions, [m.columns * positions, positions, 1], [m.outputs * positions, positions, 1])


def _geometry(channels: int, outputs: int, positions: int, x_strides: Sequence[int], y_strides: Sequence[int]) -> list[int]:
    """Positions in one row and a window of one tap. Strides: image, channel, position."""
    return [channels, outputs, 1, 1, positions, 1, 1, positions, *[1] * 9, 0, 0, 0, *x_strides[:2], 0, 0, x_strides[2], *y_strides]


def _rows(m: Matrix, rows: int) -> Iterator[Lowering]:
    """y [rows, outputs] = x [rows, groups · K] Wᵀ: one row at a time, or blocks of rows as positions side by side."""
    width = m.columns * (m.groups // m.together)

    def emit(em: Emitter) -> None:
        m.emit(em, "gemv", [width, m.outputs], rows * -(-m.slices // SLICES))

    cost = costs.STEP + m.slower * m.per_weight * m.tensor.held * rows
    yield Lowering(f"sparse_gemv_{m.kind}", m.inputs("NCHW"), "NCHW", cost, emit, fuses=True)
    if rows > 1 and m.groups == m.together:
        yield _spmm(m, 1, rows, _geometry(m.columns, m.outputs, rows, [0, 1, width], [0, 1, m.outputs]), False, "NCHW")


def _window_rows(m: Matrix, rows: int) -> Lowering:
    """y [rows, outputs] = x [rows, K] Wᵀ, one row at a time."""
    assert m.encoding is not None
    panels = -(-m.outputs // PANEL)

    def emit(em: Emitter) -> None:
        m.emit(em, "window", [m.columns, m.outputs], rows * -(-panels // TOGETHER))

    return Lowering(f"sparse_window_{m.kind}", m.inputs("NCHW"), "NCHW", costs.STEP + m.slower * _window_cost(m.encoding, m.tensor) * rows, emit,
                    fuses=True)


def _window_cost(encoding: Encoding, tensor: EncodedTensor) -> float:
    """Nanoseconds for a row of x. Elastic windows are padded the more the fewer weights there are."""
    padding = 1 + 0.06 * tensor.size / tensor.held if encoding.elastic else 1.0
    return costs.SPARSE["window_tables" if encoding.tables else f"window_{encoding.kind}"] * tensor.held * padding


def _positions(m: Matrix, shape: Sequence[int], win: Window, layout: Layout) -> Lowering:
    """A convolution, each output position a column."""
    def three(values: Sequence[int], other: int) -> list[int]:
        return [*[other] * (3 - len(values)), *values]

    batch, channels = shape[:2]
    positions = prod(win.out)
    image, channel, *axes = strides_of(shape, layout)
    y_strides = [m.outputs * positions, positions, 1] if layout == "NCHW" else [m.outputs * positions, 1, m.outputs]
    windows = [n for values, other in ((shape[2:], 1), (win.out, 1), (win.kernel, 1), (win.strides, 1), (win.dilations, 1), (win.begin, 0))
               for n in three(values, other)]
    geometry = [channels // m.groups * m.together, m.outputs // m.groups * m.together, *windows, image, channel, *three(axes, 0), *y_strides]
    direct = layout == "NCHW" and prod(win.kernel) == 1 and prod(win.strides) == 1 and not win.padded
    return _spmm(m, batch, positions, geometry, direct, layout)


def _spmm(m: Matrix, batch: int, positions: int, geometry: list[int], direct: bool, layout: Layout) -> Lowering:
    block = next((b for b in BLOCKS if m.columns * b * 4 <= SCRATCH), BLOCKS[-1])
    tiled = geometry[-1] != 1
    window = WINDOW // ROWS if tiled else 1
    packed_groups = m.groups // m.together
    items = batch * -(-positions // block) * packed_groups * -(-(m.slices // packed_groups) // window)
    scratch = (m.columns + (WINDOW if tiled else 0)) * block * 4

    def emit(em: Emitter) -> None:
        m.emit(em, "spmm", [batch, positions, block, int(direct), *geometry, window], items, scratch)

    padded = batch * -(-positions // 16) * 16
    gathered = 0 if direct else padded * m.columns * (m.groups // m.together)
    scattered = batch * positions * m.outputs if tiled else 0
    cost = costs.STEP + m.slower * costs.SPARSE["spmm"] * m.tensor.held * padded \
        + costs.SPARSE["columns"] * gathered + costs.SPARSE["scatter"] * scattered
    return Lowering(f"sparse_spmm_{m.kind}", m.inputs(layout), layout, cost, emit, fuses=True)


