"""Rows of x times a sparse matrix, one after the other, as a part of some node's work."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from ...formats.record import dataclass, replace
from ...formats.tensor import EncodedTensor
from .. import costs
from ..lowering import Emitter, Ref, Site, f32
from ..tables import with_table
from .matrix import Matrix
from .pack import kind_of, pack, row_scale
from .windows import PANEL, TOGETHER, encoding_of, pack_windows

FREE = (f32(-np.inf), f32(np.inf))
"""Bounds of what is not clamped."""
SLICES = 4
"""Slices of a work item of the kernels sparse_gemv."""


@dataclass(frozen=True, eq=False)
class Gemv:
    """``rows`` rows of x, side by side, times ``matrix``."""

    matrix: Matrix
    rows: int

    @staticmethod
    def all(site: Site, at: int, outline: EncodedTensor, rows: int) -> Iterator[Gemv]:
        """The ways to multiply with what input ``at`` becomes, ``outline`` [outputs, K]; none if it is not sparse, or of other values than
        these kernels take."""
        mine, outputs = replace(site, weights={**site.weights, at: outline}), outline.shape[0]
        encoding, kind = encoding_of(outline, "rows", site.isa), kind_of(with_table(outline), "rows")
        if encoding is not None:
            yield Gemv(Matrix(mine, at, "rows", 1, outputs, encoding.kind, encoding=encoding), rows)
        if kind is not None:
            yield Gemv(Matrix(mine, at, "rows", 1, outputs, kind), rows)

    @property
    def cost(self) -> float:
        """Nanoseconds on one thread."""
        return costs.STEP + self.matrix.slower * self.matrix.per_weight * self.matrix.tensor.held * self.rows

    def emit(self, em: Emitter, name: str, part: Callable[[EncodedTensor], EncodedTensor], buffers: Sequence[Ref]) -> None:
        """``part`` makes the matrix of the node's weight, ``name`` tells it from others; ``buffers``: x, bias [outputs], y."""
        m, encoding = self.matrix, self.matrix.encoding
        if encoding is not None:
            found, layout, kernel = encoding, f"{encoding.name} {m.order}", f"sparse_window_{m.kind}"
            packed = em.weight(m.at, f"{layout}, {name}", lambda tensor: pack_windows(part(tensor), found, m.order))
            items, scratch = -(-m.outputs // PANEL // TOGETHER), encoding.row_bytes(m.columns)
        else:
            packed = em.weight(m.at, f"{m.layout}, {name}", lambda tensor: pack(with_table(part(tensor)), m.kind, m.order, m.outputs, 1))
            kernel, items, scratch = f"sparse_gemv_{m.kind}", -(-m.slices // SLICES), 0
        em.step(kernel, operands(em, m, name, packed, buffers), [*FREE, m.columns, m.outputs], self.rows * items, scratch)


def operands(em: Emitter, m: Matrix, name: str, packed: Ref, buffers: Sequence[Ref]) -> list[Ref]:
    """The buffers of all kernels of this family. ``buffers``: x, bias [outputs], y."""
    x, bias, y = buffers
    return [packed, x, em.weight(m.at, f"fp32 scale of {m.kind}, {name}", lambda _: row_scale(m.tensor, m.kind, m.outputs)), bias, y]
