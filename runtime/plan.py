"""A plan: how one graph runs for one set of input shapes. Made once per shape, run many times, by any number of threads."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..formats.graph import Graph
from ..kernels.lowering import Lowering
from ..kernels.ops._op import Type
from .layout import choose
from .partition import NativeSegment, Partitioner, PythonSegment, Segment, Types, Unit, known_values
from .program import Program, ProgramBuilder, slot
from .shapes import Calls, check_memory, infer_types
from .stage import EngineProgram, NativeStage, Target, Values
from .weights import PackedWeights

if TYPE_CHECKING:
    from .bodies import BodyPlans
    from .profile import NodeProfile
    from .python_stage import PythonStage


class _PlannedStage(NativeStage):
    """A native segment that knows what it was made of."""

    def __init__(self, graph: Graph, units: Sequence[Unit], chosen: Sequence[Lowering], program: Program, types: Types, target: Target) -> None:
        super().__init__(program.compiled(types), target)
        self.program = program
        self._graph, self._units, self._chosen = graph, units, chosen

    def profile(self, values: Values) -> list[NodeProfile]:
        from .profile import native_profile

        return native_profile(self._graph, self._units, self._chosen, self.program, self.timed(values))


class Plan:
    """``run`` maps feeds to outputs, both by name. ``inputs``: the types of the graph's inputs, and of what else its nodes read that
    is no weight, with the elements of what is the same in every run. Raises OpError if the shapes contradict the
    graph, OutOfMemory if a value is larger than this machine's memory."""

    def __init__(self, graph: Graph, inputs: Mapping[str, Type], weights: PackedWeights, target: Target) -> None:
        calls: Calls = {}
        types = infer_types(graph, inputs, calls)
        check_memory(graph.nodes, types)
        self.known = known_values(types, graph)
        self._fixed = {info.name for info in graph.outputs if info.name in self.known or info.name in graph.weights}
        self.types, self.weights = types, weights
        self._outputs = tuple(info.name for info in graph.outputs)
        self.results = {name: types[name] for name in self._outputs}
        """Type of each output; None if only running tells."""
        partitioner = Partitioner(graph, types, self.known, target.threads, target.isa, target.factors)
        self.segments = partitioner.segments()
        compiled = {} if target.numba is None else target.numba.compiled(partitioner, weights)

        def plans_of(body: Graph) -> BodyPlans:
            from .bodies import BodyPlans

            plans = BodyPlans(body, self.known, weights, lambda inner, kinds: Plan(inner, kinds, weights, target))
            if id(body) in calls:
                plans.prepare(calls[id(body)])
            return plans

        later = _read_later(self.segments, self._outputs)
        self.stages: list[_PlannedStage | PythonStage] = []
        for segment, keep in zip(self.segments, later):
            if isinstance(segment, PythonSegment):
                from .python_stage import PythonStage

                self.stages.append(PythonStage(graph, segment, keep, types, weights, self.known, plans_of, compiled))
            else:
                self.stages.append(self._native(graph, segment, keep, types, target))
        whole = self._whole()
        self.quick = None if whole is None else whole.caller([slot(name, kind) for name, kind in inputs.items()], self._outputs)
        """f(feeds) → outputs of the caller's own, or None if the feeds are not exactly what the plan is for; None if there is no such short way."""

    def _native(self, graph: Graph, segment: NativeSegment, keep: frozenset[str], types: Types, target: Target) -> _PlannedStage:
        made = [name for unit in segment.units for name in unit.outputs]
        read = (name for unit in segment.units for name in unit.reads())
        inputs = [name for name in dict.fromkeys(read) if name not in set(made)]
        outputs = [name for name in made if name in keep]
        chosen = choose(segment.units, types, inputs, set(outputs))
        program = ProgramBuilder(types, self.weights, self.known, inputs, outputs).build(segment.units, chosen)
        return _PlannedStage(graph, segment.units, chosen, program, types, target)

    def run(self, feeds: Mapping[str, np.ndarray]) -> Values:
        """The outputs; they may be feeds, constants or views of them."""
        values = dict(feeds)
        for stage in self.stages:
            stage.run(values)
        return self._outputs_of(values)

    def bound(self, feeds: Values, outputs: Values) -> Callable[[], Values]:
        """What runs on these arrays, which are checked, writes into those, and returns ``outputs``."""
        stage = self._whole()
        if stage is not None and set(stage.program.outputs) == set(outputs):
            found: Callable[[], Values] = stage.bound(feeds, outputs)
            return found

        def run() -> Values:
            for name, array in self.run(feeds).items():
                np.copyto(outputs[name], array)
            return outputs

        return run

    def _whole(self) -> _PlannedStage | None:
        """The native segment that is all of the plan."""
        stage = self.stages[0] if len(self.stages) == 1 and not self._fixed else None
        return stage if isinstance(stage, _PlannedStage) else None

    def kept(self) -> EngineProgram | None:
        """What a plan cache keeps; None unless the plan is one native segment."""
        whole = self._whole()
        return None if whole is None or self.quick is None else whole.given

    def profile(self, feeds: Mapping[str, np.ndarray]) -> list[NodeProfile]:
        """What the nodes of one run took, in the order in which they ran."""
        values = dict(feeds)
        return [row for stage in self.stages for row in stage.profile(values)]

    def _outputs_of(self, values: Values) -> Values:
        return {name: self._fixed_value(name) if name in self._fixed else values[name] for name in self._outputs}

    def run_for_caller(self, feeds: Mapping[str, np.ndarray]) -> Values:
        """The outputs as arrays of the caller's own."""
        found: Values = {}
        for name, array in self.run(feeds).items():
            found[name] = array if name not in self._fixed and _is_own(array, feeds, found) else array.copy()
        return found

    def unplanned(self) -> set[str]:
        """The weights that only subgraphs without a plan so far read: their shapes were not known when this plan was made."""
        return {name for stage in self.stages if not isinstance(stage, _PlannedStage) for name in stage.unplanned()}

    def _fixed_value(self, name: str) -> np.ndarray:
        known = self.known.get(name)
        return self.weights.compact(name).decode() if known is None else known


def _is_own(array: np.ndarray, feeds: Mapping[str, np.ndarray], given: Mapping[str, np.ndarray]) -> bool:
    """Whether the caller may have the array: it is no view (of a feed, a weight, a constant), no feed, and not given already."""
    return array.base is None and not any(array is other for others in (feeds, given) for other in others.values())


def _read_later(segments: Sequence[Segment], outputs: Sequence[str]) -> list[frozenset[str]]:
    """For each segment the values that later segments or the caller read."""
    wanted = set(outputs)
    found: list[frozenset[str]] = []
    for segment in reversed(segments):
        found.append(frozenset(wanted))
        parts = segment.nodes if isinstance(segment, PythonSegment) else segment.units
        wanted.update(name for part in parts for name in part.reads())
    return found[::-1]

