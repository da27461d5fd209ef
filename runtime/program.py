"""Writes the program of one native segment: emits the chosen lowerings, adds reorders, places buffers, serialises."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from ..formats.record import dataclass
from ..formats.tensor import EncodedTensor
from ..kernels.lowering import Band, Ending, Layout, Lowering, Part, Ref, channels_last
from ..kernels.movement.copies import emit_move, emit_reorder, reorder_is_free
from ..kernels.ops._op import Type
from .arena import Lifetime, place
from .bands import Sum, banded, bands_of, pitch_of, sum_after
from .partition import Types, Unit
from .stage import EngineProgram, Slot
from .strips import Link, chain_at, expands, strips_of
from .weights import PackedWeights

ARENA, WEIGHT, INPUT, OUTPUT = range(4)
"""Spaces of a buffer, as runtime/native/engine.h numbers them."""
SMALL = 1 << 16
"""Bytes of a table that is compared with others."""
LANE, SHARED = -1, -1
"""What stands for a kernel where the following steps are another lane's, and for a lane where threads share them."""


@dataclass(frozen=True)
class Step:
    """Plain data: one kernel call. ``buffers``: (space, index, byte offset) each. ``unit``: which of the segment's units it belongs to.
    ``lane``: which thread runs it, without waiting for the others; None: all threads share its items. Lanes of one ``group`` run at the same time."""

    kernel: str
    items: int
    buffers: tuple[tuple[int, int, int], ...]
    params: tuple[int, ...]
    unit: int
    lane: int | None = None
    group: int = 0


@dataclass(frozen=True, eq=False)
class Program:
    """Everything the engine needs. ``weights`` are the arrays that the steps index, ``names`` of each of these (weight, layout), None for a table
    of the plan's own; ``inputs``/``outputs`` name the outside values;
    ``traffic``: (bytes of values, bytes of weights) that the steps of each unit touch, each buffer counted once;
    ``cost``: estimated nanoseconds on one thread."""

    steps: tuple[Step, ...]
    weights: list[np.ndarray]
    names: list[tuple[str, str] | None]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    arena_bytes: int
    scratch_bytes: int
    traffic: tuple[tuple[int, int], ...]
    cost: float

    def serialise(self) -> tuple[np.ndarray, list[str]]:
        """(int64 array as engine.h describes it, kernel names that it indexes)."""
        names = list(dict.fromkeys(step.kernel for step in self.steps))
        index = {name: i for i, name in enumerate(names)}
        code = [len(self.steps)]
        lane, group = None, 0
        for step in self.steps:
            if lane is not None and step.lane is not None and step.group != group:
                code += [LANE, SHARED]
                lane = None
            group = step.group
            if step.lane != lane:
                lane = step.lane
                code += [LANE, SHARED if lane is None else lane]
            code += [index[step.kernel], step.items, len(step.buffers)]
            code += [number for buffer in step.buffers for number in buffer]
            code += [len(step.params), *step.params]
        return np.array(code, np.int64), names

    def compiled(self, types: Types) -> EngineProgram:
        """As the engine takes it."""
        code, kernels = self.serialise()
        inputs, outputs = ([slot(name, types[name]) for name in names] for names in (self.inputs, self.outputs))
        return EngineProgram(code, kernels, self.weights, self.names, inputs, outputs, self.arena_bytes, self.scratch_bytes, self.cost)


def slot(name: str, kind: Type | None) -> Slot:
    """A value outside a segment, whose type is known."""
    assert kind is not None
    return name, kind.dtype, kind.shape


@dataclass(eq=False)
class _Buffer:
    """Memory of one value in one layout; several values may share it (aliases)."""

    nbytes: int
    space: int = ARENA
    index: int = 0
    offset: int = 0


@dataclass(eq=False)
class _Pending:
    kernel: str
    buffers: list[tuple[_Buffer | int, int]]  # (value's buffer or index of a weight, byte offset)
    params: tuple[int, ...]
    items: int
    unit: int
    lane: int | None
    group: int  # steps of one group may run at the same time


class ProgramBuilder:
    """Builds the program of a segment; also the ``Emitter`` that lowerings write to."""

    def __init__(self, types: Types, weights: PackedWeights, constants: Mapping[str, np.ndarray], inputs: Sequence[str],
                 outputs: Sequence[str]) -> None:
        self.types, self.weights, self.constants, self.inputs, self.outputs = types, weights, constants, inputs, outputs
        self.low, self.high = -np.inf, np.inf
        self._steps: list[_Pending] = []
        self._buffers: dict[tuple[str, Layout], _Buffer] = {}
        self._weights: list[np.ndarray] = []
        self._names: list[tuple[str, str] | None] = []
        self._index_of: dict[object, int] = {}
        self._scratch = self._place = self._group = 0
        self._unit: Unit | None = None
        self._option: Lowering | None = None
        self._ending: Ending | None = None
        self._lane: int | None = None

    def build(self, units: Sequence[Unit], chosen: Sequence[Lowering]) -> Program:
        for index, name in enumerate(self.inputs):
            self._buffers[name, "NCHW"] = _Buffer(self._nbytes(name), INPUT, index)
        readers = Counter(name for unit in units for name in unit.reads())
        readers.update(self.outputs)
        at = 0
        while at < len(units):
            links = chain_at(at, units, chosen, self.types, readers)
            if len(links) > 1:
                self._emit_strips(links)
            elif banded(at, units, chosen, self.types, readers):
                total = sum_after(at + 2, units, chosen, self.types, readers)
                self._emit_bands(at, units, chosen, total)
                at += 2 + (total is not None)
            elif expands(at, units, chosen, self.types, readers):
                self._emit_expanded(at, units, chosen)
                at += 1
            elif (total := sum_after(at, units, chosen, self.types, readers)) is not None:
                self._added(at, units[at], chosen[at], total, Ref("value", self._buffer(total.addend, "NCHW")), None)
                at += 1
            else:
                self._enter(at, units[at], chosen[at])
                self._emit(units[at], chosen[at])
            at += max(1, len(links))
        maker = {name: place for place, unit in enumerate(units) for name in unit.outputs}
        for index, name in enumerate(self.outputs):
            self._place = maker[name]
            self._deliver(name, index)
        return self._finish(sum(option.cost for option in chosen), len(units), units[0].site.threads % 2 == 0)

    def given(self, name: str, layout: Layout, index: int) -> bool:
        """Says, before ``build``, that input ``index`` is this value in this layout; False if the layout was given already."""
        if (name, layout) in self._buffers:
            return False
        self._buffers[name, layout] = _Buffer(self._nbytes(name), INPUT, index)
        return True

    def _enter(self, place: int, unit: Unit, option: Lowering) -> None:
        self._place, self._unit, self._option, self._ending = place, unit, option, None
        self.low, self.high = unit.low, unit.high

    def _emit_strips(self, links: Sequence[Link]) -> None:
        """The units of a chain, strip by strip; each thread makes rows of its own, with buffers of its own."""
        parts = strips_of(links)
        self._enter(links[0].place, links[0].unit, links[0].option)
        source = self.input(0)
        for lane, (works, capacity) in enumerate(parts):
            self.lane(lane if len(parts) > 1 else None)
            lines = [self.temporary(rows * link.row_bytes) for rows, link in zip(capacity, links)]
            for work in works:
                link = links[work.index]
                self._enter(link.place, link.unit, link.option)
                x = lines[work.index - 1] if work.index else source
                y = lines[work.index].plus(work.at * link.row_bytes) if link is not links[-1] else self.output().plus(work.first * link.row_step)
                place, rows = work.moved
                if rows:
                    emit_move(self, lines[work.index].plus(place * link.row_bytes), lines[work.index], rows * link.row_bytes // 4)
                link.strips.emit(self, x, work.x0, y, work.first, work.last)
        self.lane(None)

    def _emit_expanded(self, at: int, units: Sequence[Unit], chosen: Sequence[Lowering]) -> None:
        """Two units in the steps of the second one."""
        self._enter(at, units[at], chosen[at])
        make, read = chosen[at].planes, chosen[at + 1].expands
        assert make is not None
        assert read is not None
        planes = make(self)
        self._enter(at + 1, units[at + 1], chosen[at + 1])
        read.emit(self, planes, None)

    def _emit_bands(self, at: int, units: Sequence[Unit], chosen: Sequence[Lowering], total: Sum | None) -> None:
        """An inverted residual, band by band; each thread makes bands of its own, in a buffer of its own."""
        make, read = chosen[at].planes, chosen[at + 1].expands
        assert make is not None
        assert read is not None
        self._enter(at, units[at], chosen[at])
        planes = make(self)
        addend = Ref("value", self._buffer(total.addend, "NCHW")) if total else None
        filtered, threads = self._type(units[at + 1].outputs[0]).shape, units[at].site.threads
        bands = bands_of(units[at + 1], chosen[at + 1], self.types)
        pitch = pitch_of(bands[0][1], filtered)
        buffers = [self.temporary(filtered[1] * pitch * 4) for _ in range(min(threads, len(bands)))]
        for index, (first, last) in enumerate(bands):
            lane = index * len(buffers) // len(bands)
            self.lane(lane if threads > 1 else None)
            self._enter(at + 1, units[at + 1], chosen[at + 1])
            read.emit(self, planes, Band(index, len(bands), buffers[lane], pitch))
            self._added(at + 2, units[at + 2], chosen[at + 2], total, addend, Part(buffers[lane], pitch, first, last))
        self.lane(None)

    def _added(self, at: int, unit: Unit, option: Lowering, total: Sum | None, addend: Ref | None, part: Part | None) -> None:
        """The steps of the unit at ``at`` and of the addition after it."""
        assert option.adds is not None
        self._enter(at, unit, option)
        if total is not None:
            self.low, self.high = total.unit.low, total.unit.high
        option.adds(self, self._made(total.output if total else unit.outputs[0], option), addend, part)

    def _emit(self, unit: Unit, option: Lowering) -> None:
        if option.alias:
            self._buffers[unit.outputs[0], option.output] = self._buffer(unit.site.node.inputs[0], option.inputs[0] or "NCHW")
        else:
            option.emit(self)

    # What lowerings call (see kernels.lowering.Emitter)

    def input(self, i: int) -> Ref:
        unit, option = self._current()
        layout = option.inputs[i] or "NCHW"
        if i not in unit.site.weights:
            return Ref("value", self._buffer(unit.site.node.inputs[i], layout))
        return self.weight(i, f"dense fp32 {layout}", lambda tensor: _expanded(tensor, layout))

    def output(self, i: int = 0) -> Ref:
        unit, option = self._current()
        return self._made(unit.outputs[i], option)

    @property
    def ending(self) -> Ending:
        if self._ending is None:
            self._ending = self._found_ending()
        return self._ending

    def _found_ending(self) -> Ending:
        unit, option = self._current()
        value = next((name for name in unit.outputs if name != unit.codes), None)
        addend = Ref("value", self._buffer(unit.addend, option.output)) if unit.addend else None
        return Ending(addend, None if value is None else self._made(value, option), self._made(unit.codes, option) if unit.codes else None, unit.how)

    def _made(self, name: str, option: Lowering) -> Ref:
        """Where the unit's output of that name goes."""
        key = (name, option.output)
        if key not in self._buffers:
            self._buffers[key] = _Buffer(self._nbytes(name))
        return Ref("value", self._buffers[key])

    def weight(self, i: int, layout: str, pack: Callable[[EncodedTensor], np.ndarray]) -> Ref:
        unit, _ = self._current()
        name = unit.site.node.inputs[i]
        if name in self.constants:
            return self.constant(pack(unit.site.weights[i]))
        if (name, layout) not in self._index_of:
            self._index_of[name, layout] = self._add_weight(self.weights.packed(name, layout, pack), (name, layout))
        return Ref("weight", self._index_of[name, layout])

    def constant(self, array: np.ndarray) -> Ref:
        """Small tables with the same bytes are one: strips of a unit write theirs again and again."""
        array = np.ascontiguousarray(array)
        if array.nbytes > SMALL:
            return Ref("weight", self._add_weight(array))
        key = (array.dtype.str, array.tobytes())
        if key not in self._index_of:
            self._index_of[key] = self._add_weight(array)
        return Ref("weight", self._index_of[key])

    def temporary(self, nbytes: int) -> Ref:
        return Ref("value", _Buffer(nbytes))

    def lane(self, index: int | None) -> None:
        if index is not None and (self._lane is None or index < self._lane):
            self._group += 1
        self._lane = index

    def step(self, kernel: str, buffers: Sequence[Ref], params: Sequence[int], items: int, scratch: int = 0) -> None:
        self._scratch = max(self._scratch, scratch)
        if self._lane is None:
            self._group += 1
        self._steps.append(_Pending(kernel, [(ref.key, ref.offset) for ref in buffers], tuple(map(int, params)), int(items),
                                    self._place, self._lane, self._group))

    # Buffers

    def _current(self) -> tuple[Unit, Lowering]:
        assert self._unit is not None
        assert self._option is not None
        return self._unit, self._option

    def _add_weight(self, array: np.ndarray, name: tuple[str, str] | None = None) -> int:
        self._weights.append(array)
        self._names.append(name)
        return len(self._weights) - 1

    def _type(self, name: str) -> Type:
        kind = self.types[name]
        assert kind is not None
        return kind

    def _nbytes(self, name: str) -> int:
        return self._type(name).size * self._itemsize(name)

    def _itemsize(self, name: str) -> int:
        return np.dtype(self._type(name).dtype).itemsize

    def _buffer(self, name: str, layout: Layout) -> _Buffer:
        """The value in that layout, reordered if it lies in the other one only."""
        found = self._buffers.get((name, layout))
        if found is not None:
            return found
        other: Layout = "NHWC" if layout == "NCHW" else "NCHW"
        source = self._buffers[name, other]
        shape = self._type(name).shape
        if len(shape) < 3 or reorder_is_free(shape):
            target = source
        else:
            target = _Buffer(source.nbytes)
            emit_reorder(self, Ref("value", source), Ref("value", target), shape, other, layout, self._itemsize(name))
        self._buffers[name, layout] = target
        return target

    def _deliver(self, name: str, index: int) -> None:
        """Makes the value the segment's output: in place if its memory is the segment's own, else by a copy."""
        buffer = self._buffer(name, "NCHW")
        if buffer.space == ARENA:
            buffer.space, buffer.index = OUTPUT, index
            return
        target = _Buffer(buffer.nbytes, OUTPUT, index)
        emit_reorder(self, Ref("value", buffer), Ref("value", target), self._type(name).shape, "NCHW", "NCHW", self._itemsize(name))

    def _finish(self, cost: float, units: int, halves: bool) -> Program:
        first: dict[_Buffer, int] = {}
        last: dict[_Buffer, int] = {}
        for step in self._steps:
            for key, _ in step.buffers:
                if isinstance(key, _Buffer):
                    first.setdefault(key, step.group)
                    last[key] = step.group
        own = [buffer for buffer in first if buffer.space == ARENA]
        offsets, arena = place([Lifetime(buffer.nbytes, first[buffer], last[buffer]) for buffer in own], halves)
        for buffer, offset in zip(own, offsets):
            buffer.offset = offset
        steps = tuple([Step(s.kernel, s.items, tuple([(WEIGHT, key, offset) if isinstance(key, int) else (key.space, key.index, key.offset + offset)
                                                      for key, offset in s.buffers]), s.params, s.unit, s.lane, s.group) for s in self._steps])
        return Program(steps, self._weights, self._names, tuple(self.inputs), tuple(self.outputs), arena, self._scratch, self._traffic(units), cost)

    def _traffic(self, units: int) -> tuple[tuple[int, int], ...]:
        touched: list[set[_Buffer | int]] = [set() for _ in range(units)]
        for step in self._steps:
            touched[step.unit].update([key for key, _ in step.buffers])
        return tuple([(sum([key.nbytes for key in keys if isinstance(key, _Buffer)]),
                       sum([self._weights[key].nbytes for key in keys if isinstance(key, int)])) for keys in touched])


def _expanded(tensor: EncodedTensor, layout: Layout) -> np.ndarray:
    """The constant as float32 in the wanted order."""
    array = tensor.decode().astype(np.float32, copy=False)
    if layout == "NHWC" and array.ndim > 2:
        array = np.moveaxis(array, 1, -1)
        assert array.shape == channels_last(tensor.shape)
    return np.ascontiguousarray(array).reshape(-1)
