"""What every way to walk a recurrent operator over time shares: where the states lie, and the step of the cell."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...formats.record import dataclass
from .. import costs
from ..lowering import Emitter, Lowering, Ref, Site, f32
from ..ops._cell_activations import KINDS, chosen
from ..ops._op import DOMAIN
from ..ops._recurrence import DIRECTIONS
from ..slabs import aligned

MOST_STEPS = 4096
"""Steps in time of a node, over both directions; with more of them, a program would grow too long, and NumPy runs the node."""
BLOCK = 128
"""Steps whose inputs are multiplied with W at a time, so that a long sequence takes no more memory than a short one."""
AHEAD = 12
"""Steps whose inputs are multiplied with W while those before them are made (MOST_TIMES of ahead.h)."""
TILE = 32
"""Rows of W of a tile there (TILE_PANELS panels)."""
FAR = 512 << 10
"""Bytes of one direction's R from which on there is time to do so: 100 steps of 256 KB and less took as long or longer."""
CHUNK = 64
"""Hidden units of a work item of a cell (CHUNK of recurrent.cpp)."""
UNITS = 16
"""The same where the product with R is in that step (UNITS of steps.cpp)."""
FUNCTIONS = tuple(KINDS)
"""In the order of recurrent.cpp's enum Function."""
CELLS = {"RNN": ("rnn_cell", 1, ("Tanh",)), "LSTM": ("lstm_cell", 4, ("Sigmoid", "Tanh", "Tanh")),
         f"{DOMAIN}LSTM": ("lstm_cell", 4, ("Sigmoid", "Tanh", "Tanh")), "GRU": ("gru_cell", 3, ("Sigmoid", "Tanh")),
         f"{DOMAIN}GRU": ("gru_cell", 3, ("Sigmoid", "Tanh"))}
"""Operator → kernel, gates, its own activations."""
X, W, R, BIAS, LENGTHS, HIDDEN_STATE, CELL_STATE, PEEPHOLES = range(8)


def block_of(length: int) -> int:
    """Steps of a block of about the same size as the others."""
    return -(-length // -(-length // BLOCK)) if length else 0


def present(site: Site, place: int) -> bool:
    return place < len(site.inputs) and site.inputs[place] is not None


def resets_first(site: Site) -> bool:
    """Whether it is a GRU whose reset gate comes before the product with R of its gate h: those rows of R are a matrix of their own."""
    return CELLS[site.node.op][0] == "gru_cell" and not site.attrs["linear_before_reset"]


class Walk:
    """One direction of a node."""

    def __init__(self, site: Site, direction: int) -> None:
        self.site, self.direction = site, direction
        self.functions = chosen(site.node.op.removeprefix(DOMAIN), site.attrs, CELLS[site.node.op][2], self.sizes[2])[direction]

    @property
    def cost(self) -> tuple[float, float]:
        """Nanoseconds on one thread: of the products with W, and of all else."""
        raise NotImplementedError

    def emit(self, em: Emitter, lanes: Lanes) -> None:
        """All steps in time."""
        raise NotImplementedError

    def emit_late(self, em: Emitter, memory: Memory, reset: Ref, y: Ref) -> None:
        """The product of the rows of R of a GRU's gate h with the hidden state that the reset gate scaled, where ``resets_first``."""
        raise NotImplementedError

    @property
    def resets_first(self) -> bool:
        """Whether the reset gate scales the hidden state ahead of a product."""
        return resets_first(self.site)

    @property
    def meetings(self) -> int:
        """Steps of the engine for a step in time."""
        return 4 if self.resets_first else 2

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
    def times(self) -> list[int]:
        """The steps in the order in which they are walked."""
        length = self.sizes[0]
        return list(reversed(range(length))) if DIRECTIONS[self.site.attrs["direction"]][self.direction] else list(range(length))

    @property
    def parts_stride(self) -> int:
        """Floats from one sequence's part of the gates to the next one's."""
        rows = self.gates * self.hidden
        return self.sizes[0] * rows if self.site.attrs["layout"] else rows

    def cell(self, em: Emitter, memory: Memory, t: int, last: bool, mine: Ref, products: Ref | Fused, before: tuple[Ref, int], first: bool) -> None:
        """The step of the cell at time ``t``. ``mine``: the inputs' part of the gates. ``products``: with R, or what makes them in the same step."""
        batch, hidden, rows = self.sizes[1], self.hidden, self.gates * self.hidden
        y, y_stride = memory.hidden(t)
        end, end_stride = memory.end(1) if last and len(self.site.outputs) > 1 else (y, 0)
        has_end = int(last and len(self.site.outputs) > 1)
        items, fused = batch * -(-hidden // CHUNK), products if isinstance(products, Fused) else None
        product_stride = (self.gates - self.resets_first) * hidden

        def params(state_stride: int, out_stride: int, *own: int) -> list[int]:
            clip = self.site.attrs["clip"]
            listed = [(FUNCTIONS.index(one.name), f32(one.alpha), f32(one.beta)) for one in self.functions]
            listed += [(0, 0, 0)] * (3 - len(listed))
            own = own if fused is None else (*own, int(fused.backwards), int(fused.halves), *fused.ahead.params)
            return [hidden, self.parts_stride, state_stride, product_stride, out_stride, end_stride, has_end,
                    f32(np.inf if clip is None else clip), *(number for one in listed for number in one), *own]

        kernel = CELLS[self.site.node.op][0]
        more = [] if fused is None else fused.ahead.buffers
        of_r = products if isinstance(products, Ref) else products.r
        if fused is not None:
            kernel, items = kernel.replace("_cell", "_step"), -(-hidden // UNITS)
        if kernel.startswith("rnn"):
            em.step(kernel, [mine, of_r, before[0], y, end, *more], params(before[1], y_stride), items)
        elif kernel.startswith("lstm"):
            (c, c_stride), (c_after, after_stride) = memory.cell(first)
            peepholes = self._peepholes(em)
            em.step(kernel, [mine, of_r, c, y, end, c_after, peepholes or c, before[0], *more],
                    params(c_stride, y_stride, after_stride, int(peepholes is not None), self.site.attrs["input_forget"]), items)
        elif not self.resets_first:
            inner = of_r.plus(8 * hidden) if fused is None else fused.bias.plus(8 * hidden)
            em.step(kernel, [mine, of_r, before[0], y, end, inner, *more], params(before[1], y_stride, rows, 1), items)
        else:
            reset, inner = memory.between()
            em.step("gru_reset", [mine, of_r, before[0], reset], params(before[1], hidden), items)
            self.emit_late(em, memory, reset, inner)
            em.step(kernel, [mine, of_r, before[0], y, end, inner], params(before[1], y_stride, hidden, 0), items)

    def _peepholes(self, em: Emitter) -> Ref | None:
        if not present(self.site, PEEPHOLES):
            return None
        return em.weight(PEEPHOLES, f"fp32 of direction {self.direction}",
                         lambda tensor: np.ascontiguousarray(tensor.decode()[self.direction].astype(np.float32)))


@dataclass(frozen=True)
class Ahead:
    """What a step does for later ones: AheadParam of ahead.h, and its buffers."""

    params: Sequence[int] = (0, 0, 0, 0, 0)
    buffers: Sequence[Ref] = ()


@dataclass(frozen=True)
class Fused:
    """The product with R in the step of the cell. ``r``: packed by ``pack_units``; ``bias``: of the gates' products, of which a GRU's gate h has one;
    ``backwards``: from the last units on; ``halves``: R is of fp16."""

    r: Ref
    bias: Ref
    backwards: bool
    halves: bool
    ahead: Ahead


def pack_units(matrix: np.ndarray, gates: int) -> np.ndarray:
    """uint8: R [gates · hidden, hidden] as [hidden / UNITS, hidden, gates, UNITS] of its dtype, rows that fill up zero."""
    hidden = matrix.shape[1]
    packed = aligned(matrix.itemsize * -(-hidden // UNITS) * hidden * gates * UNITS)
    packed[:] = 0
    body = packed.view(matrix.dtype).reshape(-1, hidden, gates, UNITS)
    for at, rows in enumerate(np.split(matrix.reshape(gates, hidden, hidden), range(UNITS, hidden, UNITS), axis=1)):
        body[at, :, :, :rows.shape[1]] = rows.transpose(2, 0, 1)
    return packed


@dataclass(frozen=True)
class Lanes:
    """Which lane the products with W are in, and which one all else is; None: all threads share these steps."""

    inputs: int | None = None
    steps: int | None = None


def lanes_of(walks: Sequence[Walk], threads: int) -> list[Lanes]:
    """Of each direction. Threads that share each step meet several times per step in time; where that takes longer than it saves, one thread walks
    a direction, and directions run side by side."""
    costs_of = [walk.cost for walk in walks]
    inputs, steps = (sum(part) for part in zip(*costs_of))
    meetings = sum(walk.meetings * walk.sizes[0] for walk in walks)
    together = (inputs + steps) / threads + meetings * costs.MEETING
    alone = max(map(sum, costs_of)) if len(walks) > 1 else inputs / threads + steps
    if threads == 1 or together <= alone:
        return [Lanes()] * len(walks)
    return [Lanes(d, d) for d in range(len(walks))] if len(walks) > 1 else [Lanes(None, 0)]


def walked(site: Site, walks: Sequence[Walk]) -> Lowering:
    """One direction after the other, or at the same time."""
    states = [("NCHW" if present(site, place) else None) for place in (HIDDEN_STATE, CELL_STATE)]
    inputs = ("NCHW", *(None,) * (HIDDEN_STATE - 1), *states, None, "NCHW")[:len(site.inputs)]

    def emit(em: Emitter) -> None:
        for place, layout in enumerate(inputs):
            if layout is not None:
                em.input(place)  # reordered here if need be, and not in the lane that comes first
        for walk, lanes in zip(walks, lanes_of(walks, site.threads)):
            walk.emit(em, lanes)
        em.lane(None)

    cost = sum(sum(walk.cost) for walk in walks)
    return Lowering(CELLS[site.node.op][0], inputs, "NCHW", cost, emit, makes=len(site.outputs))  # type: ignore[arg-type]


class Memory:
    """Where the states of one direction lie; all strides are floats from one sequence of the batch to the next."""

    def __init__(self, walk: Walk, em: Emitter) -> None:
        self.walk, self.em = walk, em
        self.turned = walk.site.attrs["layout"]
        self.zeros = em.constant(np.zeros(walk.sizes[1] * walk.hidden, np.float32))
        self.own_cell: Ref | None = None
        self.own_between: tuple[Ref, Ref] | None = None
        self.own_codes: tuple[Ref, Ref] | None = None

    def between(self) -> tuple[Ref, Ref]:
        """What a GRU's reset gate makes of the hidden state, and the product with it: the same memory in every step."""
        if self.own_between is None:
            nbytes = 4 * self.walk.sizes[1] * self.walk.hidden
            self.own_between = self.em.temporary(nbytes), self.em.temporary(nbytes)
        return self.own_between

    def codes(self) -> tuple[Ref, Ref]:
        """Codes and scale of one row of the hidden state: the same memory in every step."""
        if self.own_codes is None:
            self.own_codes = self.em.temporary(self.walk.hidden), self.em.temporary(4)
        return self.own_codes

    def _state(self, whole: Ref) -> tuple[Ref, int]:
        """This direction of a value of states: [directions, batch, hidden], or [batch, directions, hidden]."""
        _, batch, directions = self.walk.sizes
        apart = self.walk.direction * self.walk.hidden * (1 if self.turned else batch)
        return whole.plus(4 * apart), self.walk.hidden * (directions if self.turned else 1)

    def hidden(self, t: int | None) -> tuple[Ref, int]:
        """The hidden state after step ``t``, in Y; None: the initial one."""
        length, batch, directions = self.walk.sizes
        if t is None:
            return self._state(self.em.input(HIDDEN_STATE)) if present(self.walk.site, HIDDEN_STATE) else (self.zeros, self.walk.hidden)
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
        if present(self.walk.site, CELL_STATE):
            return self._state(self.em.input(CELL_STATE)), after
        return (self.zeros, self.walk.hidden), after
