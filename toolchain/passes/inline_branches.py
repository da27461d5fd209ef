"""Puts the branch of an If whose condition is known in its place."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from ...formats.errors import ThinferError
from ...formats.graph import Graph, Node
from ...runtime import shapes
from ._edit import fresh, made_names, renamed, taken_names, throughout
from ._samples import Types, symbols
from .dead_code import dead_code

KEYS = ("else_branch", "then_branch")


def inline_branches(graph: Graph) -> Graph:
    """An If whose condition is constant, or known from shapes that are all fixed, is replaced by what its branch does.

        x, true ──► If {then: x ──► Relu ──► a, else: x ──► Neg ──► b} ──► y          x ──► Relu ──► y
    """
    if all(node.op != "If" for scope in graph.scopes() for node in scope.nodes):
        return graph
    inliner = _Inliner(graph)
    return dead_code(throughout(graph, inliner.inlined))


class _Inliner:
    def __init__(self, graph: Graph) -> None:
        self.weights = graph.weights
        self.taken = taken_names(graph)
        self.made = Counter(name for scope in graph.scopes() for name in made_names(scope))
        self.types = _types(graph)

    def inlined(self, graph: Graph) -> Graph:
        """One graph with its own Ifs replaced; those in its subgraphs were before."""
        nodes: list[Node] = []
        quantized = dict(graph.quantized)
        for node in graph.nodes:
            condition = self._condition(node) if node.op == "If" else None
            if condition is None:
                nodes.append(node)
                continue
            branch = self._in_place(node.attrs[KEYS[condition]], node.outputs)
            nodes += branch.nodes
            quantized.update(branch.quantized)
        return replace(graph, nodes=tuple(nodes), quantized=quantized)

    def _condition(self, node: Node) -> bool | None:
        """What the condition always is; None if that depends on data or on lengths."""
        name = node.inputs[0]
        if name in self.weights:
            return bool(self.weights[name].decode().item())
        kind = self.types.get(name) if self.made[name] == 1 else None
        return bool(kind.value.item()) if kind is not None and kind.value is not None else None

    def _in_place(self, branch: Graph, outputs: tuple[str, ...]) -> Graph:
        """The branch with its outputs called ``outputs`` and names that another subgraph also uses replaced."""
        own = set(made_names(branch))
        names: dict[str, str] = {}
        copies = []
        for info, output in zip(branch.outputs, outputs):
            if output and info.name in own and info.name not in names:
                names[info.name] = output
            elif output:  # it is made outside of the branch, or two outputs are one value
                copies.append((info.name, output))
        names.update({name: fresh(name, self.taken) for name in own if name not in names and self.made[name] > 1})
        nodes = tuple(Node("Identity", (source,), (output,)) for source, output in copies)
        return renamed(replace(branch, nodes=branch.nodes + nodes), names)


def _types(graph: Graph) -> Types:
    """The types of all values if no length is symbolic; none otherwise, since a sampled length proves nothing of the others."""
    if symbols(graph):
        return {}
    try:
        return shapes.infer(graph, {info.name: shapes.concrete(info) for info in graph.inputs})
    except ThinferError:
        return {}
