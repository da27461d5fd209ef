"""3×3 convolutions of stride 1 with dense fp32 weights, by Winograd's minimal filtering (README.md)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ...formats.record import dataclass
from ...formats.tensor import Dense, EncodedTensor, Plain
from .. import costs
from ..gemm.lowering import row_bias
from ..gemm.pack import PANEL, PanelLayout
from ..gemm.product import bias_of
from ..lowering import Emitter, Lowering, Site, aligned, f32, lowers
from ..ops._window import Window, window

POINTS = {2: (0.0, 1.0, -1.0), 4: (0.0, 0.625, -0.625, 1.5, -1.5)}
"""Outputs of a tile along an axis → the finite points; transforms.h has the same."""
FEWEST_CHANNELS = 16
"""Below this many channels or outputs, transforms cost more than the product."""
INPUT_BYTES = 640 << 10
"""Transformed inputs of a work item, at most: they stay in L2 while panel after panel is multiplied with them."""
CHUNK_PANELS = 4
"""Panels of a work item (MOST_PANELS of winograd.cpp)."""
ITEMS_PER_THREAD = 4


@dataclass(frozen=True)
class Tiles:
    """The transformed weight of a convolution, [panel][point][channel][16], for ``edge`` × ``edge`` outputs at a time."""

    edge: int
    outputs: int
    channels: int

    @property
    def name(self) -> str:
        return f"winograd{self.edge} fp32"

    @property
    def panels(self) -> int:
        return -(-self.outputs // PANEL)

    @property
    def points(self) -> int:
        return (self.edge + 2) ** 2

    def pack(self, tensor: EncodedTensor) -> np.ndarray:
        """uint8: G g Gᵀ of every filter g, computed in float64. Outputs that fill up the last panel are zeros."""
        weights = tensor.decode().reshape(self.outputs, self.channels, 9)
        both_axes = np.kron(filter_transform(self.edge), filter_transform(self.edge)).T
        packed = aligned(self.panels * self.points * self.channels * PANEL * 4)
        panels = packed.view(np.float32).reshape(self.panels, self.points, self.channels, PANEL)
        panels[-1] = 0
        for i in range(self.panels):
            rows = weights[i * PANEL:(i + 1) * PANEL].astype(np.float64)
            panels[i, ..., :len(rows)] = (rows @ both_axes).transpose(2, 1, 0)
        return packed


def filter_transform(edge: int) -> np.ndarray:
    """G, [edge + 2, 3]: the filter's values at the finite points, each over the product of the distances to the others; its last tap."""
    points = POINTS[edge]
    rows = [np.power(p, range(3)) / np.prod([p - q for q in points if q != p]) for p in points]
    return np.array([*rows, (0.0, 0.0, 1.0)])


@lowers("Conv")
def lower_winograd(site: Site) -> Iterator[Lowering]:
    x, tensor = site.inputs[0], site.weights.get(1)
    if x is None or 0 in site.weights or tensor is None or not _is_dense(tensor) or tensor.shape[2:] != (3, 3) or site.attrs["group"] != 1:
        return
    win = window("Conv", site.attrs, x.shape[2:], (3, 3))
    bias, known = row_bias(site, 2, tensor.shape[0])
    if not known or min(tensor.shape[:2]) < FEWEST_CHANNELS or win.strides != (1, 1) or win.dilations != (1, 1):
        return
    for edge in POINTS:
        yield _lowering(site, Tiles(edge, *tensor.shape[:2]), bias, x.shape, win)


def _is_dense(tensor: EncodedTensor) -> bool:
    """Whether the weight is not encoded at all: what is stays so in RAM."""
    return isinstance(tensor.structure, Dense) and isinstance(tensor.values, Plain) and tensor.dtype == tensor.values.data.dtype.name == "float32"


def _lowering(site: Site, layout: Tiles, bias: np.ndarray | None, shape: tuple[int, ...], win: Window) -> Lowering:
    batch, channels, height, width = shape
    down, across = (-(-n // layout.edge) for n in win.out)
    tiles, kernel = batch * down * across, f"winograd{layout.edge}"
    ldx = -(-channels // PANEL) * PANEL + PANEL
    chunks = -(-layout.panels // CHUNK_PANELS)
    blocks = max(-(-tiles * layout.points * ldx * 4 // INPUT_BYTES), 1)
    if site.threads > 1:
        blocks = min(max(blocks, -(-ITEMS_PER_THREAD * site.threads // chunks)), tiles)
    block = -(-tiles // blocks)
    panels = PanelLayout("fp32", layout.name, 1, layout.outputs, channels * layout.points, "conv")

    def emit(em: Emitter) -> None:
        params = [height, width, channels, *win.out, layout.outputs, *win.begin, down, across, tiles, block, CHUNK_PANELS,
                  f32(em.low), f32(em.high)]
        scratch = 4 * layout.points * (block * (ldx + CHUNK_PANELS * PANEL) + ldx)
        buffers = [em.input(0), em.weight(1, layout.name, layout.pack), bias_of(em, bias, panels), em.output()]
        em.step(kernel, buffers, params, -(-tiles // block) * chunks, scratch)

    weights, per = layout.points * channels * layout.panels * PANEL, costs.WINOGRAD
    cost = weights * (tiles * per["product"] + per["weight"])
    cost += tiles * layout.points * (channels * per["input"] + layout.panels * PANEL * per["sum"])
    return Lowering(kernel, ("NHWC", *(None,) * (len(site.inputs) - 1)), "NHWC", costs.STEP + cost * costs.SLOWER.get(site.isa, 1.0), emit,
                    fuses=True)
