"""What values are on calibration data, a few samples at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from ...formats.graph import Graph, Node
from ...kernels.ops._integer import TELL
from ...kernels.ops._op import DOMAIN
from ...runtime import load
from ..arrays import in_runs
from ._edit import fresh, taken_names, throughout
from .encode import EncodingError

BATCH = 4
"""Samples that run at once."""

Progress = Callable[[int, int], None]


Tell = Callable[[np.ndarray], "np.ndarray | None"]
"""Is called with what a node reads; what it returns, if anything, is read instead."""


def observe(graph: Graph, tells: Mapping[int, Tell], data: Mapping[str, np.ndarray], progress: Progress | None = None) -> None:
    """Runs the graph on the data and tells what nodes read as their input 0, as often as they run: ``tells`` is by id of the node, which
    may lie in a subgraph. Raises EncodingError if a value is not finite."""
    watching = {id(node): _finite(node.inputs[0], tells[id(node)]) for scope in graph.scopes() for node in scope.nodes if id(node) in tells}
    session = load(watched(graph, watching))
    runs = in_runs(graph.inputs, data, BATCH)
    for count, feeds in enumerate(runs):
        session.run(feeds)
        if progress is not None:
            progress(count + 1, len(runs))


def watched(graph: Graph, tells: Mapping[int, Tell]) -> Graph:
    """The graph with a node before each of those, by id, that shows what it reads."""
    taken = taken_names(graph)

    def changed(scope: Graph) -> Graph:
        nodes: list[Node] = []
        for node in scope.nodes:
            if id(node) in tells:
                seen = fresh(f"{node.inputs[0]}.observed", taken)
                nodes.append(Node(f"{DOMAIN}Observed", (node.inputs[0],), (seen,), {TELL: tells[id(node)]}))
                node = node.with_inputs((seen, *node.inputs[1:]))
            nodes.append(node)
        return replace(scope, nodes=tuple(nodes))

    return throughout(graph, changed)


def _finite(name: str, tell: Tell) -> Tell:
    def checked(array: np.ndarray) -> np.ndarray | None:
        if not np.isfinite(array).all():
            raise EncodingError(f"the value {name!r} is infinite or no number on the calibration data, so it cannot be quantized")
        return tell(array)

    return checked


def coarse(values: np.ndarray) -> np.ndarray:
    """float64, rounded to 9 significant bits, so that the last bits of sums, in which machines differ, seldom reach the file."""
    mantissa, exponent = np.frexp(np.asarray(values, np.float64))
    return np.asarray(np.ldexp(np.rint(mantissa * 512) / 512, exponent))
