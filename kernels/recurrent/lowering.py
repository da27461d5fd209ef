"""RNN, LSTM and GRU: the products with W of all steps at once, then step by step the product with R and the cell (README.md)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from ...formats.record import dataclass, replace
from ...formats.tensor import EncodedTensor
from .. import costs
from ..gemm.lowering import every_layout
from ..gemm.pack import Panels, by_panel
from ..gemm.product import Product, Way, way_of
from ..lowering import Emitter, Lowering, Ref, Site, f32, lowers
from ..ops._cell_activations import KINDS, Chosen, chosen
from ..ops._recurrence import DIRECTIONS
from ..ops.gru import OP as GRU
from ..sparse.lowering import Gemv
from .slices import Slice

MOST_STEPS = 4096
"""Steps in time of a node, over both directions; with more of them, a program would grow too long, and NumPy runs the node."""
BLOCK = 128
"""Steps whose inputs are multiplied with W at a time, so that a long sequence takes no more memory than a short one."""
CHUNK = 64
"""Hidden units of a work item of a cell (CHUNK of recurrent.cpp)."""
FUNCTIONS = tuple(KINDS)
"""In the order of recurrent.cpp's enum Function."""
CELLS = {"RNN": ("rnn_cell", 1, ("Tanh",)), "LSTM": ("lstm_cell", 4, ("Sigmoid", "Tanh", "Tanh")), "GRU": ("gru_cell", 3, ("Sigmoid", "Tanh"))}
"""Operator → kernel, gates, its own activations."""
X, W, R, BIAS, LENGTHS, HIDDEN_STATE, CELL_STATE, PEEPHOLES = range(8)


@dataclass(frozen=True, eq=False)
class Matrix:
    """A slice of W or R as a product."""

    place: int
    slice: Slice
    layout: Panels
    way: Way | Gemv

    def emit(self, em: Emitter, x: Ref, bias: Ref, y: Ref) -> None:
        """``bias`` lies as the panels of ``layout`` have it."""
        if isinstance(self.way, Gemv):
            self.way.emit(em, self.slice.name, self.slice.of, [x, bias, y])
            return
        weight = em.weight(self.place, f"{self.layout.name}, {self.slice.name}", lambda tensor: self.layout.pack(self.slice.of(tensor)))
        self.way.emit(em, [x, weight, bias, y])


@lowers("RNN", "LSTM", "GRU")
def lower_recurrent(site: Site) -> Iterator[Lowering]:
    x = site.inputs[X]
    if x is None or X in site.weights or not {W, R} <= set(site.weights) or _present(site, LENGTHS):
        return
    if any(_present(site, place) and place not in site.weights for place in (BIAS, PEEPHOLES)):
        return
    length = x.shape[site.attrs["layout"]]
    walks = [_Walk.of(site, direction) for direction in range(len(DIRECTIONS[site.attrs["direction"]]))]
    if length * len(walks) > MOST_STEPS or any(walk is None for walk in walks):
        return

    def emit(em: Emitter) -> None:
        for walk in walks:
            assert walk is not None
            walk.emit(em)

    states = [("NCHW" if _present(site, place) else None) for place in (HIDDEN_STATE, CELL_STATE)]
    inputs = ("NCHW", *(None,) * (HIDDEN_STATE - 1), *states, None)[:len(site.inputs)]
    cost = sum(walk.cost for walk in walks if walk is not None)
    yield Lowering(CELLS[site.node.op][0], inputs, "NCHW", cost, emit, makes=len(site.outputs))  # type: ignore[arg-type]


def _present(site: Site, place: int) -> bool:
    return place < len(site.inputs) and site.inputs[place] is not None


def _matrix(site: Site, place: int, part: Slice, rows: int, stride: int, like: Matrix | None = None, backwards: bool = False) -> Matrix | None:
    """The cheapest product with a slice of the weight, or the one that reads it as ``like`` does; None if nothing can hold it."""
    outline = part.outline(site.weights[place])
    if outline is None:
        return None
    found = [Matrix(place, part, layout, way_of(Product(layout, rows, stride, None, clamps=False, backwards=backwards), site.threads, site.isa))
             for layout in (every_layout(outline, 1, "rows") if like is None else [like.layout])]
    sparse = Gemv.of(site, place, outline, rows) if rows == 1 or stride == outline.shape[1] else None
    if like is not None:
        return replace(found[0], way=sparse) if isinstance(like.way, Gemv) and sparse is not None else found[0]
    if found and sparse is not None:
        found.append(replace(found[0], way=sparse))
    return min(found, key=lambda matrix: matrix.way.cost, default=None)


@dataclass(frozen=True, eq=False)
class _Walk:
    """One direction of a node. ``late``: the rows of R of a GRU's gate h where the reset gate comes before that product."""

    site: Site
    direction: int
    block: int
    inputs: tuple[Matrix, Matrix]
    """W for a block of steps, and for the shorter one at the end."""
    steps: tuple[Matrix, Matrix, Matrix]
    """R for the first step, whose state may lie elsewhere, and by turns for the others: backwards and forwards through the matrix."""
    late: Matrix | None
    functions: Sequence[Chosen]

    @staticmethod
    def of(site: Site, direction: int) -> _Walk | None:
        kernel, gates, own = CELLS[site.node.op]
        x, hidden = site.inputs[X], site.weights[R].shape[2]
        assert x is not None
        length, batch = x.shape[site.attrs["layout"]], x.shape[1 - site.attrs["layout"]]
        directions = len(DIRECTIONS[site.attrs["direction"]])
        split = kernel == "gru_cell" and not site.attrs["linear_before_reset"]
        whole, early = Slice(direction, 0, gates * hidden), Slice(direction, 0, (gates - split) * hidden)
        first = directions * hidden if site.attrs["layout"] and _present(site, HIDDEN_STATE) else hidden
        later = length * directions * hidden if site.attrs["layout"] else hidden
        block = length if site.attrs["layout"] and batch > 1 else min(length, BLOCK)  # rows of a block have to lie together
        inputs = _matrix(site, W, whole, block * batch, x.shape[2])
        rest = _matrix(site, W, whole, (length % block or block) * batch, x.shape[2], inputs)
        step = _matrix(site, R, early, batch, later)
        back = _matrix(site, R, early, batch, later, step, backwards=True)
        start = _matrix(site, R, early, batch, first, step)
        late = _matrix(site, R, Slice(direction, 2 * hidden, 3 * hidden), batch, hidden) if split else None
        if inputs is None or rest is None or step is None or back is None or start is None or (split and late is None):
            return None
        functions = chosen(site.node.op, site.attrs, own, directions)[direction]
        return _Walk(site, direction, block, (inputs, rest), (start, back, step), late, functions)

    @property
    def hidden(self) -> int:
        return self.site.weights[R].shape[2]

    @property
    def gates(self) -> int:
        return CELLS[self.site.node.op][1]

    @property
    def sizes(self) -> tuple[int, int, int]:
        """Steps, batch, directions."""
        x = self.site.inputs[X]
        assert x is not None
        return x.shape[self.site.attrs["layout"]], x.shape[1 - self.site.attrs["layout"]], len(DIRECTIONS[self.site.attrs["direction"]])

    @property
    def cost(self) -> float:
        length, batch, _ = self.sizes
        step = self.steps[1].way.cost + costs.STEP + costs.RECURRENT["cell"] * batch * self.gates * self.hidden
        if self.late is not None:
            step += self.late.way.cost + costs.STEP
        return self.inputs[0].way.cost * length / self.block + length * step

    def emit(self, em: Emitter) -> None:
        length, batch, _ = self.sizes
        rows = self.gates * self.hidden
        parts = em.temporary(4 * self.block * batch * rows)
        early_bias, late_bias = self._biases(em)
        products = em.temporary(4 * batch * rows)
        backwards = DIRECTIONS[self.site.attrs["direction"]][self.direction]
        times = list(reversed(range(length))) if backwards else list(range(length))
        memory = _Memory(self, em)
        for k, t in enumerate(times):
            if k == 0 or t // self.block != times[k - 1] // self.block:
                self._multiply_inputs(em, t // self.block, early_bias, parts)
            h, stride = memory.hidden(None if k == 0 else times[k - 1])
            self.steps[0 if k == 0 else 2 - k % 2].emit(em, h, late_bias, products)
            self._cell(em, memory, t, k == len(times) - 1, parts, products, (h, stride), k == 0)

    def _multiply_inputs(self, em: Emitter, block: int, bias: Ref, parts: Ref) -> None:
        """The inputs' part of the gates for the steps of a block."""
        length, batch, _ = self.sizes
        x = em.input(X).plus(4 * block * self.block * batch * self.site.weights[W].shape[2])
        self.inputs[int(length - block * self.block < self.block)].emit(em, x, bias, parts)

    def _cell(self, em: Emitter, memory: _Memory, t: int, last: bool, parts: Ref, products: Ref, before: tuple[Ref, int], first: bool) -> None:
        length, batch, _ = self.sizes
        hidden, rows, turned = self.hidden, self.gates * self.hidden, self.site.attrs["layout"]
        mine = parts.plus(4 * (t % self.block) * (1 if turned else batch) * rows)
        y, y_stride = memory.hidden(t)
        end, end_stride = memory.end(1) if last and len(self.site.outputs) > 1 else (y, 0)
        has_end = int(last and len(self.site.outputs) > 1)
        items = batch * -(-hidden // CHUNK)
        product_stride = (self.gates - (self.late is not None)) * hidden

        def params(state_stride: int, out_stride: int, *own: int) -> list[int]:
            clip = self.site.attrs["clip"]
            listed = [(FUNCTIONS.index(one.name), f32(one.alpha), f32(one.beta)) for one in self.functions]
            listed += [(0, 0, 0)] * (3 - len(listed))
            return [hidden, length * rows if turned else rows, state_stride, product_stride, out_stride, end_stride, has_end,
                    f32(np.inf if clip is None else clip), *(number for one in listed for number in one), *own]

        kernel = CELLS[self.site.node.op][0]
        if kernel == "rnn_cell":
            em.step(kernel, [mine, products, before[0], y, end], params(before[1], y_stride), items)
        elif kernel == "lstm_cell":
            (c, c_stride), (c_after, after_stride) = memory.cell(first)
            peepholes = self._peepholes(em)
            em.step(kernel, [mine, products, c, y, end, c_after, peepholes or c],
                    params(c_stride, y_stride, after_stride, int(peepholes is not None), self.site.attrs["input_forget"]), items)
        elif self.late is None:
            em.step(kernel, [mine, products, before[0], y, end, products.plus(8 * hidden)], params(before[1], y_stride, rows, 1), items)
        else:
            reset, inner = em.temporary(4 * batch * hidden), em.temporary(4 * batch * hidden)
            em.step("gru_reset", [mine, products, before[0], reset], params(before[1], hidden), items)
            self.late.emit(em, reset, memory.zero_bias(self.late), inner)
            em.step(kernel, [mine, products, before[0], y, end, inner], params(before[1], y_stride, hidden, 0), items)

    def _biases(self, em: Emitter) -> tuple[Ref, Ref]:
        """What is added to the inputs' part of the gates, by panel, and what to the product with R: only the bias that the reset gate scales."""
        rows, hidden = self.gates * self.hidden, self.hidden
        after = self.late is None and self.site.node.op == GRU.name
        early, late = self.inputs[0].layout, self.steps[0].layout
        if not _present(self.site, BIAS):
            return em.constant(by_panel(np.zeros(rows, np.float32), early)), em.constant(by_panel(np.zeros(late.outputs, np.float32), late))
        scaled = np.arange(rows) >= (2 * hidden if after else rows)

        def packed(layout: Panels, combine: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> Callable[[EncodedTensor], np.ndarray]:
            return lambda tensor: by_panel(combine(*np.split(tensor.decode()[self.direction].astype(np.float32), 2)), layout)

        name = f"panel16 fp32 bias of direction {self.direction}"
        ahead = em.weight(BIAS, name, packed(early, lambda w, r: w + np.where(scaled, np.float32(0), r)))
        if not after:
            return ahead, em.constant(by_panel(np.zeros(late.outputs, np.float32), late))
        return ahead, em.weight(BIAS, f"{name}, scaled by the reset gate", packed(late, lambda w, r: np.where(scaled, r, np.float32(0))))

    def _peepholes(self, em: Emitter) -> Ref | None:
        if not _present(self.site, PEEPHOLES):
            return None
        return em.weight(PEEPHOLES, f"fp32 of direction {self.direction}",
                         lambda tensor: np.ascontiguousarray(tensor.decode()[self.direction].astype(np.float32)))


class _Memory:
    """Where the states of one direction lie; all strides are floats from one sequence of the batch to the next."""

    def __init__(self, walk: _Walk, em: Emitter) -> None:
        self.walk, self.em = walk, em
        self.turned = walk.site.attrs["layout"]
        self.zeros = em.constant(np.zeros(walk.sizes[1] * walk.hidden, np.float32))
        self.own_cell: Ref | None = None
        self.zero_biases: Ref | None = None

    def _state(self, whole: Ref) -> tuple[Ref, int]:
        """This direction of a value of states: [directions, batch, hidden], or [batch, directions, hidden]."""
        _, batch, directions = self.walk.sizes
        apart = self.walk.direction * self.walk.hidden * (1 if self.turned else batch)
        return whole.plus(4 * apart), self.walk.hidden * (directions if self.turned else 1)

    def hidden(self, t: int | None) -> tuple[Ref, int]:
        """The hidden state after step ``t``, in Y; None: the initial one."""
        length, batch, directions = self.walk.sizes
        if t is None:
            return self._state(self.em.input(HIDDEN_STATE)) if _present(self.walk.site, HIDDEN_STATE) else (self.zeros, self.walk.hidden)
        place = (t * directions + self.walk.direction) * self.walk.hidden * (1 if self.turned else batch)
        return self.em.output().plus(4 * place), self.walk.hidden * (length * directions if self.turned else 1)

    def end(self, i: int) -> tuple[Ref, int]:
        """The place in output ``i`` of the last state."""
        return self._state(self.em.output(i))

    def cell(self, first: bool) -> tuple[tuple[Ref, int], tuple[Ref, int]]:
        """The cell state before and after a step: it is changed in place, in the output if that is asked for."""
        if len(self.walk.site.outputs) > 2:
            after = self.end(2)
        else:
            if self.own_cell is None:
                self.own_cell = self.em.temporary(4 * self.walk.sizes[1] * self.walk.hidden)
            after = self.own_cell, self.walk.hidden
        if not first:
            return after, after
        if _present(self.walk.site, CELL_STATE):
            return self._state(self.em.input(CELL_STATE)), after
        return (self.zeros, self.walk.hidden), after

    def zero_bias(self, matrix: Matrix) -> Ref:
        if self.zero_biases is None:
            self.zero_biases = self.em.constant(by_panel(np.zeros(matrix.layout.outputs, np.float32), matrix.layout))
        return self.zero_biases
