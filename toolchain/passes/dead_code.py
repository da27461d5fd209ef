"""Removes what no output depends on."""

from __future__ import annotations

from dataclasses import replace

from ...formats.graph import Graph
from ._edit import with_bodies


def dead_code(graph: Graph) -> Graph:
    """Drops nodes, weights and annotations that no graph output depends on, in subgraphs too. Graph inputs stay: they are the
    model's interface.

        x ──► Relu ──► y (output)             x ──► Relu ──► y
        x ──► Conv(w) ──► z (read by no one)
    """
    needed = {info.name for info in graph.outputs}
    kept = []
    for node in reversed(graph.nodes):
        if any(name in needed for name in node.outputs if name):
            node = with_bodies(node, dead_code)
            kept.append(node)
            needed.update(node.reads())
    known = needed | {name for node in kept for name in node.outputs} | {info.name for info in graph.inputs}
    return replace(graph, nodes=tuple(reversed(kept)),
                   weights={name: tensor for name, tensor in graph.weights.items() if name in needed},
                   quantized={name: found for name, found in graph.quantized.items() if name in known})
