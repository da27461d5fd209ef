"""Subgraphs in a plan: each is planned once per set of input types, with what it reads of the graphs around it as further inputs."""

from __future__ import annotations

from _thread import allocate_lock
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..formats.graph import Graph, ValueInfo
from ..formats.record import replace
from ..kernels.ops._op import Type
from .interpreter import Lookup
from .shapes import BodyInference, weight_type
from .weights import PackedWeights

if TYPE_CHECKING:
    from .plan import Plan

MOST_PLANS = 8
"""Plans kept per subgraph and plan around it, least recently used out first: states may grow with every iteration."""

MakePlan = Callable[[Graph, Mapping[str, Type]], "Plan"]
Kinds = tuple[tuple[np.dtype, tuple[int, ...]], ...]


class BodyPlans:
    """The plans of one subgraph. ``known``: values around it whose elements are known at plan time."""

    def __init__(self, body: Graph, known: Mapping[str, np.ndarray], weights: PackedWeights, make: MakePlan) -> None:
        captured = body.captures()
        self.graph = replace(body, weights=weights.source)
        self.captures = tuple(name for name in captured if name not in known and name not in weights.source)
        self._weights = [name for name in captured if name in weights.source]
        self._fixed = {name: Type.of(known[name]) for name in captured if name in known}
        self._names = (*(info.name for info in body.inputs), *self.captures)
        self._make = make
        self._plans: OrderedDict[Kinds, Plan] = OrderedDict()
        self._lock = allocate_lock()

    def prepare(self, types: Mapping[str, Type | None]) -> None:
        """Makes the plan for those types now, if those of the inputs and of what is read around the subgraph are known."""
        kinds = [types[name] for name in self._names]
        if all(kind is not None for kind in kinds):
            self.plan(tuple((np.dtype(kind.dtype), kind.shape) for kind in kinds if kind is not None))

    def plan(self, kinds: Kinds) -> Plan:
        """The plan for inputs and captures of these dtypes and shapes."""
        with self._lock:
            found = self._plans.get(kinds)
            if found is None:
                types = {name: Type(dtype.name, shape) for name, (dtype, shape) in zip(self._names, kinds)}
                found = self._plans[kinds] = self._make(self.graph, {**types, **self._fixed})
                if len(self._plans) > MOST_PLANS:
                    self._plans.popitem(last=False)
            self._plans.move_to_end(kinds)
            return found

    def unplanned(self) -> set[str]:
        """The weights that wait for a first plan."""
        with self._lock:
            plans = list(self._plans.values())
        return set.intersection(*(plan.unplanned() for plan in plans)) if plans else set(self._weights)

    def types(self, inputs: Sequence[Type | None], captured: Mapping[str, np.ndarray]) -> list[Type | None]:
        """The types of the outputs."""
        weights = {name: weight_type(self.graph.weights, name) for name in self._weights}
        return BodyInference(self.graph, {**weights, **self._fixed, **{name: Type.of(array) for name, array in captured.items()}})(*inputs)


class BoundBody:
    """A planned subgraph with the values that it reads around itself, as an operator runs it."""

    def __init__(self, plans: BodyPlans, outer: Lookup) -> None:
        self._plans = plans
        self._captured = {name: outer(name) for name in plans.captures}

    @property
    def outputs(self) -> tuple[ValueInfo, ...]:
        return self._plans.graph.outputs

    def __call__(self, *inputs: np.ndarray) -> tuple[np.ndarray, ...]:
        feeds = {info.name: np.asarray(array) for info, array in zip(self._plans.graph.inputs, inputs)} | self._captured
        found = self._plans.plan(tuple((array.dtype, array.shape) for array in feeds.values())).run(feeds)
        return tuple(found[info.name] for info in self.outputs)

    def types(self, *inputs: Type | None) -> list[Type | None]:
        return self._plans.types(inputs, self._captured)
