"""Small edits that several passes share. None changes the graph it is given."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

import numpy as np

from ...formats.graph import Graph, Node
from ...formats.tensor import EncodedTensor, Plain


def uses(graph: Graph) -> dict[str, int]:
    """How often each value or weight is read, graph outputs included."""
    found: dict[str, int] = {}
    read = (name for node in graph.nodes for name in (*filter(None, node.inputs), *(n for _, sub in node.subgraphs() for n in sub.captures())))
    for name in (*read, *(info.name for info in graph.outputs)):
        found[name] = found.get(name, 0) + 1
    return found


def taken_names(graph: Graph) -> set[str]:
    """Every name of a value or weight."""
    made = {name for node in graph.nodes for name in node.outputs}
    return made | set(graph.weights) | {info.name for info in graph.inputs}


def fresh(base: str, taken: set[str]) -> str:
    """``base``, or ``base_2``, ``base_3`` … if it is taken; the name found is added to ``taken``."""
    name, count = base, 2
    while name in taken:
        name, count = f"{base}_{count}", count + 1
    taken.add(name)
    return name


def renamed(graph: Graph, names: Mapping[str, str]) -> Graph:
    """The graph with values called by other names, wherever they are made or read; chains of names are followed to their end."""
    def now(name: str) -> str:
        while name in names:
            name = names[name]
        return name

    def node_now(node: Node) -> Node:
        attrs = {**node.attrs, **{key: renamed(sub, names) for key, sub in node.subgraphs()}}
        return replace(node, inputs=tuple(map(now, node.inputs)), outputs=tuple(map(now, node.outputs)), attrs=attrs)

    quantized = {now(name): found for name, found in graph.quantized.items()}
    return replace(graph, nodes=tuple(map(node_now, graph.nodes)), quantized=quantized)


def bypass(graph: Graph, idle: Iterable[Node]) -> Graph:
    """The graph without ``idle`` nodes, whose first output equals their first input.

    A node between an input or weight and an output of the graph stays, and so does one between two outputs, and one that keeps
    a quantized value apart from the same value as it is.
    """
    outputs = {info.name for info in graph.outputs}
    fixed = outputs | set(graph.weights) | {info.name for info in graph.inputs}
    names: dict[str, str] = {}
    gone: set[int] = set()

    def now(name: str) -> str:
        while name in names:
            name = names[name]
        return name

    for node in idle:
        source, made = now(node.inputs[0]), now(node.outputs[0])
        if node.inputs[0] in graph.quantized or node.outputs[0] in graph.quantized:
            continue
        if made not in outputs:
            names[made] = source
        elif source not in fixed:
            names[source] = made
        else:
            continue
        gone.add(id(node))
    return renamed(replace(graph, nodes=tuple(node for node in graph.nodes if id(node) not in gone)), names)


def array_of(graph: Graph, name: str) -> np.ndarray | None:
    """The elements of a weight; None if the name is no weight."""
    return graph.weights[name].decode() if name in graph.weights else None


def is_plain(tensor: EncodedTensor) -> bool:
    """Whether a tensor may be rewritten without undoing someone's compression."""
    return isinstance(tensor.values, Plain) and tensor.held == tensor.size and tensor.values.data.dtype.name == tensor.dtype


def channel_axis(node: Node, place: int, rank: int) -> int:
    """The output-channel axis of a weight of ``rank`` dimensions that is input ``place`` of ``node``."""
    if place == 1 and node.op == "Gemm":
        return 0 if node.attrs.get("transB", 0) else 1
    if place == 1 and node.op == "MatMul":
        return max(rank - 1, 0)
    if place in (1, 2) and node.op in ("RNN", "LSTM", "GRU"):
        return 1  # [directions, gates · hidden, inputs]
    return 1 if place == 1 and node.op == "ConvTranspose" else 0


def with_channel_axes(graph: Graph) -> Graph:
    """The graph with every plain weight's ``axis`` set from the first node that reads it."""
    weights = dict(graph.weights)
    seen: set[str] = set()
    for node in graph.nodes:
        for place, name in enumerate(node.inputs):
            if name in weights and name not in seen and is_plain(weights[name]):
                seen.add(name)
                weights[name] = replace(weights[name], axis=channel_axis(node, place, len(weights[name].shape)))
    return replace(graph, weights=weights)
