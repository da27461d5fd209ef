"""Small rewrites that keep the meaning and leave later passes, kernels and the file less to know."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from ...formats.graph import Graph, Node
from ...formats.tensor import EncodedTensor
from ...kernels import ops
from ...kernels.ops._op import REQUIRED
from ._edit import bypass, fresh, taken_names, throughout, uses
from ._samples import Types, rank, samples, shape_of
from .dead_code import dead_code

NEUTRAL = {"strides": 1, "dilations": 1, "pads": 0, "output_padding": 0}
"""Attribute → the element that, everywhere, means the same as leaving it out."""

MONOMIAL = frozenset({"Shape", "Gather", "Concat", "Squeeze", "Unsqueeze", "Reshape", "Cast", "Identity", "Mul", "Constant"})
"""Shape arithmetic that makes monomials in the symbolic dimensions, see ``_samples.samples``."""


def canonicalize(graph: Graph) -> Graph:
    """Spells one thing one way: attributes, Flatten, GlobalAveragePool, Gemm. The order matters only for the number of rounds."""
    graph = without_defaults(graph)
    graph = reshape_to_constant(reshape_to_flatten(graph))
    graph = mean_to_pool(graph)
    return dead_code(matmul_add_to_gemm(graph))


def without_defaults(graph: Graph) -> Graph:
    """Drops attributes that say what their absence says.

        Conv {group: 1, strides: [1, 1], kernel_shape: [3, 3], pads: [1, 1, 1, 1]}   ──►   Conv {pads: [1, 1, 1, 1]}
    """
    return throughout(graph, lambda part: replace(part, nodes=tuple(_with_attrs(node, _telling(part, node)) for node in part.nodes)))


def _with_attrs(node: Node, attrs: dict[str, Any]) -> Node:
    return node if len(attrs) == len(node.attrs) else replace(node, attrs=attrs)


def _telling(graph: Graph, node: Node) -> dict[str, Any]:
    """The attributes of ``node`` that say something."""
    op = ops.find(node.op)
    if op is None:
        return dict(node.attrs)
    weight = graph.weights.get(node.inputs[1]) if len(node.inputs) > 1 else None
    return {key: value for key, value in node.attrs.items()
            if not _is_default(key, value, op.attributes) and not (
                key == "kernel_shape" and op.attributes.get(key, REQUIRED) is not REQUIRED and weight is not None
                and weight.shape[2:] == tuple(value))}


def _is_default(key: str, value: Any, defaults: Mapping[str, Any]) -> bool:
    default = defaults.get(key, REQUIRED)
    if default is REQUIRED:
        return False
    if value is None:
        return True
    if key in NEUTRAL and (default is None or len(default) == 0):
        return all(item == NEUTRAL[key] for item in value)
    if isinstance(value, float) and isinstance(default, (int, float)):
        return bool(np.float32(value) == np.float32(default))
    return type(value) is type(default) and not isinstance(value, np.ndarray) and bool(value == default)


def reshape_to_flatten(graph: Graph) -> Graph:
    """Reshape that amounts to a Flatten becomes one, for every length of the symbolic dimensions; one that changes nothing goes.

        x ──► Shape ──► Gather(0) ──► Concat(·, 400) ──► s          x ──► Flatten ──► y
        x ──► Reshape(·, s) ──► y
    """
    if all(node.op != "Reshape" for node in graph.nodes):
        return graph
    sampled = samples(graph)
    exact = _reachable_by(graph, MONOMIAL)
    nodes, idle = [], []
    for node in graph.nodes:
        axis = _flatten_axis(sampled, node) if node.op == "Reshape" and sampled and node.inputs[1] in exact else None
        if axis is not None:
            node = Node("Flatten", node.inputs[:1], node.outputs, {} if axis == 1 else {"axis": axis}, node.name)
        elif node.op == "Reshape" and sampled and node.inputs[1] in exact and _same_shape(sampled, node):
            idle.append(node)
        nodes.append(node)
    return bypass(replace(graph, nodes=tuple(nodes)), idle)


def _reachable_by(graph: Graph, allowed: frozenset[str]) -> set[str]:
    """Values that come from weights, or from any value's shape, by operators in ``allowed`` alone."""
    found = set(graph.weights)
    for node in graph.nodes:
        if node.op == "Shape" or (node.op in allowed and all(name in found for name in node.inputs if name)):
            found.update(node.outputs)
    return found


def _flatten_axis(sampled: list[Types], node: Node) -> int | None:
    """The axis at which a Flatten does what the Reshape ``node`` does; 1 where several do."""
    shapes = [(shape_of(types, node.inputs[0]), shape_of(types, node.outputs[0])) for types in sampled]
    first = shapes[0][0]
    if first is None or _same_shape(sampled, node):
        return None
    for axis in (1, *(other for other in range(len(first) + 1) if other != 1)):
        if axis <= len(first) and all(_flattened(before, axis) == after for before, after in shapes):
            return axis
    return None


def _flattened(shape: tuple[int, ...] | None, axis: int) -> tuple[int, int] | None:
    if shape is None:
        return None
    return int(np.prod(shape[:axis], dtype=np.int64)), int(np.prod(shape[axis:], dtype=np.int64))


def _same_shape(sampled: list[Types], node: Node) -> bool:
    return all(shape_of(types, node.inputs[0]) is not None and shape_of(types, node.inputs[0]) == shape_of(types, node.outputs[0])
               for types in sampled)


def reshape_to_constant(graph: Graph) -> Graph:
    """Reshape to a shape that is computed gets a constant one, if 0 (keep the length) and -1 (what is left) can say it.

        x [N, 8, 6, 6] ──► Shape ──► Gather(0) ──► Concat(·, 8, 36) ──► s          x ──► Reshape(·, [0, 8, 36]) ──► y
        x ──► Reshape(·, s) ──► y
    """
    computed = [node for node in graph.nodes if node.op == "Reshape" and node.inputs[1] not in graph.weights]
    sampled = samples(graph) if computed else []
    exact = _reachable_by(graph, MONOMIAL)
    weights, taken = dict(graph.weights), taken_names(graph)
    changed: dict[int, Node] = {}
    for node in computed:
        target = _target(sampled, node) if sampled and node.inputs[1] in exact else None
        if target is not None:
            name = fresh(f"{node.outputs[0]}.shape", taken)
            weights[name] = EncodedTensor.dense(np.array(target, np.int64))
            attrs = {key: value for key, value in node.attrs.items() if key != "allowzero"}
            changed[id(node)] = replace(node, inputs=(node.inputs[0], name), attrs=attrs)
    if not changed:
        return graph
    return dead_code(replace(graph, nodes=tuple(changed.get(id(node), node) for node in graph.nodes), weights=weights))


def _target(sampled: list[Types], node: Node) -> list[int] | None:
    """The constant target shape that does what the computed one does in every sample; None if there is none."""
    olds, news = ([shape_of(types, name) or () for types in sampled] for name in (node.inputs[0], node.outputs[0]))
    if any(len(shape) != len(news[0]) for shape in news) or any(0 in shape for shape in (*olds, *news)):
        return None
    found = []
    for axis, length in enumerate(news[0]):
        if all(new[axis] == length for new in news):
            found.append(length)
        elif all(axis < len(old) and old[axis] == new[axis] for old, new in zip(olds, news)):
            found.append(0)
        else:
            found.append(-1)
    return found if found.count(-1) <= 1 else None


def mean_to_pool(graph: Graph) -> Graph:
    """ReduceMean over the two last of four axes becomes GlobalAveragePool.

        x ──► ReduceMean(axes 2, 3) ──► y                 x ──► GlobalAveragePool ──► y
        x ──► ReduceMean(axes 2, 3, keepdims 0) ──► y     x ──► GlobalAveragePool ──► v ──► Flatten ──► y
    """
    if all(node.op != "ReduceMean" for node in graph.nodes):
        return graph
    sampled, taken = samples(graph), taken_names(graph)
    nodes: list[Node] = []
    for node in graph.nodes:
        if not _is_spatial_mean(graph, node, sampled):
            nodes.append(node)
        elif node.attrs.get("keepdims", 1):
            nodes.append(Node("GlobalAveragePool", node.inputs[:1], node.outputs, {}, node.name))
        else:
            pooled = fresh(f"{node.outputs[0]}.pooled", taken)
            nodes.append(Node("GlobalAveragePool", node.inputs[:1], (pooled,), {}, node.name))
            nodes.append(Node("Flatten", (pooled,), node.outputs))
    return replace(graph, nodes=tuple(nodes))


def _is_spatial_mean(graph: Graph, node: Node, sampled: list[Types]) -> bool:
    if node.op != "ReduceMean" or len(node.inputs) < 2 or node.inputs[1] not in graph.weights or rank(sampled, node.inputs[0]) != 4:
        return False
    return sorted(int(axis) % 4 for axis in graph.weights[node.inputs[1]].decode().ravel()) == [2, 3]


def matmul_add_to_gemm(graph: Graph) -> Graph:
    """MatMul of a 2-D value by a 2-D weight, with a bias added, becomes Gemm.

        x ──► MatMul(·, w) ──► v ──► Add(·, b) ──► y          x ──► Gemm(·, w, b) ──► y
    """
    if all(node.op != "MatMul" for node in graph.nodes):
        return graph
    sampled, read, makers = samples(graph), uses(graph), graph.producers()
    merged: dict[int, Node] = {}
    gone: set[int] = set()
    for node in graph.nodes:
        found = _matmul_and_bias(graph, node, makers) if node.op == "Add" else None
        if found is None or read[found[0].outputs[0]] != 1 or found[0].outputs[0] in graph.quantized or rank(sampled, found[0].inputs[0]) != 2:
            continue
        matmul, bias = found
        merged[id(node)] = Node("Gemm", (*matmul.inputs, bias), node.outputs, {}, matmul.name)
        gone.add(id(matmul))
    return replace(graph, nodes=tuple(merged.get(id(node), node) for node in graph.nodes if id(node) not in gone))


def _matmul_and_bias(graph: Graph, add: Node, makers: Mapping[str, Node]) -> tuple[Node, str] | None:
    """The MatMul and the bias that an Add puts together; None if it adds anything else."""
    for value, bias in (add.inputs, add.inputs[::-1]):
        matmul = makers.get(value)
        if matmul is None or matmul.op != "MatMul" or bias not in graph.weights:
            continue
        weight = graph.weights.get(matmul.inputs[1])
        if weight is not None and len(weight.shape) == 2 and graph.weights[bias].shape in (weight.shape[1:], (1, *weight.shape[1:])):
            return matmul, bias
    return None


def drop_identities(graph: Graph) -> Graph:
    """Removes Identity, and Dropout outside of training, whose mask no one reads.

        x ──► Dropout ──► v ──► Gemm          x ──► Gemm
    """
    return dead_code(throughout(graph, lambda part: bypass(part, [node for node in part.nodes if _does_nothing(part, node)])))


def _does_nothing(graph: Graph, node: Node) -> bool:
    if node.op == "Identity":
        return True
    if node.op != "Dropout" or len(node.outputs) > 1:
        return False
    training = node.inputs[2] if len(node.inputs) > 2 else ""
    return not training or (training in graph.weights and not graph.weights[training].decode().any())
