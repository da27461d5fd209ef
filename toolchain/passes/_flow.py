"""Which indices of which axes stand or fall together when channels are removed.

Every operator's ``flow`` (``kernels/ops``) ties indices of its inputs' axes to indices of its outputs' axes. The classes of
the transitive closure run through residual additions, concatenations, depthwise convolutions and flattening: whoever
removes one index of a class has to remove them all. (DepGraph, Fang et al. 2023, builds the same closure over layers;
here it is over single indices, so that groups and flattened maps need no special case.)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ...formats.errors import ThinferError
from ...formats.graph import Graph, Node
from ...kernels import ops
from ...kernels.ops._op import Shapes
from ...runtime import shapes
from ._edit import is_plain
from ._lengths import sample
from ._samples import Types

Axis = tuple[str, int]
"""(Value or weight name, axis number ≥ 0)."""


def components(count: int, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """int64[count]: for each of ``count`` points the smallest point connected with it through the edges ``a[k]``–``b[k]``.

    Roots hook onto smaller roots, then paths are halved until flat (Shiloach and Vishkin 1982), all edges at once.
    """
    label = np.arange(count)
    while True:
        root_a, root_b = label[a], label[b]
        if np.array_equal(root_a, root_b):
            return label
        low = np.minimum(root_a, root_b)
        np.minimum.at(label, root_a, low)
        np.minimum.at(label, root_b, low)
        while not np.array_equal(label, label[label]):
            label = label[label]


@dataclass(frozen=True, eq=False)
class Coupling:
    """Classes of tied indices. ``spans``: axis → (first point, length); ``labels``: int64 per point, the class it belongs to;
    ``pinned``: bool per point, whether its class must stay; ``types``: the shapes at which the flows were followed."""

    spans: dict[Axis, tuple[int, int]]
    labels: np.ndarray
    pinned: np.ndarray
    types: Types

    def labels_of(self, axis: Axis) -> np.ndarray:
        """int64[length]: the class of each index of ``axis``."""
        start, length = self.spans[axis]
        return self.labels[start:start + length]

    def pinned_of(self, axis: Axis) -> np.ndarray:
        """bool[length]: which indices of ``axis`` must stay."""
        start, length = self.spans[axis]
        return self.pinned[start:start + length]

    def members(self, chosen: np.ndarray) -> Iterator[tuple[Axis, np.ndarray]]:
        """Every axis with indices whose class is among ``chosen``, and those indices in ascending order."""
        hit = np.zeros(len(self.labels), bool)
        hit[chosen] = True
        selected = hit[self.labels]
        for axis, (start, length) in self.spans.items():
            found = np.flatnonzero(selected[start:start + length])
            if found.size:
                yield axis, found


class _Ties:
    """Gathers what the flows say; it is the ``Tie`` they are given."""

    def __init__(self, types: Types) -> None:
        self.spans: dict[Axis, tuple[int, int]] = {}
        self.edges: list[tuple[np.ndarray, np.ndarray]] = []
        self.mentioned: set[Axis] = set()
        total = 0
        for name, known in types.items():
            for number, length in enumerate(known.shape if known is not None else ()):
                self.spans[name, number] = (total, length)
                total += length
        self.pinned = np.zeros(total, bool)

    def __call__(self, a: Axis, b: Axis, index_a: np.ndarray | None = None, index_b: np.ndarray | None = None) -> None:
        points_a, points_b = self._points(a, index_a), self._points(b, index_b)
        if points_a.shape != points_b.shape:
            raise ValueError(f"{points_a.size} indices of {a} cannot be tied to {points_b.size} of {b}")
        self.edges.append((points_a, points_b))
        self.mentioned |= {a, b}

    def _points(self, axis: Axis, index: np.ndarray | None) -> np.ndarray:
        start, length = self.spans[axis]
        return start + (np.arange(length) if index is None else np.asarray(index, np.int64).ravel())

    def pin(self, axis: Axis) -> None:
        start, length = self.spans.get(axis, (0, 0))
        self.pinned[start:start + length] = True

    def pin_all(self, name: str, rank: int) -> None:
        for number in range(rank):
            self.pin((name, number))


def coupling(graph: Graph) -> Coupling:
    """Follows the flow of every node of ``graph``.

    Pinned are all axes of graph inputs and outputs, of weights that are already compressed, and every axis that a node
    reads or makes without its flow saying where the indices go.
    """
    types = sample(graph)
    ties = _Ties(types)
    ranks = {name: len(known.shape) for name, known in types.items() if known is not None}
    compressed = [name for name, tensor in graph.weights.items() if not is_plain(tensor)]
    for name in (*(info.name for info in (*graph.inputs, *graph.outputs)), *compressed):
        ties.pin_all(name, ranks.get(name, 0))
    for node in graph.nodes:
        _follow(graph, node, types, ties, ranks)
    a, b = (np.concatenate(side) if ties.edges else np.zeros(0, np.int64) for side in (_side(ties.edges, 0), _side(ties.edges, 1)))
    labels = components(len(ties.pinned), a, b)
    stuck = np.zeros(len(labels), bool)
    stuck[labels[ties.pinned]] = True
    return Coupling(ties.spans, labels, stuck[labels], types)


def _side(edges: Sequence[tuple[np.ndarray, np.ndarray]], which: int) -> list[np.ndarray]:
    return [edge[which] for edge in edges]


def _follow(graph: Graph, node: Node, types: Types, ties: _Ties, ranks: dict[str, int]) -> None:
    """Ties what the node's flow ties, and pins the axes that it does not mention."""
    ties.mentioned = set()
    names = [name for name in (*node.reads(), *node.outputs) if name]
    op = ops.get(node.op)
    if op.flow is not None and all(name in ranks for name in names) and _can_be_resized(graph, node):
        constants = {name: graph.weights[name].decode() for name in node.inputs
                     if name in graph.weights and graph.weights[name].size <= shapes.KNOWN_ELEMENTS}
        op.flow(node, op.attrs_of(node), Shapes({name: _shape(types, name) for name in names}, constants), ties)
    for name in names:
        for number in range(ranks.get(name, 0)):
            if (name, number) not in ties.mentioned:
                ties.pin((name, number))


def _shape(types: Types, name: str) -> tuple[int, ...]:
    known = types[name]
    if known is None:
        raise ThinferError(f"the shape of {name!r} depends on data")
    return known.shape


def _can_be_resized(graph: Graph, node: Node) -> bool:
    """Whether the inputs of the node that say lengths, if it has such, are constants that can be rewritten after a removal."""
    return ops.get(node.op).resize_constants is None or all(name in graph.weights for name in node.inputs[1:] if name)
