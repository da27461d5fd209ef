"""Products of codes and int8 weights as steps of the kernel product_i8."""

from __future__ import annotations

import numpy as np

from ...formats.record import dataclass
from ...formats.tensor import EncodedTensor
from .. import costs
from ..gemm.lowering import row_bias
from ..isa import ARM_LEVELS
from ..lowering import Emitter, Layout, Lowering, Ref, Site
from ..ops._integer import SCALE
from ..ops._op import HOW
from ..quantized import largest_code
from ..slabs import ALIGNMENT
from .coded import bits_in_ram, coded, coded_bytes, decoded_bytes
from .finish import Finish
from .pack import PANEL, Factors, Matrix, fits, joined, largest_weight, told, weight_bytes

ROW_STEP = 24
"""Rows of a work item are a multiple of this, as every tile of the micro-kernel divides it (but AVX-512 without VNNI)."""
BLOCK_BYTES = 1 << 14
"""Codes that a work item reads again and again, about: half of an L1 cache."""
MOST_ROWS = 240
TILE_PANELS = 4
CODED_ROWS = 48
"""Of a work item whose weights are decoded, at least."""
ROW_TILE = 6
"""Rows of the micro-kernel's tile with AVX-512 VNNI."""
BETTER = 0.85
"""So much less time panels have to take than rows, since then a thread reads what another one wrote."""


@dataclass(frozen=True, eq=False)
class Product:
    """y[rows, groups * outputs] = x · Wᵀ, finished. ``ldx``, ``geometry``, ``scheme``: as in ``gemm.product.Product``, in codes."""

    site: Site
    matrix: Matrix
    rows: int
    ldx: int
    group_rows: int
    geometry: tuple[int, ...] | None = None
    scheme: Layout = "NHWC"
    alpha: float = 1.0
    beta: float = 1.0

    def lowering(self) -> Lowering | None:
        """The way to run it; None if int8 or int32 may not hold what it needs, or its bias is not the same for all rows."""
        site, how = self.site, self.site.attrs[HOW][0]
        bias, known = row_bias(site, 2, self.matrix.groups * self.matrix.outputs)
        tensor = site.weights[1]
        if not known or not fits(tensor, how, self.matrix.columns):
            return None
        factors = Factors.of(how, site.attrs[SCALE][0], self.matrix.groups * self.matrix.outputs, bias, self.alpha, self.beta)
        layouts: tuple[Layout | None, ...] = (self.scheme, None, None, "NCHW", "NCHW")[:len(site.inputs)]
        per_mac = costs.INTEGER["product"] * costs.SLOWER.get(site.isa, 1.0)
        gathered = costs.INTEGER["gather"] * self.matrix.columns if self.geometry else 0.0
        weights = weight_bytes(self.matrix, site.isa)
        decoding = costs.INTEGER["decode"] * weights * -(-self.rows // self.cut(1)[0]) if self._bits else 0.0
        cost = costs.STEP + self.rows * (weights * per_mac + gathered) + weights * costs.INTEGER["read"] + decoding
        return Lowering("product_i8", layouts, self.scheme, cost, lambda em: self._emit(em, factors), fuses=True, ends=True)

    def _emit(self, em: Emitter, factors: Factors) -> None:
        matrix, tensor, bits = self.matrix, self.site.weights[1], self._bits
        largest = (largest_weight(tensor) or 0) * largest_code(factors.how) * matrix.columns
        finish = Finish(em, factors, largest, self.group_rows, self.site.isa, self.alpha)
        table = finish.table()

        def pack(found: EncodedTensor) -> np.ndarray:
            isa = self.site.isa
            if not bits and isa not in ARM_LEVELS:
                w, flip = matrix.bytes_of(found)
                return matrix.in_panels(w, flip, lambda sums: factors.starts(sums, isa), [matrix.by_panel(part) for part in table], isa)
            w = matrix.integers(found)
            starts = factors.starts(w.sum(-1, dtype=np.int64), isa)
            panels = coded(matrix, w, bits, isa) if bits else matrix.panelled(w, isa)
            begun, kinds = finish.begun(starts.reshape(-1), w, matrix.by_panel)
            return joined([panels, *(matrix.by_panel(part) for part in (starts, *table)), *begun, *told(w, isa, kinds)])[0]

        packed = em.weight(1, f"panel16 {f'{bits} bits' if bits else 'int8'} for {self.site.node.outputs[0]}{finish.name}", pack)
        rows, block, chunks = self.cut(self.site.threads)
        patches = -(-block * matrix.words(self.site.isa) * 4 // ALIGNMENT) * ALIGNMENT if self.geometry else 0
        panels = coded_bytes(matrix, bits, self.site.isa) if bits else weight_bytes(matrix, self.site.isa)
        how, gathers = factors.how, self.geometry is not None
        params = [self.rows, matrix.columns, matrix.outputs, matrix.groups, self.ldx, rows, chunks, block, int(how.dtype != "uint8"), how.zero_point,
                  int(gathers), matrix.groups * matrix.panels * PANEL, bits, patches, *finish.params(), *(self.geometry or ())]
        dynamic: list[Ref] = [em.input(i) for i in range(3, len(self.site.inputs))]
        x = em.input(0)
        em.step("product_i8", [x, packed, packed.plus(-(-panels // ALIGNMENT) * ALIGNMENT), *finish.buffers(dynamic, x)], params,
                -(-self.rows // rows) * matrix.groups * chunks, scratch=patches + (TILE_PANELS * decoded_bytes(matrix, self.site.isa) if bits else 0))

    @property
    def _bits(self) -> int:
        return bits_in_ram(self.site.weights[1], self.matrix, self.site.isa)

    def cut(self, threads: int) -> tuple[int, int, int]:
        """(rows of a work item, of these as many as have their patches copied at a time, parts of the panels).

        Threads take equal numbers of items that follow each other: by rows, so that what a thread wrote it reads again in the next product; by
        panels where rows would share out badly.
        """
        most = min(max(BLOCK_BYTES // self.matrix.columns // ROW_STEP, 1) * ROW_STEP, MOST_ROWS)
        most = max(most, CODED_ROWS) if self._bits else most
        panels = self.matrix.panels
        if threads == 1:
            return most, most, 1
        rows = -(-self.rows // (-(-self.rows // (most * threads)) * threads))
        chunks = min(-(-threads // self.matrix.groups), -(-panels // TILE_PANELS))
        by_rows = -(-self.rows // (rows * threads)) * tiles(rows) * panels
        by_panels = tiles(self.rows) * -(-panels // chunks)
        if chunks > 1 and by_panels < BETTER * by_rows:
            return self.rows, most, chunks
        return rows, rows, 1


def tiles(rows: int) -> float:
    """What rows cost, in whole tiles: what is left over goes into a smaller one."""
    left = rows % ROW_TILE
    return rows // ROW_TILE + (0.0, 0.35, 0.75, 0.75, 0.75, 1.0)[left]
