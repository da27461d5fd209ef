"""What comes after a value in a net, to be run again and again on what the nodes before it made once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ...formats.graph import Graph, Node, ValueInfo
from ...formats.tensor import EncodedTensor
from ...kernels.ops._integer import TELL
from ...runtime import load
from ._calibration import Tell, watched
from .dead_code import dead_code

MOST_HELD = 1 << 30
"""Bytes of values that are held for all runs; where they take more there are fewer runs."""


@dataclass(frozen=True)
class Suffix:
    """``nodes`` that show what some nodes read, and all that depends on it. ``needs``: the values that they take from before.
    ``outputs``: of the graph, those that they make. ``place``: where among the graph's nodes they begin."""

    nodes: tuple[Node, ...]
    needs: tuple[str, ...]
    outputs: tuple[ValueInfo, ...]
    place: int


def suffix(graph: Graph, readers: Iterable[Node], tell: Tell) -> Suffix:
    """What hangs on the input 0 of ``readers``, which may lie in subgraphs; ``tell`` is called with it (``_calibration.watched``)."""
    changed: set[str] = set()
    found: list[Node] = []
    place = 0
    for at, node in enumerate(watched(graph, {id(node): tell for node in readers}).nodes):
        if _shows(node, tell) or not changed.isdisjoint(node.reads()):
            place = place if found else at
            found.append(node)
            changed.update(filter(None, node.outputs))
    needs = dict.fromkeys(name for node in found for name in node.reads() if name not in changed and name not in graph.weights)
    return Suffix(tuple(found), tuple(needs), tuple(info for info in graph.outputs if info.name in changed), place)


def _shows(node: Node, tell: Tell) -> bool:
    return node.attrs.get(TELL) is tell or any(_shows(inner, tell) for _, body in node.subgraphs() for inner in body.nodes)


class Held:
    """Values of a graph by name, for each of some ``runs``; at first what the graph is fed. ``places``: which of the given runs are left."""

    def __init__(self, graph: Graph, runs: Sequence[Mapping[str, np.ndarray]]) -> None:
        self._graph = graph
        self.runs = [dict(feeds) for feeds in runs]
        self.places = list(range(len(runs)))

    def make(self, names: Iterable[str]) -> None:
        """Runs what it takes to hold these values, too. Leaves runs out, evenly, where all would take more than ``MOST_HELD``."""
        lacking = [name for name in names if name not in self.runs[0]]
        if not lacking:
            return
        needed, nodes = set(lacking), []
        for node in reversed(self._graph.nodes):
            if any(name in needed and name not in self.runs[0] for name in node.outputs):
                nodes.append(node)
                needed.update(node.reads())
        outputs = [ValueInfo(name, "float32", ()) for name in lacking]  # of what kind they are, nobody asks
        session = load(self.part(nodes[::-1], [name for name in needed if name in self.runs[0]], outputs))

        def add(values: dict[str, np.ndarray]) -> None:
            values.update(session.run({info.name: values[info.name] for info in session.inputs}))

        add(self.runs[0])
        fits = max(MOST_HELD // max(sum(array.nbytes for array in self.runs[0].values()), 1), 1)
        if fits < len(self.runs):
            left = np.linspace(0, len(self.runs) - 1, fits).astype(int).tolist()
            self.runs, self.places = [self.runs[at] for at in left], [self.places[at] for at in left]
        for values in self.runs[1:]:
            add(values)

    def keep(self, names: Iterable[str]) -> None:
        """Forgets all other values, but what the graph is fed."""
        kept = {*names, *(info.name for info in self._graph.inputs)}
        self.runs = [{name: array for name, array in values.items() if name in kept} for values in self.runs]

    def part(self, nodes: Sequence[Node], needs: Iterable[str], outputs: Sequence[ValueInfo]) -> Graph:
        """These nodes as a graph whose inputs are values that are held. Integers that are the same in all runs become weights: shapes that
        were known to the whole net's plan are to this one's."""
        inputs, constants = [], {}
        for name in sorted(needs):
            arrays = [values[name] for values in self.runs]
            if arrays[0].dtype.kind in "biu" and all(np.array_equal(arrays[0], other) for other in arrays):
                constants[name] = EncodedTensor.dense(arrays[0])
            else:
                inputs.append(ValueInfo(name, arrays[0].dtype.name, tuple(
                    length if all(other.shape[axis] == length for other in arrays) else f"{name}.{axis}"
                    for axis, length in enumerate(arrays[0].shape))))
        return dead_code(replace(self._graph, inputs=tuple(inputs), outputs=tuple(outputs), nodes=tuple(nodes),
                                 weights={**self._graph.weights, **constants}))
