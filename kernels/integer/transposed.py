"""ConvTranspose of codes: ``product_i8`` makes the sums of every tap of every pixel, ``fold_i8`` adds up and finishes those that fall together."""

from __future__ import annotations

from math import prod

import numpy as np

from ...formats.record import dataclass
from ...formats.tensor import EncodedTensor
from .. import costs
from ..gemm.lowering import row_bias
from ..isa import ARM_LEVELS
from ..lowering import Emitter, Layout, Lowering, Ref, Site
from ..ops._integer import SCALE
from ..ops._op import HOW
from ..ops.conv_transpose import geometry
from ..quantized import largest_code
from ..slabs import ALIGNMENT
from .finish import Finish, as_sums
from .pack import PANEL, Factors, Matrix, fits, integers_of, joined, largest_weight, told, weight_bytes
from .product import Product


@dataclass(frozen=True, eq=False)
class Transposed:
    """Over images of one to three dimensions."""

    site: Site
    shape: tuple[int, ...]

    @property
    def groups(self) -> int:
        return int(self.site.attrs["group"])

    @property
    def channels(self) -> int:
        """Of the output."""
        return self.site.weights[1].shape[1] * self.groups

    @property
    def taps(self) -> int:
        return prod(self.site.weights[1].shape[2:])

    @property
    def rows(self) -> int:
        """Pixels of the input."""
        return self.shape[0] * prod(self.shape[2:])

    def product(self) -> Product:
        """Of a group: its outputs are the taps, of each the output channels side by side."""
        columns = self.shape[1] // self.groups
        matrix = Matrix(self.groups, self.taps * self.channels // self.groups, columns, "rows")
        per_tensor = self.site.attrs[HOW][0].granularity == "tensor"
        return Product(self.site, matrix, self.rows, self.shape[1], self.rows if per_tensor else self.rows // self.shape[0])

    def lowering(self) -> Lowering | None:
        """The way to run it; None if its bias is not known, or int8 or int32 may not hold what it needs."""
        site, how, product = self.site, self.site.attrs[HOW][0], self.product()
        bias, known = row_bias(site, 2, self.channels)
        if not known or not fits(site.weights[1], how, product.matrix.columns * self.taps):
            return None
        factors = Factors.of(how, site.attrs[SCALE][0], self.channels, bias)
        scheme: Layout = "NHWC"
        layouts: tuple[Layout | None, ...] = (scheme, None, None, "NCHW", "NCHW")[:len(site.inputs)]
        sums = self.rows * self.taps * self.channels
        weights = weight_bytes(product.matrix, site.isa)
        cost = 2 * costs.STEP + costs.SLOWER.get(site.isa, 1.0) * self.rows * weights * costs.INTEGER["product"] + costs.FOLD["float"] * sums
        return Lowering("product_i8", layouts, scheme, cost, lambda em: self._emit(em, factors), fuses=True, ends=True)

    def _emit(self, em: Emitter, factors: Factors) -> None:
        how, product = factors.how, self.product()
        matrix, channels = product.matrix, self.channels
        x = em.input(0)
        dynamic = [em.input(i) for i in range(3, len(self.site.inputs))]

        def pack(found: EncodedTensor) -> np.ndarray:
            w = integers_of(found).reshape(self.groups, matrix.columns, channels // self.groups, self.taps)
            by_tap = w.transpose(0, 3, 2, 1).reshape(self.groups, matrix.outputs, matrix.columns)
            isa = self.site.isa
            if isa not in ARM_LEVELS:
                return matrix.in_panels(np.ascontiguousarray(by_tap).view(np.uint8), 0, lambda sums: factors.starts(sums, isa), [], isa)
            starts = factors.starts(by_tap.sum(-1, dtype=np.int64), isa)
            return joined([matrix.panelled(by_tap, isa), matrix.by_panel(starts), *told(by_tap, isa)])[0]

        packed = em.weight(1, f"panel16 int8 of taps for {self.site.node.outputs[0]} of {how.kind} {how.dtype} {how.zero_point}", pack)
        rows, block, chunks = product.cut(self.site.threads)
        sums = em.temporary(4 * self.rows * self.taps * channels)
        zeros = dynamic[1] if len(dynamic) > 1 else x
        params = [self.rows, matrix.columns, matrix.outputs, self.groups, self.shape[1], rows, chunks, block, int(how.dtype != "uint8"), 0, 0,
                  self.groups * matrix.panels * PANEL, 0, 0, *as_sums(len(dynamic) > 1, product.group_rows)]
        table = packed.plus(-(-weight_bytes(matrix, self.site.isa) // ALIGNMENT) * ALIGNMENT)
        em.step("product_i8", [x, packed, table, sums, x, x, x, zeros], params,
                -(-self.rows // rows) * self.groups * chunks)
        self._emit_fold(em, factors, sums, dynamic)

    def _emit_fold(self, em: Emitter, factors: Factors, sums: Ref, dynamic: list[Ref]) -> None:
        attrs, kernel, channels = self.site.attrs, self.site.weights[1].shape[2:], self.channels
        win, out = geometry("ConvTranspose", attrs, self.shape[2:], kernel)
        missing = 5 - len(self.shape)
        axes = ((self.shape[2:], 1), (out, 1), (win.kernel, 1), (win.strides, 1), (win.begin, 0), (win.dilations, 1))
        places = [n for axis, fill in axes for n in (*(fill,) * missing, *axis)]
        largest = (largest_weight(self.site.weights[1]) or 0) * largest_code(factors.how) * self.shape[1] // self.groups * self.taps
        pixels = prod(out) * (self.shape[0] if factors.how.granularity == "tensor" else 1)
        finish = Finish(em, factors, largest, pixels, self.site.isa)
        stride = -(-channels // PANEL) * PANEL
        table = np.zeros((5, stride), np.float32)  # the first one would be what sums start with
        table[1:, :channels] = finish.table()
        buffers = finish.buffers(dynamic, sums)
        em.step("fold_i8", [sums, em.constant(table), *buffers], [channels, self.groups, stride, *places, *finish.params()],
                self.shape[0] * prod(out[:-1]), scratch=4 * (out[-1] * channels + PANEL))
