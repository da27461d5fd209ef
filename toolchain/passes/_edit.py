"""Small edits that several passes share. None changes the graph it is given."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace

import numpy as np

from ...formats.graph import Graph, Node, ValueInfo
from ...formats.tensor import Affine, Dense, EncodedTensor, Plain
from ...kernels.ops.einsum import parsed


def uses(graph: Graph) -> dict[str, int]:
    """How often each value or weight is read, in subgraphs too and as the output of a graph."""
    found: dict[str, int] = {}
    for scope in graph.scopes():
        for name in (*(name for node in scope.nodes for name in node.inputs if name), *(info.name for info in scope.outputs)):
            found[name] = found.get(name, 0) + 1
    return found


def taken_names(graph: Graph) -> set[str]:
    """Every name of a value or weight, in subgraphs too."""
    found = set(graph.weights)
    for scope in graph.scopes():
        found.update(made_names(scope))
    return found


def made_names(graph: Graph) -> Iterator[str]:
    """The names of what the graph itself takes and makes."""
    yield from (info.name for info in graph.inputs)
    yield from (name for node in graph.nodes for name in node.outputs if name)


def with_bodies(node: Node, change: Callable[[Graph], Graph]) -> Node:
    """The node with its subgraphs changed."""
    bodies = {key: change(body) for key, body in node.subgraphs()}
    return replace(node, attrs={**node.attrs, **bodies}) if bodies else node


def throughout(graph: Graph, change: Callable[[Graph], Graph]) -> Graph:
    """The graph with every subgraph, inner ones first, and then itself changed. ``change`` sees the table of weights and leaves it."""
    def inner(body: Graph) -> Graph:
        return replace(throughout(replace(body, weights=graph.weights), change), weights={})

    return change(replace(graph, nodes=tuple(with_bodies(node, inner) for node in graph.nodes)))


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

    def infos_now(infos: tuple[ValueInfo, ...]) -> tuple[ValueInfo, ...]:
        return tuple(replace(info, name=now(info.name)) for info in infos)

    def node_now(node: Node) -> Node:
        node = replace(node, inputs=tuple(map(now, node.inputs)), outputs=tuple(map(now, node.outputs)))
        return with_bodies(node, lambda body: renamed(body, names))

    quantized = {now(name): found for name, found in graph.quantized.items()}
    return replace(graph, inputs=infos_now(graph.inputs), outputs=infos_now(graph.outputs), nodes=tuple(map(node_now, graph.nodes)),
                   quantized=quantized)


def bypass(graph: Graph, idle: Iterable[Node]) -> Graph:
    """The graph without ``idle`` nodes, whose first output equals their first input.

    A node between an input or weight and an output of the graph stays, and so does one between two outputs, and one that keeps
    a quantized value apart from the same value as it is.
    """
    outputs = {info.name for info in graph.outputs}
    fixed = outputs.union(graph.weights, graph.captures(), (info.name for info in graph.inputs))
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
    if node.op == "Einsum":
        return _einsum_axis(node, place)
    return 1 if place == 1 and node.op == "ConvTranspose" else 0


def _einsum_axis(node: Node, place: int) -> int:
    """The last axis of the operand that the result has and no other operand: what a matrix product calls its columns."""
    equation = parsed(node.name or node.op, node.attrs["equation"], len(node.inputs))
    letters = equation.operands[place].replace(".", "")
    others = "".join(term for k, term in enumerate(equation.operands) if k != place)
    own = [axis for axis, letter in enumerate(letters) if letter in equation.result and letter not in others]
    return own[-1] if own and "." not in equation.operands[place] else 0


def _has_free_axis(tensor: EncodedTensor) -> bool:
    """Whether nothing of the tensor runs along its channels: it is plain, or on one grid."""
    values = tensor.values
    return is_plain(tensor) or (isinstance(tensor.structure, Dense) and isinstance(values, Affine) and values.scale.size == 1)


def _with_axis(tensor: EncodedTensor, axis: int) -> EncodedTensor:
    moved = replace(tensor, axis=axis)
    if not isinstance(tensor.values, Affine):
        return moved
    return replace(moved, values=replace(tensor.values, block=max(moved.view.inputs, 1)))


def with_channel_axes(graph: Graph) -> Graph:
    """The graph with the ``axis`` of every weight to which it means nothing yet set from the first node that reads it."""
    weights = dict(graph.weights)
    seen: set[str] = set()
    for node in (node for scope in graph.scopes() for node in scope.nodes):
        for place, name in enumerate(node.inputs):
            if name in weights and name not in seen and _has_free_axis(weights[name]):
                seen.add(name)
                weights[name] = _with_axis(weights[name], channel_axis(node, place, len(weights[name].shape)))
    return replace(graph, weights=weights)
