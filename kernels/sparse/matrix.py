"""A sparse constant matrix in a node's product, and what is done to its products."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod

import numpy as np

from ...formats.record import dataclass, replace
from ...formats.tensor import Codebook, EncodedTensor, Sparse
from .. import costs
from ..elementwise.lowering import emit_add_constant
from ..isa import ARM_LEVELS
from ..lowering import Emitter, Layout, Planes, Ref, Site, f32
from ..tables import with_table
from .pack import ROWS, Kind, Order, bundle, entries_of_one, kind_of, row_scale, symbol_bits
from .windows import Encoding, encoding_of


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
        """What a kept weight costs in the kernels sparse_window (elastic windows are padded the more the fewer weights there are), or sparse_gemv.
        Codebooks whose tables do not fit into registers are gathered from."""
        if self.encoding is not None:
            if isinstance(self.tensor.structure, Sparse) and self.site.isa in ARM_LEVELS:
                return costs.SPARSE["window_elastic_neon"]
            padding = 1 + 0.06 * self.tensor.size / self.tensor.held if self.encoding.elastic else 1.0
            return costs.SPARSE["window_tables" if self.encoding.tables else f"window_{self.encoding.kind}"] * padding
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

    def emit(self, em: Emitter, kernel: str, layout: str, packer: Callable[[EncodedTensor], np.ndarray], params: Sequence[int], items: int,
             scratch: int = 0, x: Ref | None = None, y: Ref | None = None, added: Sequence[Ref] = ()) -> None:
        """The product's step, and the addend's if there is one: the last one clamps. ``x``, ``y``: instead of the node's own input and output;
        ``added``: further buffers."""
        packed = em.weight(self.at, layout, packer)
        low, high = (em.low, em.high) if self.addend is None else (-np.inf, np.inf)
        buffers = [packed, x or em.input(1 - self.at), self._scale(em), self._bias(em), y or em.output(), *added]
        em.step(kernel, buffers, [f32(low), f32(high), *params], items, scratch)
        if self.addend is not None:
            emit_add_constant(em, em.output(), self.addend, self.site.outputs[0].shape)

    def planes(self, em: Emitter, layout: str, packer: Callable[[EncodedTensor], np.ndarray], kind: Kind) -> Planes:
        """The product for the step that reads it channel by channel."""
        buffers = (em.input(1 - self.at), em.weight(self.at, layout, packer), self._scale(em), self._bias(em))
        return Planes(buffers, kind, self.columns, em.low, em.high)

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


def matrix_of(site: Site, order: Order, groups: int, outputs: int, at: int = 1) -> Matrix | None:
    if 1 - at in site.weights or at not in site.weights or site.outputs[0].size == 0:
        return None
    kind = kind_of(with_table(site.weights[at]), order)
    return None if kind is None else Matrix(site, at, order, groups, outputs, kind)


def in_windows(site: Site, order: Order, outputs: int) -> Matrix | None:
    """The same for products with rows of x: looked up in windows, where the weight can be packed so."""
    if 0 in site.weights or 1 not in site.weights or site.outputs[0].size == 0:
        return None
    encoding = encoding_of(site.weights[1], order, site.isa)
    return None if encoding is None else Matrix(site, 1, order, 1, outputs, encoding.kind, encoding=encoding)


def with_bias(m: Matrix | None, factor: float = 1.0) -> Matrix | None:
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
