"""Computes at pack time what depends on weights alone."""

from __future__ import annotations

from collections.abc import Hashable
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

MOST_ELEMENTS = 16
"""Weights of at most so many elements are the same source if they are equal."""


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
    """``weights`` grows; ``read``: how often each name is read; ``renamed``: value that is no more → the weight in its place.

    ``origin``: what each weight was made by, as a number, so that what is made twice alike (in both branches of an If) is one weight.
    """

    weights: dict[str, EncodedTensor]
    read: dict[str, int]
    taken: set[str]
    renamed: dict[str, str] = field(default_factory=dict)
    origin: dict[str, int] = field(default_factory=dict)
    made: dict[int, str] = field(default_factory=dict)
    numbers: dict[Hashable, int] = field(default_factory=dict)

    def nodes(self, graph: Graph, inside: bool = False) -> tuple[Node, ...]:
        """What is left of the graph's nodes; ``inside``: it is a subgraph, whose names are not the whole graph's."""
        outputs = {info.name for info in graph.outputs}
        left = []
        for node in graph.nodes:
            node = node.with_inputs(tuple(self.renamed.get(name, name) for name in node.inputs))
            node = with_bodies(node, self._body)
            if outputs & set(node.outputs) or not (self._made_before(node) or self._made_now(node, inside)):
                left.append(node)
        return tuple(left)

    def _body(self, body: Graph) -> Graph:
        outputs = tuple(replace(info, name=self.renamed.get(info.name, info.name)) for info in body.outputs)
        return replace(body, nodes=self.nodes(body, inside=True), outputs=outputs)

    def _made_before(self, node: Node) -> bool:
        """Whether a weight holds what the node makes, because a like node of the same weights made it; then that is read instead."""
        name = self.made.get(self._origin_of(node), "")
        if not name or self.origin.get(name) != self._origin_of(node):
            return False
        self.renamed[node.outputs[0]] = name
        self.read[name] += self.read.get(node.outputs[0], 0)
        return True

    def _made_now(self, node: Node, inside: bool) -> bool:
        """Whether the node makes a weight, which then takes its place."""
        found, own = _made(node, self.weights), node.outputs[0]
        if found is None:
            return False
        origin = self._origin_of(node)
        name = _kept_name(node, self.weights, self.read) or (fresh(own, self.taken) if inside else own)
        self.weights[name] = found
        self.origin[name], self.made[origin] = origin, name
        self.renamed[own] = name
        self.read[name] = self.read.get(own, 0)
        return True

    def _origin_of(self, node: Node) -> int:
        attrs = tuple(sorted((key, (value.dtype.str, value.shape, value.tobytes()) if isinstance(value, np.ndarray) else value)
                             for key, value in node.attrs.items() if not isinstance(value, Graph)))
        sources = tuple(self._source(name) for name in node.inputs)
        return self.numbers.setdefault((node.op, attrs, sources, len(node.outputs), any(node.subgraphs())), len(self.numbers))

    def _source(self, name: str) -> Hashable:
        """What stands for an input: what made it, its elements if they are few (axes, bounds of slices), else its name."""
        tensor = self.weights.get(name)
        if name in self.origin or tensor is None or tensor.size > MOST_ELEMENTS:
            return self.origin.get(name, name)
        return tensor.dtype, tensor.shape, tensor.decode().tobytes()


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
