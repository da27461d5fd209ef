"""Computes at pack time what depends on weights alone."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from ...formats.errors import ThinferError
from ...formats.graph import Graph, Node
from ...formats.tensor import EncodedTensor
from ...kernels import ops
from ...runtime import interpreter, shapes
from ._affine import dequantized, transposed
from ._edit import fresh, is_plain, taken_names, uses, with_bodies, with_channel_axes
from .dead_code import dead_code

LIMIT = 1 << 16
"""A result may have this many elements, or as many as the weights that it is made of."""


def fold_constants(graph: Graph) -> Graph:
    """Replaces nodes whose inputs are all constant by the weights they make, unless those would be much larger.

        w ──► Transpose ──► v ──► MatMul          w (transposed) ──► MatMul

    Weights that are already compressed are left alone, but for being transposed; integers that are dequantized become affine weights
    of the same integers. A result that replaces its only source keeps the source's name, so
    that recipes still find it.
    """
    folding = _Folding(dict(graph.weights), uses(graph), taken_names(graph))
    nodes = folding.nodes(graph)
    return with_channel_axes(dead_code(replace(graph, nodes=nodes, weights=folding.weights)))


@dataclass(eq=False)
class _Folding:
    """``weights`` grows; ``read``: how often each name is read; ``renamed``: value that is no more → the weight in its place."""

    weights: dict[str, EncodedTensor]
    read: dict[str, int]
    taken: set[str]
    renamed: dict[str, str] = field(default_factory=dict)

    def nodes(self, graph: Graph, inside: bool = False) -> tuple[Node, ...]:
        """What is left of the graph's nodes; ``inside``: it is a subgraph, whose names are not the whole graph's."""
        outputs = {info.name for info in graph.outputs}
        left = []
        for node in graph.nodes:
            node = node.with_inputs(tuple(self.renamed.get(name, name) for name in node.inputs))
            node = with_bodies(node, self._body)
            made = None if outputs & set(node.outputs) else _made(node, self.weights)
            if made is None:
                left.append(node)
            else:
                self._replace(node, made, inside)
        return tuple(left)

    def _body(self, body: Graph) -> Graph:
        outputs = tuple(replace(info, name=self.renamed.get(info.name, info.name)) for info in body.outputs)
        return replace(body, nodes=self.nodes(body, inside=True), outputs=outputs)

    def _replace(self, node: Node, made: EncodedTensor, inside: bool) -> None:
        own = node.outputs[0]
        name = _kept_name(node, self.weights, self.read) or (fresh(own, self.taken) if inside else own)
        self.weights[name] = made
        self.renamed[own] = name
        self.read[name] = self.read.get(own, 0)


def _made(node: Node, weights: dict[str, EncodedTensor]) -> EncodedTensor | None:
    """The weight that the node makes; None if there is none."""
    encoded = dequantized(node, weights) or transposed(node, weights)
    if encoded is not None:
        return encoded
    found = _folded(node, weights)
    return None if found is None else EncodedTensor.dense(found)


def _folded(node: Node, weights: dict[str, EncodedTensor]) -> np.ndarray | None:
    """What the node makes; None if it is not constant, or too large."""
    tensors = [weights.get(name) for name in node.inputs if name]
    if not tensors or len(node.outputs) != 1 or any(t is None or not is_plain(t) for t in tensors) or any(node.subgraphs()):
        return None
    limit = max(LIMIT, sum(tensor.size for tensor in tensors if tensor is not None))
    op = ops.find(node.op)
    if op is None:
        return None
    try:
        found = op.types_of(node, [shapes.weight_type(weights, name) if name else None for name in node.inputs])[0]
        if found is None or found.size > limit:
            return None
        return interpreter.run_node(node, [weights[name].decode() if name else None for name in node.inputs])[0]
    except ThinferError:
        return None


def _kept_name(node: Node, weights: dict[str, EncodedTensor], read: dict[str, int]) -> str | None:
    """The name of the one weight that the node transforms, if no one else reads it."""
    only = [name for name in node.inputs if name][:1 if node.op == "DequantizeLinear" else None]
    return only[0] if len(only) == 1 and read.get(only[0]) == 1 and node.op != "Shape" else None
