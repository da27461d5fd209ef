"""A segment of a plan that runs in NumPy, node by node. Nets that native kernels run whole need nothing of this."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from ..formats.graph import Graph
from ..kernels.quantized import weight_integers
from .bodies import BodyPlans, BoundBody
from .interpreter import INTEGERS, Compiled, NodeList, reads
from .partition import PythonSegment, Types
from .profile import NodeProfile, NodeWatch
from .stage import Values
from .weights import PackedWeights


class PythonStage:
    """Expands the weights of one node at a time. Subgraphs have plans of their own. ``compiled``: what Numba runs."""

    def __init__(self, graph: Graph, segment: PythonSegment, keep: frozenset[str], types: Types, weights: PackedWeights,
                 known: Mapping[str, np.ndarray], plans_of: Callable[[Graph], BodyPlans], compiled: Mapping[int, Compiled]) -> None:
        self._graph, self._weights, self._known, self._compiled = graph, weights, known, frozenset(compiled)
        for node in segment.nodes:
            for name in () if id(node) in compiled else reads(node):
                weight = name.removeprefix(INTEGERS)
                if weight in weights.source and name not in known:
                    weights.compact(weight)
        self.bodies = {id(body): plans_of(body) for node in segment.nodes for _, body in node.subgraphs()}
        self._nodes = NodeList(segment.nodes, keep, lambda body, outer: BoundBody(self.bodies[id(body)], outer), types,
                               lambda node: compiled.get(id(node)))

    def run(self, values: Values) -> None:
        self._nodes.run(values, self._constant)

    def profile(self, values: Values) -> list[NodeProfile]:
        watch = NodeWatch(self._graph, self._weights, self._compiled)
        self._nodes.run(values, self._constant, watch)
        return watch.rows

    def unplanned(self) -> set[str]:
        """The weights that only subgraphs without a plan so far read: their shapes were not known when this plan was made."""
        return {name for plans in self.bodies.values() for name in plans.unplanned()}

    def _constant(self, name: str) -> np.ndarray:
        if name.startswith(INTEGERS):
            return weight_integers(self._weights.compact(name.removeprefix(INTEGERS)).tensor()).decode()
        known = self._known.get(name)
        return self._weights.compact(name).decode() if known is None else known
