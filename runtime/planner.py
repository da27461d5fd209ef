"""Where a session's plans come from: its graph, or a cache of plans, and then the graph is not even parsed."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from ..formats.value_info import ValueInfo
from ..kernels.isa import ARM_LEVELS
from .errors import OutOfMemory, enough_memory
from .model_file import ModelFile
from .stage import KeptPlan, Target
from .weights import PackedWeights

if TYPE_CHECKING:
    from ..formats.graph import Graph
    from .plan import Plan
    from .plan_cache import PlanCache

Shapes = tuple[tuple[int, ...], ...]

SEVERAL = 2
"""What is planned for in the place of a symbolic length: the least one for which weights are packed as for all larger ones."""

# What makes plans is imported when one is made: a plan that was kept needs none of it, and the imports take as long as the rest of its load.


class _Model:
    """A model's graph, parsed and checked when somebody needs it. Planner and weights share it, so that neither holds the other: sessions shall be
    freed when their last user lets go of them, not when Python looks for cycles."""

    def __init__(self, given: Graph | ModelFile, isa: str | None) -> None:
        self.file = given if isinstance(given, ModelFile) else None
        self._given, self._isa = given, isa

    @cached_property
    def graph(self) -> Graph:
        from .shapes import check

        return check(self._given.graph() if isinstance(self._given, ModelFile) else self._given)

    @cached_property
    def explicit(self) -> Graph:
        """With nodes for what is quantized. Static codes have the sign of those that the level multiplies (kernels/integer/dot.h)."""
        if not any(part.quantized for part in self.graph.scopes()):
            return self.graph
        from .explicit import explicit

        return explicit(self.graph, None if self._isa is None else "int8" if self._isa in ARM_LEVELS else "uint8")


def _likely_shapes(inputs: Sequence[ValueInfo]) -> list[Shapes]:
    """Shapes that symbolic lengths leave open, the likeliest first: one sample, of which nothing else has length 1, for weights of a product with one
    row are packed as no other length reads them; then length 1 everywhere."""
    samples = {info.shape[0] for info in inputs if info.shape}

    def shapes(length: int) -> Shapes:
        return tuple(tuple((1 if dim in samples else length) if isinstance(dim, str) else dim for dim in info.shape) for info in inputs)

    return list(dict.fromkeys([shapes(SEVERAL), shapes(1)]))


class Planner:
    """``plan`` gives the plan for some shapes of the inputs; it is to be called by one thread at a time. ``weights`` are shared by all plans."""

    def __init__(self, model: Graph | ModelFile, target: Target, cache: str | os.PathLike[str] | None) -> None:
        """``cache``: the folder of kept plans, if any. Raises now what is wrong with the model, unless a plan of it was kept: then it was right."""
        held = _Model(model, target.isa)
        self._model, self._target = held, target
        self.weights = PackedWeights(lambda: held.graph.weights)
        self._cache = self._opened(cache)
        if not self.kept:
            self.graph  # noqa: B018

    def _opened(self, folder: str | os.PathLike[str] | None) -> PlanCache | None:
        """The cache, if there is to be one; weights that it holds are taken from there."""
        if not folder or self._target.isa is None or self._model.file is None:
            return None
        from .plan_cache import PlanCache

        factors = sorted((self._target.factors or {}).items())
        found = PlanCache(folder, self._model.file, f"{self._target.isa}; {self._target.threads} threads; costs {factors}")
        for program in found.plans.values():
            for name, array in zip(program.names, program.weights):
                if name is not None:
                    self.weights.adopt(*name, array)
        return found

    @property
    def kept(self) -> bool:
        """Whether the cache holds a plan."""
        return self._cache is not None and bool(self._cache.plans)

    @property
    def graph(self) -> Graph:
        return self._model.graph

    @property
    def inputs(self) -> tuple[ValueInfo, ...]:
        return self._cache.inputs if self._cache is not None and self._cache.plans else self.graph.inputs

    @property
    def outputs(self) -> tuple[ValueInfo, ...]:
        return self._cache.outputs if self._cache is not None and self._cache.plans else self.graph.outputs

    def plan(self, shapes: Shapes) -> Plan | KeptPlan:
        """Kept or made; one that is made is kept if it can be."""
        found = self._kept(shapes)
        if found is not None:
            return found
        made = self.made(shapes)
        self._keep(shapes, made)
        return made

    def first(self) -> tuple[Shapes, Plan | KeptPlan | None]:
        """A plan for inputs of likely lengths, and these shapes; None where there is none.

        Raises now what is wrong with the file or the graph: a first plan packs the weights that it reads, and what it leaves (all of them where no
        plan can be made for these lengths, then the first run plans) is decoded once. Where a plan was kept, all of it was right.
        """
        likely = _likely_shapes(self.inputs)
        with enough_memory():
            for shapes in likely:
                found = self._kept(shapes)
                if found is not None:
                    return shapes, found
        if self.kept:
            return likely[0], None
        for shapes in likely:
            made = self._made_if_lengths_allow(shapes)
            if made is not None:
                break
        held = self.weights.memory()
        for name in self.graph.weights:
            if name not in held:
                self.graph.weights[name]
        if made is not None:
            self._keep(shapes, made)
        return shapes, made

    def _made_if_lengths_allow(self, shapes: Shapes) -> Plan | None:
        from ..kernels.ops._op import OpError

        try:
            with enough_memory():
                return self.made(shapes)
        except (OpError, OutOfMemory):
            if not any(isinstance(dim, str) for info in self.inputs for dim in info.shape):
                raise
            return None

    def _keep(self, shapes: Shapes, made: Plan) -> None:
        program = None if self._cache is None else made.kept()
        if self._cache is not None and program is not None:
            self._cache.keep(shapes, program, self.graph.inputs, self.graph.outputs)

    def made(self, shapes: Shapes) -> Plan:
        """Raises OpError, OutOfMemory."""
        from ..kernels.ops._op import Type
        from .plan import Plan

        kinds = {info.name: Type(info.dtype, shape) for info, shape in zip(self.inputs, shapes)}
        return Plan(self._model.explicit, kinds, self.weights, self._target)

    def _kept(self, shapes: Shapes) -> KeptPlan | None:
        cache = self._cache
        if cache is None or shapes not in cache.plans:
            return None
        inputs = [(info.name, info.dtype, shape) for info, shape in zip(cache.inputs, shapes)]
        try:
            return KeptPlan(cache.plans[shapes], inputs, [info.name for info in cache.outputs], self._target)
        except (ValueError, TypeError):  # nothing that this engine runs
            cache.forget(shapes)
            return None
