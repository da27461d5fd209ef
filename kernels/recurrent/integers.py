"""LSTM in integers (docs/quantization.md): the codes of X and, step by step, of the hidden state, times W and R, whose weights keep their bits."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ...formats.record import dataclass
from ...formats.tensor import EncodedTensor
from .. import costs
from ..bits import pack as bits
from ..bits.lowering import LONGEST_STEP, cost_per_weight
from ..lowering import Emitter, Lowering, Ref, Site, f32
from ..ops._integer import HOW
from ..ops._recurrence import DIRECTIONS
from ..quantized import LARGEST_SUM, largest_code
from .slices import Slice
from .walk import BIAS, LENGTHS, MOST_STEPS, PEEPHOLES, Memory, R, W, Walk, X, present, walked

SCALES = 8
"""The input that holds the scale of each row of X."""


def lower_lstm(site: Site) -> Iterator[Lowering]:
    x = site.inputs[X]
    if x is None or not {W, R} <= set(site.weights) or present(site, LENGTHS):
        return
    if any(present(site, place) and place not in site.weights for place in (BIAS, PEEPHOLES)):
        return
    walks = [_walk(site, direction) for direction in range(len(DIRECTIONS[site.attrs["direction"]]))]
    known = [walk for walk in walks if walk is not None]
    if x.shape[0] * x.shape[1] * len(walks) <= MOST_STEPS and len(known) == len(walks):
        yield walked(site, known)


@dataclass(frozen=True, eq=False)
class _Matrix:
    """A direction of W or R, which ``bits_gemv`` multiplies a row of codes with."""

    place: int
    slice: Slice
    layout: bits.Layout
    isa: str

    @staticmethod
    def of(site: Site, place: int, direction: int) -> _Matrix | None:
        tensor = site.weights[place]
        part = Slice(direction, 0, tensor.shape[1])
        outline = part.outline(tensor)
        layout = None if outline is None else bits.plan(outline, True, has_sums=False)
        if outline is None or layout is None or largest_code(site.attrs[HOW][0]) * bits.largest(outline) * layout.columns > LARGEST_SUM:
            return None
        return _Matrix(place, part, layout, site.isa)

    @property
    def cost(self) -> float:
        return self.layout.groups * bits.GROUP * self.layout.columns * cost_per_weight("bits_gemv", self.layout.bits, self.isa)

    def pack(self, tensor: EncodedTensor) -> np.ndarray:
        return bits.pack(self.slice.of(tensor), self.layout)

    def emit(self, em: Emitter, codes: Ref, scale: Ref, bias: Ref | None, y: Ref) -> None:
        layout = self.layout
        weight = em.weight(self.place, f"{layout.name}, {self.slice.name}", self.pack)
        params = [layout.columns, layout.outputs, layout.bits, 0, 0, int(bias is not None), f32(1.0), f32(-np.inf), f32(np.inf),
                  *layout.sections()[:4]]
        em.step("bits_gemv", [codes, scale, y, weight, y if bias is None else bias, y], params, layout.panels, layout.columns + LONGEST_STEP)


def _walk(site: Site, direction: int) -> _IntegerWalk | None:
    w, r = _Matrix.of(site, W, direction), _Matrix.of(site, R, direction)
    if w is None or r is None:
        return None
    return _IntegerWalk(site, direction, w, r)


class _IntegerWalk(Walk):
    """One direction. Each sequence of the batch is a row of its own."""

    def __init__(self, site: Site, direction: int, w: _Matrix, r: _Matrix) -> None:
        super().__init__(site, direction)
        self.w, self.r = w, r

    @property
    def parts_stride(self) -> int:
        return self.gates * self.hidden

    @property
    def cost(self) -> float:
        length, batch, _ = self.sizes
        row = self.w.cost + self.r.cost + 3 * costs.STEP + (costs.INTEGER["quantize"] + costs.RECURRENT["cell"] * self.gates) * self.hidden
        return length * (batch * row + costs.STEP)

    def emit(self, em: Emitter) -> None:
        length, batch, _ = self.sizes
        rows, hidden, columns = self.gates * self.hidden, self.hidden, self.w.layout.columns
        turned = self.site.attrs["layout"]
        parts, products = em.temporary(4 * batch * rows), em.temporary(4 * batch * rows)
        codes, scale = em.temporary(hidden), em.temporary(4)
        bias, memory, before = self._bias(em), Memory(self, em), None
        for t in self.times:
            h, stride = memory.hidden(before)
            for b in range(batch):
                row = b * length + t if turned else t * batch + b
                self.w.emit(em, em.input(X).plus(row * columns), em.input(SCALES).plus(4 * row), bias, parts.plus(4 * b * rows))
                em.step("quantize_dynamic", [h.plus(4 * b * stride), codes, scale], [hidden, 1], 1)
                self.r.emit(em, codes, scale, None, products.plus(4 * b * rows))
            self.cell(em, memory, t, t == self.times[-1], parts, products, (h, stride), before is None)
            before = t

    def _bias(self, em: Emitter) -> Ref | None:
        """Of both products, added to that with W."""
        if not present(self.site, BIAS):
            return None

        def pack(tensor: EncodedTensor) -> np.ndarray:
            own = tensor.decode()[self.direction].astype(np.float32)
            return own[:len(own) // 2] + own[len(own) // 2:]

        return em.weight(BIAS, f"fp32 bias of direction {self.direction}", pack)
