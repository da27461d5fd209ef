"""LSTM and GRU in integers (docs/quantization.md): the codes of X and, step by step, of the hidden state, times W and R, whose weights keep their
bits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from ...formats.record import dataclass
from ...formats.tensor import EncodedTensor
from .. import costs
from ..bits import pack as bits
from ..bits.lowering import LONGEST_STEP, cost_per_weight
from ..lowering import Emitter, Lowering, Ref, Site, f32
from ..ops._integer import FORMS
from ..ops._op import DOMAIN, HOW
from ..ops._recurrence import DIRECTIONS
from ..quantized import LARGEST_SUM, largest_code
from . import walk
from .filled import filled
from .slices import Slice
from .walk import BIAS, LENGTHS, MOST_STEPS, PEEPHOLES, Lanes, Memory, R, W, Walk, X, present, resets_first, walked

CACHE = 1 << 20
"""Bytes of a weight that stays in a cache from step to step."""


def lower_integers(site: Site) -> Iterator[Lowering]:
    x = site.inputs[X]
    if x is None or not {W, R} <= set(site.weights) or present(site, LENGTHS):
        return
    if any(present(site, place) and place not in site.weights for place in (BIAS, PEEPHOLES)):
        return
    walks = [_walk(site, direction) for direction in range(len(DIRECTIONS[site.attrs["direction"]]))]
    known = [one for one in walks if one is not None]
    if x.shape[0] * x.shape[1] * len(walks) <= MOST_STEPS and len(known) == len(walks):
        yield walked(site, known)


@dataclass(frozen=True, eq=False)
class _Matrix:
    """Rows of a direction of W or R, which ``bits_gemv`` multiplies a row of codes with."""

    place: int
    slice: Slice
    layout: bits.Layout
    isa: str

    @staticmethod
    def of(site: Site, place: int, part: Slice) -> _Matrix | None:
        tensor = site.weights[place]
        outline = part.outline(tensor)
        outline = None if outline is None else filled(outline, is_outline=True)
        layout = None if outline is None else bits.plan(outline, True, has_sums=False)
        if outline is None or layout is None or largest_code(site.attrs[HOW][0]) * bits.largest(outline) * layout.columns > LARGEST_SUM:
            return None
        return _Matrix(place, part, layout, site.isa)

    @property
    def cost(self) -> float:
        weights, cached = self.layout.groups * bits.GROUP * self.layout.columns, self.layout.sections()[-1] <= CACHE
        each = cost_per_weight("bits_gemv", self.layout.bits, self.isa)
        return weights * each * (costs.BITS_CACHED if cached and self.layout.bits == 8 else 1.0)

    def pack(self, tensor: EncodedTensor) -> np.ndarray:
        found = filled(self.slice.of(tensor))
        assert found is not None  # as for its outline
        return bits.pack(found, self.layout)

    def emit(self, em: Emitter, codes: Ref, scale: Ref, bias: Ref | None, y: Ref) -> None:
        layout = self.layout
        weight = em.weight(self.place, f"{layout.name}, {self.slice.name}", self.pack)
        params = [layout.columns, layout.outputs, layout.bits, 0, 0, int(bias is not None), f32(1.0), f32(-np.inf), f32(np.inf),
                  *layout.params()]
        em.step("bits_gemv", [codes, scale, y, weight, y if bias is None else bias, y], params, layout.panels, layout.columns + LONGEST_STEP)


def _walk(site: Site, direction: int) -> _IntegerWalk | None:
    rows, hidden = site.weights[R].shape[1:]
    early = 2 * hidden if resets_first(site) else rows
    w, r = _Matrix.of(site, W, Slice(direction, 0, rows)), _Matrix.of(site, R, Slice(direction, 0, early))
    late = _Matrix.of(site, R, Slice(direction, early, rows)) if early < rows else None
    if w is None or r is None or (late is None and early < rows):
        return None
    return _IntegerWalk(site, direction, w, r, late)


class _IntegerWalk(Walk):
    """One direction. Each sequence of the batch is a row of its own. ``late``: the last rows of R, where the reset gate comes first."""

    def __init__(self, site: Site, direction: int, w: _Matrix, r: _Matrix, late: _Matrix | None) -> None:
        super().__init__(site, direction)
        self.w, self.r, self.late = w, r, late

    @property
    def meetings(self) -> int:
        return 6 if self.resets_first else 3

    @property
    def parts_stride(self) -> int:
        return self.gates * self.hidden

    @property
    def cost(self) -> tuple[float, float]:
        length, batch, _ = self.sizes
        row = self.r.cost + 2 * costs.STEP + (costs.INTEGER["quantize"] + costs.RECURRENT["cell"] * self.gates) * self.hidden
        if self.late is not None:
            row += self.late.cost + 2 * costs.STEP + costs.INTEGER["quantize"] * self.hidden
        return length * batch * (self.w.cost + costs.STEP), length * (batch * row + costs.STEP)

    def emit(self, em: Emitter, lanes: Lanes) -> None:
        length, batch, _ = self.sizes
        nbytes, block = 4 * batch * self.gates * self.hidden, walk.block_of(length)  # of a step's part of the gates
        parts, products = em.temporary(nbytes * block), em.temporary(nbytes)
        (bias, bias_of_r), memory, before = self._biases(em), Memory(self, em), None
        for k, t in enumerate(self.times):
            if k % block == 0:
                self._multiply_inputs(em, self.times[k:k + block], lanes.inputs, bias, parts)
                em.lane(lanes.steps)
            h, stride = memory.hidden(before)
            for b in range(batch):
                self._multiply(em, memory, self.r, h.plus(4 * b * stride), bias_of_r, products.plus(4 * b * self.r.layout.outputs))
            self.cell(em, memory, t, k == length - 1, parts.plus(nbytes * (k % block)), products, (h, stride), before is None)
            before = t

    def _multiply_inputs(self, em: Emitter, times: Sequence[int], lane: int | None, bias: Ref | None, parts: Ref) -> None:
        """The inputs' part of the gates for these steps, one after the other in ``parts``. Threads that share them take rows each."""
        (length, batch, _), columns, threads = self.sizes, self.w.layout.columns, self.site.threads
        scales = FORMS[self.site.node.op.removeprefix(DOMAIN)].inputs  # the input that holds the scale of each row of X
        if lane is None:
            em.lane(None)  # the steps before still read ``parts``
        rows = [b * length + t if self.site.attrs["layout"] else t * batch + b for t in times for b in range(batch)]
        for k, row in enumerate(rows):
            em.lane(k * threads // len(rows) if lane is None and threads > 1 else lane)
            self.w.emit(em, em.input(X).plus(row * columns), em.input(scales).plus(4 * row), bias, parts.plus(4 * k * self.w.layout.outputs))

    def emit_late(self, em: Emitter, memory: Memory, reset: Ref, y: Ref) -> None:
        assert self.late is not None
        for b in range(self.sizes[1]):
            self._multiply(em, memory, self.late, reset.plus(4 * b * self.hidden), None, y.plus(4 * b * self.hidden))

    def _multiply(self, em: Emitter, memory: Memory, r: _Matrix, x: Ref, bias: Ref | None, y: Ref) -> None:
        """Rows of R times one row of floats, whose codes are made first."""
        codes, scale = memory.codes()
        em.step("quantize_dynamic", [x, codes, scale], [self.hidden, 1], 1)
        r.emit(em, codes, scale, bias, y)

    def _biases(self, em: Emitter) -> tuple[Ref | None, Ref | None]:
        """What is added to the product with W: the biases of both; and to that with R: the one that the reset gate scales."""
        if not present(self.site, BIAS):
            return None, None
        own = slice(2 * self.hidden, None) if self.gates == 3 and self.late is None else slice(0, 0)
        name = f"fp32 bias of direction {self.direction}"

        def ahead(tensor: EncodedTensor) -> np.ndarray:
            w, r = np.split(tensor.decode()[self.direction].astype(np.float32), 2)
            r[own] = 0
            return w + r

        def scaled(tensor: EncodedTensor) -> np.ndarray:
            r = np.split(tensor.decode()[self.direction].astype(np.float32), 2)[1]
            return np.concatenate([np.zeros(2 * self.hidden, np.float32), r[own]])

        if not own.start:
            return em.weight(BIAS, name, ahead), None
        return em.weight(BIAS, f"{name}, but what the reset gate scales", ahead), em.weight(BIAS, f"{name}, scaled by the reset gate", scaled)
