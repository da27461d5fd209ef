"""RNN, LSTM and GRU: the products with W of all steps at once, then step by step the product with R and the cell (README.md)."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from ...formats.record import dataclass, replace
from ...formats.tensor import Dense, EncodedTensor, Plain
from .. import costs
from ..gemm.lowering import every_layout
from ..gemm.pack import Panels, by_panel
from ..gemm.product import Product, Way, way_of
from ..lowering import Emitter, Lowering, Ref, Site, lowers
from ..ops._op import DOMAIN
from ..ops._recurrence import DIRECTIONS
from ..sparse.gemv import Gemv
from ..sparse.lowering import Positions
from . import walk
from .integers import lower_integers
from .slices import Slice
from .walk import (
    AHEAD,
    BIAS,
    CELLS,
    HIDDEN_STATE,
    LENGTHS,
    MOST_STEPS,
    PEEPHOLES,
    TILE,
    Ahead,
    Fused,
    Lanes,
    Memory,
    R,
    W,
    Walk,
    X,
    pack_units,
    present,
    resets_first,
    walked,
)


@dataclass(frozen=True, eq=False)
class Matrix:
    """A slice of W or R as a product."""

    place: int
    slice: Slice
    layout: Panels
    way: Way | Gemv | Positions

    def emit(self, em: Emitter, x: Ref, bias: Ref, y: Ref) -> None:
        """``bias`` lies as the panels of ``layout`` have it."""
        if isinstance(self.way, (Gemv, Positions)):
            self.way.emit(em, self.slice.name, self.slice.of, [x, bias, y])
            return
        self.way.emit(em, [x, self.weight(em), bias, y])

    def weight(self, em: Emitter) -> Ref:
        """The slice in ``layout``."""
        return em.weight(self.place, f"{self.layout.name}, {self.slice.name}", lambda tensor: self.layout.pack(self.slice.of(tensor)))


lowers(f"{DOMAIN}LSTM", f"{DOMAIN}GRU", takes=("float32", "int8"))(lower_integers)


@lowers("RNN", "LSTM", "GRU")
def lower_recurrent(site: Site) -> Iterator[Lowering]:
    x = site.inputs[X]
    if x is None or X in site.weights or not {W, R} <= set(site.weights) or present(site, LENGTHS):
        return
    if any(present(site, place) and place not in site.weights for place in (BIAS, PEEPHOLES)):
        return
    length = x.shape[site.attrs["layout"]]
    walks = [FloatWalk.of(site, direction) for direction in range(len(DIRECTIONS[site.attrs["direction"]]))]
    known = [one for one in walks if one is not None]
    if length * len(walks) <= MOST_STEPS and len(known) == len(walks):
        yield walked(site, known)


def _matrix(site: Site, place: int, part: Slice, rows: int, stride: int, like: Matrix | None = None, backwards: bool = False) -> Matrix | None:
    """The cheapest product with a slice of the weight, or the one that reads it as ``like`` does; None if nothing can hold it."""
    outline = part.outline(site.weights[place])
    if outline is None:
        return None
    found = [Matrix(place, part, layout, way_of(Product(layout, rows, stride, None, clamps=False, backwards=backwards), site.threads, site.isa))
             for layout in (every_layout(outline, 1, "rows") if like is None else [like.layout])]
    if like is not None and isinstance(like.way, (Gemv, Positions)):
        return replace(like, way=replace(like.way, rows=rows)) if rows == 1 or stride == outline.shape[1] else found[0]
    if like is None and found and (rows == 1 or stride == outline.shape[1]):
        ways = [*Gemv.all(site, place, outline, rows), Positions.of(site, place, outline, rows) if rows > 1 else None]
        found += [replace(found[0], way=way) for way in ways if way is not None]
    return min(found, key=lambda matrix: matrix.way.cost, default=None)


def _plain(tensor: EncodedTensor) -> str | None:
    """The type of a weight's elements, if it is floats or halves, each in its place."""
    name = tensor.values.data.dtype.name if isinstance(tensor.structure, Dense) and isinstance(tensor.values, Plain) else None
    return name if name in ("float32", "float16") else None


def _goes_ahead(site: Site) -> bool:
    """Whether steps of one sequence multiply W with the inputs of later steps: floats, and where their R comes from far, in a kernel that has enough
    registers."""
    rows, hidden = site.weights[R].shape[1:]
    return site.isa.startswith("avx512") and 4 * rows * hidden >= walk.FAR and _plain(site.weights[W]) == _plain(site.weights[R]) == "float32"


class FloatWalk(Walk):
    """One direction. ``inputs``: W for a block of steps, and for the shorter one at the start. ``steps``: R for the first step, whose state may lie
    elsewhere, and by turns for the others: backwards and forwards through the matrix. ``late``: its last rows, where the reset gate comes first."""

    def __init__(self, site: Site, direction: int, block: int, inputs: tuple[Matrix, Matrix], steps: tuple[Matrix, Matrix, Matrix],
                 late: Matrix | None) -> None:
        super().__init__(site, direction)
        self.block, self.inputs, self.steps, self.late = block, inputs, steps, late
        self.plain = _plain(site.weights[R])
        self.is_fused = self.plain is not None and self.sizes[1] == 1 and late is None

    @staticmethod
    def of(site: Site, direction: int) -> FloatWalk | None:
        gates = CELLS[site.node.op][1]
        x, hidden = site.inputs[X], site.weights[R].shape[2]
        assert x is not None
        length, batch = x.shape[site.attrs["layout"]], x.shape[1 - site.attrs["layout"]]
        directions = len(DIRECTIONS[site.attrs["direction"]])
        split = resets_first(site)
        whole, early = Slice(direction, 0, gates * hidden), Slice(direction, 0, (gates - split) * hidden)
        first = directions * hidden if site.attrs["layout"] and present(site, HIDDEN_STATE) else hidden
        later = length * directions * hidden if site.attrs["layout"] else hidden
        block = length if site.attrs["layout"] and batch > 1 else walk.block_of(length)  # rows of a block have to lie together
        if batch == 1 and not split and _goes_ahead(site):
            block = min(AHEAD, length)
        inputs = _matrix(site, W, whole, block * batch, x.shape[2])
        rest = _matrix(site, W, whole, (length % block or block) * batch, x.shape[2], inputs)
        step = _matrix(site, R, early, batch, later)
        back = _matrix(site, R, early, batch, later, step, backwards=True)
        start = _matrix(site, R, early, batch, first, step)
        late = _matrix(site, R, Slice(direction, 2 * hidden, 3 * hidden), batch, hidden) if split else None
        if inputs is None or rest is None or step is None or back is None or start is None or (split and late is None):
            return None
        return FloatWalk(site, direction, block, (inputs, rest), (start, back, step), late)

    @property
    def cost(self) -> tuple[float, float]:
        length, batch, _ = self.sizes
        step = self.steps[1].way.cost + costs.STEP + costs.RECURRENT["cell"] * batch * self.gates * self.hidden
        if self.late is not None:
            step += self.late.way.cost + costs.STEP
        inputs = self.inputs[0].way.cost * length / self.block
        if self.goes_ahead:
            return inputs * self.block / length, length * step + costs.RECURRENT["ahead"] * inputs * (length - self.block) / length
        return inputs, length * step

    @property
    def goes_ahead(self) -> bool:
        """Whether all blocks but the first are multiplied with W in the steps of the block before."""
        return self.is_fused and _goes_ahead(self.site) and self.block < self.sizes[0]

    @property
    def meetings(self) -> int:
        return 1 if self.is_fused else super().meetings

    def emit(self, em: Emitter, lanes: Lanes) -> None:
        batch, rows = self.sizes[1], self.gates * self.hidden
        apart = 4 * rows * (1 if self.site.attrs["layout"] else batch)  # bytes from one time's part of the gates to the next one's
        parts = [em.temporary(4 * self.block * batch * rows) for _ in range(2 if self.goes_ahead else 1)]
        early_bias, late_bias = self._biases(em)
        products = em.temporary(4 * batch * rows)
        memory, before, backwards, blocks = Memory(self, em), None, False, self._blocks()
        for b, block in enumerate(blocks):
            mine, theirs = parts[b % len(parts)], parts[(b + 1) % len(parts)]
            if b == 0 or not self.goes_ahead:
                em.lane(lanes.inputs)
                self._multiply_inputs(em, block, early_bias, mine)
                em.lane(lanes.steps)
            for done, t in enumerate(block):
                h, stride = memory.hidden(before)
                made: Ref | Fused = products
                backwards = before is not None and not backwards
                if self.is_fused:
                    packed = em.weight(R, f"units16 {self.plain}, direction {self.direction}", self._pack_units)
                    share = Ahead()
                    if self.goes_ahead and b + 1 < len(blocks):
                        share = self._ahead(em, blocks[b + 1], done, len(block), early_bias, theirs)
                    made = Fused(packed, late_bias, backwards, self.plain == "float16", share)
                else:
                    self.steps[0 if before is None else 1 if backwards else 2].emit(em, h, late_bias, products)
                self.cell(em, memory, t, t == blocks[-1][-1], mine.plus((t - min(block)) * apart), made, (h, stride), before is None)
                before = t

    def _blocks(self) -> list[list[int]]:
        """The times in the order in which they are walked, by those whose inputs are multiplied with W together; of the first block there may be
        fewer."""
        times, first = self.times, self.sizes[0] % self.block if self.block else 0
        starts = range(first, len(times), self.block) if self.block else ()
        return [block for block in (times[:first], *(times[at:at + self.block] for at in starts)) if block]

    def _ahead(self, em: Emitter, block: list[int], done: int, steps: int, bias: Ref, parts: Ref) -> Ahead:
        """The share of a block's products with W that falls to the step that comes after ``done`` of the ``steps`` of the block before."""
        w, inputs, rows = self.inputs[0], self.site.weights[W].shape[2], self.gates * self.hidden
        tiles = -(-rows // TILE)
        return Ahead([tiles * done // steps, tiles * (done + 1) // steps, len(block), inputs, rows],
                     [em.input(X).plus(4 * min(block) * inputs), w.weight(em), bias, parts])

    def _pack_units(self, tensor: EncodedTensor) -> np.ndarray:
        return pack_units(tensor.values.data.reshape(tensor.shape)[self.direction], self.gates)  # type: ignore[union-attr]

    def emit_late(self, em: Emitter, memory: Memory, reset: Ref, y: Ref) -> None:
        assert self.late is not None
        self.late.emit(em, reset, em.constant(by_panel(np.zeros(self.late.layout.outputs, np.float32), self.late.layout)), y)

    def _multiply_inputs(self, em: Emitter, block: list[int], bias: Ref, parts: Ref) -> None:
        """The inputs' part of the gates for the steps of a block."""
        x = em.input(X).plus(4 * min(block) * self.sizes[1] * self.site.weights[W].shape[2])
        self.inputs[int(len(block) < self.block)].emit(em, x, bias, parts)

    def _biases(self, em: Emitter) -> tuple[Ref, Ref]:
        """What is added to the inputs' part of the gates, by panel, and what to the product with R: only the bias that the reset gate scales."""
        rows, hidden = self.gates * self.hidden, self.hidden
        after = CELLS[self.site.node.op][0] == "gru_cell" and not self.resets_first
        early, late = self.inputs[0].layout, self.steps[0].layout
        if not present(self.site, BIAS):
            return em.constant(by_panel(np.zeros(rows, np.float32), early)), em.constant(by_panel(np.zeros(late.outputs, np.float32), late))
        scaled = np.arange(rows) >= (2 * hidden if after else rows)

        def packed(layout: Panels, combine: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> Callable[[EncodedTensor], np.ndarray]:
            return lambda tensor: by_panel(combine(*np.split(tensor.decode()[self.direction].astype(np.float32), 2)), layout)

        name = f"panel16 fp32 bias of direction {self.direction}" + (", but what the reset gate scales" if after else "")
        ahead = em.weight(BIAS, name, packed(early, lambda w, r: w + np.where(scaled, np.float32(0), r)))
        if not after:
            return ahead, em.constant(by_panel(np.zeros(late.outputs, np.float32), late))
        return ahead, em.weight(BIAS, f"{name}, scaled by the reset gate", packed(late, lambda w, r: np.where(scaled, r, np.float32(0))))
