"""Folds BatchNormalization into the weights and bias of the node before it."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from math import prod

import numpy as np

from ...formats.graph import Graph, Node
from ...formats.tensor import EncodedTensor
from ._edit import channel_axis, fresh, is_plain, made_names, taken_names, throughout, uses
from ._samples import samples
from .dead_code import dead_code

EPSILON = 1e-5
"""ONNX's default."""


def fold_batchnorm(graph: Graph) -> Graph:
    """Scales the weights of Conv, of ConvTranspose in one group, of Gemm, and of MatMul with a 2-D weight and input, by the
    BatchNormalization that follows.

        x ──► Conv(w, b) ──► BatchNormalization(γ, β, μ, σ²) ──► y      x ──► Conv(w·s, (b − μ)·s + β) ──► y,  s = γ / √(σ² + ε)

    A BatchNormalization stays where another node reads the value before it, where the weight is shared or compressed, and
    where something else comes before it.
    """
    if all(node.op != "BatchNormalization" for scope in graph.scopes() for node in scope.nodes):
        return graph
    read, taken, weights = uses(graph), taken_names(graph), dict(graph.weights)
    ranks = _ranks(graph)

    def folded(part: Graph) -> Graph:
        makers = part.producers()
        changed: dict[int, Node] = {}
        gone: set[int] = set()
        for node in part.nodes:
            before = makers.get(node.inputs[0]) if node.op == "BatchNormalization" else None
            if before is None or read[node.inputs[0]] != 1:
                continue
            if _foldable(before, node, weights, read, ranks.get(node.inputs[0]) == 2):
                changed[id(before)] = _merged(before, node, weights, taken, read)
                gone.add(id(node))
        return replace(part, nodes=tuple(changed.get(id(node), node) for node in part.nodes if id(node) not in gone))

    return dead_code(replace(throughout(graph, folded), weights=weights))


def _ranks(graph: Graph) -> dict[str, int]:
    """The number of dimensions of the graph's own values that no subgraph has a namesake of, if a MatMul's fold depends on it."""
    sampled = samples(graph) if any(node.op == "MatMul" for node in graph.nodes) else []
    made = Counter(name for scope in graph.scopes() for name in made_names(scope))
    return {name: len(kind.shape) for name, kind in sampled[0].items() if kind is not None and made[name] == 1} if sampled else {}


def _foldable(before: Node, norm: Node, weights: dict[str, EncodedTensor], read: dict[str, int], is_2d: bool) -> bool:
    """Whether the weights of ``before`` may take in ``norm``."""
    if norm.attrs.get("training_mode", 0) or len(norm.outputs) != 1 or any(name not in weights for name in norm.inputs[1:]):
        return False
    if before.op not in ("Conv", "ConvTranspose", "Gemm", "MatMul") or (before.op == "ConvTranspose" and before.attrs.get("group", 1) != 1):
        return False
    weight = weights.get(before.inputs[1])
    if weight is None or not is_plain(weight) or read[before.inputs[1]] != 1:
        return False
    if before.op == "MatMul" and (len(weight.shape) != 2 or not is_2d):
        return False
    if len(before.inputs) < 3 or not before.inputs[2]:
        return True
    bias = weights.get(before.inputs[2])
    return bias is not None and is_plain(bias) and prod(bias.shape[:-1]) == 1


def _merged(before: Node, norm: Node, weights: dict[str, EncodedTensor], taken: set[str], read: dict[str, int]) -> Node:
    """The node that does the work of both; its weight and bias are put into ``weights``."""
    gamma, beta, mean, variance = (weights[name].decode().astype(np.float64) for name in norm.inputs[1:5])
    scale = gamma / np.sqrt(variance + norm.attrs.get("epsilon", EPSILON))
    old = weights[before.inputs[1]]
    axis = channel_axis(before, 1, len(old.shape))
    along = tuple(-1 if place == axis else 1 for place in range(len(old.shape)))
    weights[before.inputs[1]] = EncodedTensor.dense((old.decode() * scale.reshape(along)).astype(old.dtype), axis=axis)
    attrs = dict(before.attrs)
    name = before.inputs[2] if len(before.inputs) > 2 else ""
    bias = weights[name].decode().astype(np.float64).reshape(-1) * attrs.pop("beta", 1.0) if name else np.zeros_like(scale)
    if not name or read[name] != 1:
        name = fresh(_bias_name(before.inputs[1]), taken)
    weights[name] = EncodedTensor.dense(((bias - mean) * scale + beta).astype(old.dtype))
    return Node("Gemm" if before.op == "MatMul" else before.op, (*before.inputs[:2], name), norm.outputs, attrs, before.name)


def _bias_name(weight: str) -> str:
    """``conv.weight`` → ``conv.bias``."""
    return f"{weight.rsplit('.', 1)[0]}.bias"
