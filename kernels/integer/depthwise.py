"""Depthwise convolutions of codes as steps of the kernel depthwise_i8."""

from __future__ import annotations

from collections.abc import Callable
from math import prod

import numpy as np

from ...formats.record import dataclass
from ...formats.tensor import EncodedTensor
from .. import costs
from ..gemm.lowering import row_bias
from ..lowering import ALIGNMENT, Emitter, Layout, Lowering, Site
from ..ops._integer import HOW, SCALE
from ..ops._window import Window
from ..quantized import largest_code
from .finish import Finish
from .pack import Factors, fits, integers_of, joined, largest_weight

BLOCK = 16
"""Channels that lie together in weights and table."""
AGAIN = 3
"""Blocks that follow the last one, the first ones again: a vector may hold the end of one pixel and the beginning of the next."""
MOST_TAPS = 16
"""In a row of the filter."""
SCRATCH = 48 << 10
"""Bytes of copied rows, about: they stay near L1."""
FEWEST_ROWS = 4
"""Of a band, so that few rows are copied twice."""
MOST_ROWS = 64
"""Of a band (depthwise.cpp)."""


@dataclass(frozen=True, eq=False)
class Depthwise:
    """One filter per channel over images of two dimensions (a first one of length 1 for signals)."""

    site: Site
    win: Window
    shape: tuple[int, ...]

    def lowering(self) -> Lowering | None:
        """The way to run it; None if its bias is not known, int8 or int32 may not hold what it needs, or its filter is too wide."""
        site, how = self.site, self.site.attrs[HOW][0]
        bias, known = row_bias(site, 2, self.shape[1])
        if not known or not fits(site.weights[1], how, prod(self.win.kernel)) or self.win.kernel[-1] > MOST_TAPS:
            return None
        factors = Factors.of(how, site.attrs[SCALE][0], self.shape[1], bias)
        scheme: Layout = "NHWC"
        layouts: tuple[Layout | None, ...] = (scheme, None, None, "NCHW", "NCHW")[:len(site.inputs)]
        outputs = site.outputs[0].size
        cost = costs.STEP + costs.SLOWER.get(site.isa, 1.0) * (outputs * (costs.INTEGER["tap"] * prod(self.win.kernel) + costs.INTEGER["output"]))
        return Lowering("depthwise_i8", layouts, "NHWC", cost, lambda em: self._emit(em, factors), fuses=True, ends=True)

    def _emit(self, em: Emitter, factors: Factors) -> None:
        batch, channels, *spatial = self.shape
        missing = (1,) * (2 - len(spatial))
        (height, width), (out_height, out_width), kernel, strides, dilations = (
            (*missing, *axis) for axis in (spatial, self.win.out, self.win.kernel, self.win.strides, self.win.dilations))
        pads = (*(0,) * len(missing), *self.win.begin)
        how, tensor = factors.how, self.site.weights[1]
        largest = (largest_weight(tensor) or 0) * largest_code(how) * prod(kernel)
        group_rows = out_height * (batch if how.granularity == "tensor" else 1)
        finish = Finish(em, factors, largest, group_rows)
        m, bias, quick_m, quick_bias = finish.table()

        def pack(found: EncodedTensor) -> np.ndarray:
            w = integers_of(found).reshape(channels, *kernel)
            start = factors.starts(w.sum((1, 2), dtype=np.int64), self.site.isa)
            return joined([in_quads(w), in_vectors(start), in_order(m), in_order(bias), in_vectors(quick_m), in_vectors(quick_bias)])[0]

        blocks = -(-channels // BLOCK) + AGAIN
        packed = em.weight(1, f"depthwise int8 for {self.site.node.outputs[0]}{finish.name}", pack)
        pixels = out_width + (kernel[1] - 1) * dilations[1] // strides[1]
        row_bytes = strides[1] * (pixels * channels + 4 * ALIGNMENT)
        beside = (kernel[0] - 1) * dilations[0] + 1 - strides[0]  # rows that a band reads beside those of its strides
        band = min(out_height, MOST_ROWS, max(FEWEST_ROWS, (SCRATCH // row_bytes - beside) // strides[0]))
        if batch % self.site.threads:
            band = shared_band(out_height, self.site.threads, band, lambda rows: rows * strides[0] + beside)
        bands = -(-out_height // band)
        band = -(-out_height // bands)
        params = [channels, height, width, out_height, out_width, *kernel, *strides, *pads, *dilations, band, int(how.dtype != "uint8"),
                  how.zero_point, blocks * BLOCK, *finish.params()]
        x = em.input(0)
        dynamic = [em.input(i) for i in range(3, len(self.site.inputs))]
        weight = kernel[0] * -(-kernel[1] // 4) * 4 * blocks * BLOCK
        em.step("depthwise_i8", [x, packed, packed.plus(-(-weight // 64) * 64), *finish.buffers(dynamic, x)], params, batch * -(-out_height // band),
                scratch=(band * strides[0] + beside) * row_bytes)


def shared_band(height: int, threads: int, most: int, read: Callable[[int], int]) -> int:
    """Rows of a band, at most half as many again as ``most``, so that the thread with the most bands reads the fewest rows.

    ``read``: the rows that a band of so many reads.
    """
    def longest(band: int) -> int:
        bands = -(-height // band)
        return -(-bands // threads) * read(band)

    return min(range(1, min(most + most // 2, MOST_ROWS, height) + 1), key=lambda band: (longest(band), band))


def in_order(vector: np.ndarray) -> np.ndarray:
    """[blocks * 16]: an entry per channel, the first ones again at the end."""
    full = np.zeros((-(-vector.shape[0] // BLOCK) * BLOCK, *vector.shape[1:]), vector.dtype)
    full[:vector.shape[0]] = vector
    return full[np.arange(full.shape[0] + AGAIN * BLOCK) % full.shape[0]]


def in_vectors(vector: np.ndarray) -> np.ndarray:
    """[4, blocks, 4]: of each block of 16 channels four to each of the four vectors."""
    return in_order(vector).reshape(-1, 4, 4, *vector.shape[1:]).swapaxes(0, 1)


def in_quads(w: np.ndarray) -> np.ndarray:
    """int8[rows of the filter, quads of taps, 4, blocks, 4 channels, 4 taps] of w[channels, rows, taps]; taps that are not there are 0."""
    channels, height, taps = w.shape
    full = np.zeros((channels, height, -(-taps // 4) * 4), np.int8)
    full[:, :, :taps] = w
    found = in_vectors(full)  # [4, blocks, 4, rows, taps]
    return found.reshape(*found.shape[:4], -1, 4).transpose(3, 4, 0, 1, 2, 5)
