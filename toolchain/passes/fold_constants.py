"""Computes at pack time what depends on weights alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ...formats.errors import ThinferError
from ...formats.graph import Graph, Node
from ...formats.tensor import EncodedTensor
from ...kernels import ops
from ...runtime import interpreter, shapes
from ._edit import is_plain, uses, with_channel_axes
from .dead_code import dead_code

LIMIT = 1 << 16
"""A result may have this many elements, or as many as the weights that it is made of."""


def fold_constants(graph: Graph) -> Graph:
    """Replaces nodes whose inputs are all constant by the weights they make, unless those would be much larger.

        w ──► Transpose ──► v ──► MatMul          w (transposed) ──► MatMul

    Weights that are already compressed are left alone. A result that replaces its only source keeps the source's name, so
    that recipes still find it.
    """
    weights = dict(graph.weights)
    read = uses(graph)
    outputs = {info.name for info in graph.outputs}
    renamed: dict[str, str] = {}
    nodes = []
    for node in graph.nodes:
        node = node.with_inputs(tuple(renamed.get(name, name) for name in node.inputs))
        made = None if outputs & set(node.outputs) else _folded(node, weights)
        if made is None:
            nodes.append(node)
            continue
        name = _kept_name(node, weights, read) or node.outputs[0]
        weights[name] = EncodedTensor.dense(made)
        renamed[node.outputs[0]] = name
        read[name] = read.get(node.outputs[0], 0)
    return with_channel_axes(dead_code(replace(graph, nodes=tuple(nodes), weights=weights)))


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
    only = [name for name in node.inputs if name]
    return only[0] if len(only) == 1 and read.get(only[0]) == 1 and node.op != "Shape" else None
