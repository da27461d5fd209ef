"""A native segment as the engine takes it, and what runs it. Nothing here knows of graphs, so that a plan that was kept needs none."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..formats.record import dataclass
from ..kernels.isa import native
from .errors import OutOfMemory

if TYPE_CHECKING:
    from ..kernels.ops._op import Type
    from .numba import NumbaNodes

Values = dict[str, np.ndarray]
Slot = tuple[str, str, tuple[int, ...]]
"""A value outside a segment: name, dtype, shape."""

WORTH_RELEASING = 20_000
"""Estimated nanoseconds from which on other Python threads may run meanwhile: to let go of the interpreter and take it back costs 0.1 µs, and much
more where another thread waits for it."""

WORTH_THREADS = 45_000
"""Estimated nanoseconds from which on a segment is shared between threads: waking a worker that sleeps takes tens of microseconds."""


@dataclass(frozen=True)
class Target:
    """What a plan is made for. ``isa`` None means the NumPy backend, which uses no threads, or with ``numba`` that of Numba.
    ``pool``: the engine's workers; ``alone``: a pool of the calling thread only, for what is too short to share;
    ``arenas``: working memory, which the plans of a session share; ``factors``: measured on this device, see kernels/tuned.py."""

    isa: str | None
    threads: int
    pool: Any = None
    alone: Any = None
    arenas: Any = None
    numba: NumbaNodes | None = None
    factors: Mapping[str, float] | None = None


@dataclass(frozen=True, eq=False)
class EngineProgram:
    """Plain data. ``code``: int64 as runtime/native/engine.h describes it, ``kernels``: the names that it indexes, ``weights``: the arrays that its
    steps index, ``names``: of each of these (weight, layout), None for a table of the plan's own; ``cost``: estimated nanoseconds on one thread."""

    code: np.ndarray
    kernels: Sequence[str]
    weights: Sequence[np.ndarray]
    names: Sequence[tuple[str, str] | None]
    inputs: Sequence[Slot]
    outputs: Sequence[Slot]
    arena_bytes: int
    scratch_bytes: int
    cost: float


class NativeStage:
    """One native segment, ready to run. Raises ValueError if it is not well-formed."""

    def __init__(self, program: EngineProgram, target: Target) -> None:
        module = native()
        assert module is not None
        self.given = program
        self._releases = program.cost >= WORTH_RELEASING
        self._engine = module.Engine(program.code, program.kernels, target.isa, program.weights, [_nbytes(slot) for slot in program.inputs],
                                     [_nbytes(slot) for slot in program.outputs], program.arena_bytes, program.scratch_bytes,
                                     target.pool if program.cost >= WORTH_THREADS else target.alone, target.arenas)

    def run(self, values: Values) -> None:
        self._run(values, self._engine.run)

    def caller(self, inputs: Sequence[Slot], outputs: Sequence[str]) -> Any:
        """What runs the segment by one native call, feeds to outputs; None if there is no such thing. See runtime/native/calls.h."""
        made = {name: (name, np.dtype(dtype), shape, place) for place, (name, dtype, shape) in enumerate(self.given.outputs)}
        if set(outputs) != set(made) or len(made) != len(outputs):
            return None
        read = {name: place for place, (name, *_) in enumerate(self.given.inputs)}
        if not set(read) <= {name for name, *_ in inputs}:
            return None
        taken = [(name, np.dtype(dtype), shape, read.get(name, -1)) for name, dtype, shape in inputs]
        return self._engine.caller(taken, [made[name] for name in outputs], self._releases)

    def bound(self, inputs: Values, outputs: Values) -> Any:
        """What runs the segment on exactly these arrays and returns ``outputs``."""
        return self._engine.bound([inputs[name] for name, *_ in self.given.inputs], [outputs[name] for name, *_ in self.given.outputs], outputs,
                                  self._releases)

    def timed(self, values: Values) -> np.ndarray:
        """As ``run``; int64 nanoseconds of each step."""
        times: np.ndarray = self._run(values, self._engine.timed)
        return times

    def _run(self, values: Values, call: Callable[[tuple[np.ndarray, ...], tuple[np.ndarray, ...]], Any]) -> Any:
        try:
            outputs = tuple(np.empty(shape, dtype) for _, dtype, shape in self.given.outputs)
            found = call(tuple(np.require(values[name], requirements=("C", "A")) for name, *_ in self.given.inputs), outputs)
        except MemoryError:
            made = ", ".join(repr(name) for name, *_ in self.given.outputs[:3])
            raise OutOfMemory(f"there is not enough memory for the values from which the model makes {made}, which take "
                              f"{self.given.arena_bytes + self.given.scratch_bytes} bytes between nodes") from None
        values.update((name, out) for (name, *_), out in zip(self.given.outputs, outputs))
        return found


class KeptPlan:
    """A plan that is one native segment, without the graph that it was made of. As ``plan.Plan``, but for ``profile``."""

    def __init__(self, program: EngineProgram, inputs: Sequence[Slot], outputs: Sequence[str], target: Target) -> None:
        self.stage = NativeStage(program, target)
        self._outputs = outputs
        self.quick = self.stage.caller(inputs, outputs)
        if self.quick is None:
            raise ValueError("the segment does not make what the model does")

    @property
    def results(self) -> dict[str, Type | None]:
        """Type of each output."""
        from ..kernels.ops._op import Type

        found = {name: Type(dtype, shape) for name, dtype, shape in self.stage.given.outputs}
        return {name: found[name] for name in self._outputs}

    def run_for_caller(self, feeds: Mapping[str, np.ndarray]) -> Values:
        """The outputs as arrays of the caller's own."""
        values = dict(feeds)
        self.stage.run(values)
        return {name: values[name] for name in self._outputs}

    def bound(self, feeds: Values, outputs: Values) -> Callable[[], Values]:
        """What runs on these arrays, which are checked, writes into those, and returns ``outputs``."""
        found: Callable[[], Values] = self.stage.bound(feeds, outputs)
        return found

    def unplanned(self) -> set[str]:
        """The weights that wait for a plan: none."""
        return set()


def _nbytes(slot: Slot) -> int:
    size = np.dtype(slot[1]).itemsize
    for length in slot[2]:
        size *= length
    return size
