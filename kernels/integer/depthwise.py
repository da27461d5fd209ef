"""Depthwise convolutions of codes as steps of the kernel depthwise_i8."""

from __future__ import annotations

from collections.abc import Callable
from math import lcm, prod

import numpy as np

from ...formats.record import dataclass
from ...formats.tensor import EncodedTensor
from .. import costs
from ..gemm.lowering import row_bias
from ..lowering import Emitter, Layout, Lowering, Site
from ..ops._integer import SCALE
from ..ops._op import HOW
from ..ops._window import Window
from ..quantized import largest_code
from ..slabs import ALIGNMENT
from .finish import Finish
from .pack import Factors, fits, integers_of, joined, largest_weight

LANES = {"avx512vnni": 16, "avx512": 16, "avx2": 8}
"""Sums of a vector, by ISA level; 4 elsewhere. Four vectors of them are a chunk (depthwise.cpp)."""
MOST_TAPS = 16
"""In a row of the filter."""
SCRATCH = {"avx512vnni": 320 << 10, "avx512": 320 << 10}
"""Bytes of copied rows, about, by ISA level; 160 KB elsewhere: they stay in L2."""
FEWEST_ROWS = 4
"""Of a band, so that few rows are copied twice."""
MOST_ROWS = 64
"""Of a band (depthwise.cpp)."""
REPEATED = 1 << 17
"""Bytes of weights, at most, that repeat until chunks end where they do."""
WIDE = 128
"""Bytes of a vector of weights that is widened, at most."""


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
        finish = Finish(em, factors, largest, group_rows, self.site.isa)
        m, bias, quick_m, quick_bias = finish.table()
        lanes, taps = LANES.get(self.site.isa, 4), kernel[0] * -(-kernel[1] // 4) * 4
        period = lcm(channels, 4 * lanes)
        period = period if period * taps <= REPEATED else channels

        def pack(found: EncodedTensor) -> np.ndarray:
            w = integers_of(found).reshape(channels, *kernel)
            start = factors.starts(w.sum((1, 2), dtype=np.int64), self.site.isa)
            begun, kinds = finish.begun(start, w, lambda part: chunks(part, period, lanes))
            w, start, *in_order = (chunks(part, period, lanes) for part in (w, start, m, bias, quick_m, quick_bias))
            return joined([quads(w), vectors(start), *in_order[:2], *map(vectors, (*in_order[2:], *begun)), *([kinds] if begun else [])])[0]

        stride = -(-period // (4 * lanes)) * 4 * lanes
        packed = em.weight(1, f"depthwise int8 for {self.site.node.outputs[0]}{finish.name}", pack)
        pixels = out_width + (kernel[1] - 1) * dilations[1] // strides[1]
        row_bytes = strides[1] * (pixels * channels + 4 * ALIGNMENT)
        beside = (kernel[0] - 1) * dilations[0] + 1 - strides[0]  # rows that a band reads beside those of its strides
        band = min(out_height, MOST_ROWS, max(FEWEST_ROWS, (SCRATCH.get(self.site.isa, 160 << 10) // row_bytes - beside) // strides[0]))
        if batch % self.site.threads:
            band = shared_band(out_height, self.site.threads, band, lambda rows: rows * strides[0] + beside)
        bands = -(-out_height // band)
        band = -(-out_height // bands)
        scratch = (band * strides[0] + beside) * row_bytes + taps * WIDE
        room = -(-scratch // ALIGNMENT) * ALIGNMENT if self.site.threads > 1 and finish.near is not None else 0
        params = [channels, height, width, out_height, out_width, *kernel, *strides, *pads, *dilations, band, int(how.dtype != "uint8"),
                  how.zero_point, period, stride, room, *finish.params()]
        x = em.input(0)
        dynamic = [em.input(i) for i in range(3, len(self.site.inputs))]
        table = packed.plus(-(-stride * taps // ALIGNMENT) * ALIGNMENT)
        em.step("depthwise_i8", [x, packed, table, *finish.buffers(dynamic, x)], params, batch * -(-out_height // band),
                scratch=room + band * out_width * channels if room else scratch)


def shared_band(height: int, threads: int, most: int, read: Callable[[int], int]) -> int:
    """Rows of a band, at most half as many again as ``most``, so that the thread with the most bands reads the fewest rows.

    ``read``: the rows that a band of so many reads.
    """
    def longest(band: int) -> int:
        bands = -(-height // band)
        return -(-bands // threads) * read(band)

    return min(range(1, min(most + most // 2, MOST_ROWS, height) + 1), key=lambda band: (longest(band), band))


def chunks(array: np.ndarray, period: int, lanes: int) -> np.ndarray:
    """[chunks, 4 lanes, …] of [channels, …], which begin again until there are ``period`` of them; zeros behind those."""
    places = np.arange(-(-period // (4 * lanes)) * 4 * lanes)
    found = array[places % len(array)]
    found[period:] = 0
    return found.reshape(-1, 4 * lanes, *array.shape[1:])


def vectors(parts: np.ndarray) -> np.ndarray:
    """[chunks, 4, lanes, …] of chunks: of every 16 channels four to each of the four vectors."""
    found = parts.reshape(len(parts), -1, 4, 4, *parts.shape[2:]).swapaxes(1, 2)
    return found.reshape(len(parts), 4, -1, *parts.shape[2:])


def quads(w: np.ndarray) -> np.ndarray:
    """int8[chunks, rows of the filter, quads of taps, 4, lanes, 4 taps] of w[chunks, 4 lanes, rows, taps]; taps that are not there are 0."""
    full = np.zeros((*w.shape[:3], -(-w.shape[3] // 4) * 4), np.int8)
    full[..., :w.shape[3]] = w
    found = vectors(full)
    return found.reshape(*found.shape[:4], -1, 4).transpose(0, 3, 4, 1, 2, 5)
