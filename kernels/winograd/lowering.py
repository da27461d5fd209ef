"""3×3 convolutions of stride 1, by Winograd's minimal filtering (README.md)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol

import numpy as np

from ...formats.record import dataclass, replace
from ...formats.tensor import Dense, EncodedTensor, Plain
from .. import costs
from ..gemm.lowering import row_bias
from ..gemm.pack import PANEL, PanelLayout, Panels, plan
from ..gemm.product import bias_of
from ..lowering import Emitter, Lowering, Site, f32, lowers
from ..ops._window import Window, window
from ..slabs import aligned

POINTS = {2: (0.0, 1.0, -1.0), 4: (0.0, 0.625, -0.625, 1.5, -1.5)}
"""Outputs of a tile along an axis → the finite points; transforms.h has the same."""
FEWEST_CHANNELS = 16
"""Below this many channels or outputs, transforms cost more than the product."""
INPUT_BYTES = 640 << 10
"""Transformed inputs of a work item, at most: they stay in L2 while panel after panel is multiplied with them."""
CHUNK_PANELS = 4
"""Panels of a work item (MOST_PANELS of winograd.cpp)."""
ITEMS_PER_THREAD = 4
PASS = {"avx512vnni": 64, "avx512": 64}
"""Channels of encoded weights, at most, that are decoded and transformed at a time, half as many at other levels: what becomes of them stays in L2,
of which CPUs with AVX-512 have 1 MB a core."""


class Filters(Protocol):
    """How the kernels of one edge get at transformed weights."""

    @property
    def edge(self) -> int: ...

    @property
    def outputs(self) -> int: ...

    @property
    def channels(self) -> int: ...

    @property
    def name(self) -> str:
        """Of the packed layout; ``pack`` makes it."""
        ...

    @property
    def kernel(self) -> str: ...

    @property
    def params(self) -> list[int]:
        """Param of winograd.cpp from PASS on."""
        ...

    @property
    def scratch(self) -> int:
        """Floats of weights in scratch."""
        ...

    @property
    def pack(self) -> Callable[[EncodedTensor], np.ndarray]: ...

    def cost(self, blocks: int) -> float:
        """Nanoseconds to have the transformed weights for each of so many blocks of tiles."""
        ...


@dataclass(frozen=True)
class Tiles:
    """The transformed weight of a convolution, [panel][point][channel][16], for ``edge`` × ``edge`` outputs at a time."""

    edge: int
    outputs: int
    channels: int

    scratch = 0

    @property
    def params(self) -> list[int]:
        return [0, 0]

    @property
    def name(self) -> str:
        return f"winograd{self.edge} fp32"

    @property
    def kernel(self) -> str:
        return f"winograd{self.edge}"

    @property
    def panels(self) -> int:
        return -(-self.outputs // PANEL)

    @property
    def points(self) -> int:
        return (self.edge + 2) ** 2

    def cost(self, blocks: int) -> float:
        return self.points * self.channels * self.panels * PANEL * costs.WINOGRAD["weight"]

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


@dataclass(frozen=True)
class Encoded:
    """A weight in panels as the gemm family packs them, K channel by channel: decoded and transformed for each block of tiles."""

    edge: int
    panels: Panels
    isa: str

    @property
    def outputs(self) -> int:
        return self.panels.outputs

    @property
    def channels(self) -> int:
        return self.panels.columns // 9

    @property
    def name(self) -> str:
        return self.panels.name

    @property
    def kernel(self) -> str:
        return f"winograd{self.edge}_{self.panels.kind.replace('fp', 'f')}"

    @property
    def channels_of_pass(self) -> int:
        """Whole words, in passes of nearly equal length."""
        per = self.panels.per_word if self.panels.taps == 1 else 1
        most = PASS.get(self.isa, 32) // per * per
        passes = -(-self.channels // most)
        return -(-self.channels // passes // per) * per

    @property
    def params(self) -> list[int]:
        return [self.channels_of_pass, int(self.panels.taps > 1), *self.panels.params()]

    @property
    def scratch(self) -> int:
        return (CHUNK_PANELS * (self.edge + 2) ** 2 * (self.channels_of_pass + 1) + 9 * self.channels_of_pass) * PANEL

    @property
    def pack(self) -> Callable[[EncodedTensor], np.ndarray]:
        return self.panels.pack

    def cost(self, blocks: int) -> float:
        weights = self.panels.panels * PANEL * self.channels
        return blocks * weights * (9 * costs.GEMM[f"read_{self.panels.kind}"] + (self.edge + 2) ** 2 * costs.WINOGRAD["transform"])


def filters_of(tensor: EncodedTensor, isa: str) -> Iterator[Filters]:
    """Of a weight [outputs, channels, 3, 3], for each edge; none where no kernel decodes it. What is encoded stays so in RAM."""
    if isinstance(tensor.structure, Dense) and isinstance(tensor.values, Plain) and tensor.dtype == tensor.values.data.dtype.name == "float32":
        yield from (Tiles(edge, *tensor.shape[:2]) for edge in POINTS)
        return
    by_channel = plan(tensor, 1, "rows")
    if by_channel is not None:
        panels: Panels | None = replace(by_channel, name=f"{by_channel.name} channel by channel")
    else:
        from ..gemm.tiles import plan_tiles

        panels = plan_tiles(tensor, 1, "conv")
    if panels is not None:
        yield from (Encoded(edge, panels, isa) for edge in POINTS)


def filter_transform(edge: int) -> np.ndarray:
    """G, [edge + 2, 3]: the filter's values at the finite points, each over the product of the distances to the others; its last tap."""
    points = POINTS[edge]
    rows = [np.power(p, range(3)) / np.prod([p - q for q in points if q != p]) for p in points]
    return np.array([*rows, (0.0, 0.0, 1.0)])


@lowers("Conv")
def lower_winograd(site: Site) -> Iterator[Lowering]:
    x, tensor = site.inputs[0], site.weights.get(1)
    if x is None or 0 in site.weights or tensor is None or tensor.shape[2:] != (3, 3) or site.attrs["group"] != 1:
        return
    win = window("Conv", site.attrs, x.shape[2:], (3, 3))
    bias, known = row_bias(site, 2, tensor.shape[0])
    if not known or min(tensor.shape[:2]) < FEWEST_CHANNELS or win.strides != (1, 1) or win.dilations != (1, 1):
        return
    for filters in filters_of(tensor, site.isa):
        yield _lowering(site, filters, bias, x.shape, win)


def _lowering(site: Site, filters: Filters, bias: np.ndarray | None, shape: tuple[int, ...], win: Window) -> Lowering:
    batch, channels, height, width = shape
    down, across = (-(-n // filters.edge) for n in win.out)
    tiles, points, outputs = batch * down * across, (filters.edge + 2) ** 2, filters.outputs
    ldx = -(-channels // PANEL) * PANEL + PANEL
    panels = -(-outputs // PANEL)
    chunks = -(-panels // CHUNK_PANELS)
    blocks = least = max(-(-tiles * points * ldx * 4 // INPUT_BYTES), 1)
    if site.threads > 1:
        blocks = min(max(blocks, -(-ITEMS_PER_THREAD * site.threads // chunks)), tiles)
    block = -(-tiles // blocks)
    biases = PanelLayout("fp32", "", 1, outputs, channels * points, "conv")

    def emit(em: Emitter) -> None:
        params = [height, width, channels, *win.out, outputs, *win.begin, down, across, tiles, block, CHUNK_PANELS, f32(em.low), f32(em.high),
                  *filters.params]
        scratch = 4 * (points * (block * (ldx + CHUNK_PANELS * PANEL) + ldx) + filters.scratch)
        buffers = [em.input(0), em.weight(1, filters.name, filters.pack), bias_of(em, bias, biases), em.output()]
        em.step(filters.kernel, buffers, params, -(-tiles // block) * chunks, scratch)

    per = costs.WINOGRAD
    cost = points * channels * panels * PANEL * tiles * per["product"] + filters.cost(least)  # of one thread's blocks: see gemm/product.py
    cost += tiles * points * (channels * per["input"] + panels * PANEL * per["sum"])
    return Lowering(filters.kernel, ("NHWC", *(None,) * (len(site.inputs) - 1)), "NHWC", costs.STEP + cost * costs.SLOWER.get(site.isa, 1.0), emit,
                    fuses=True, work=points / (9 * filters.edge ** 2))
