"""Brings nodes of ONNX opset 13 to 23 into the form of opset 24."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from ...formats.graph import Graph, Node
from ...formats.tensor import EncodedTensor

OLDEST, NEWEST = 13, 24

Weights = dict[str, EncodedTensor]
Upgrade = Callable[[Node, Weights], Node]


def _axes_to_input(node: Node, weights: Weights) -> Node:
    """``axes`` was an attribute until opset 17; it is the second input since 18."""
    if "axes" not in node.attrs:
        return node
    name = f"{node.outputs[0]}.axes"
    weights[name] = EncodedTensor.dense(np.asarray(node.attrs["axes"], np.int64))
    return replace(node, inputs=(node.inputs[0], name), attrs=_without(node, "axes"))


def _inference_only(node: Node, weights: Weights) -> Node:
    """BatchNormalization of opset 13 has no ``training_mode``; its further outputs are of training and go."""
    return replace(node, outputs=node.outputs[:1])


def _without(node: Node, *names: str) -> dict[str, Any]:
    return {key: value for key, value in node.attrs.items() if key not in names}


REDUCTIONS = ("ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd",
              "ReduceSumSquare")

UPGRADES: dict[str, tuple[int, Upgrade]] = {
    **{op: (18, _axes_to_input) for op in REDUCTIONS},
    "BatchNormalization": (14, _inference_only),
}
"""Operator → (opset that brought the new form, how to reach it). Other operators read the same since opset 13."""


def upgrade(graph: Graph, opset: int) -> Graph:
    """The graph of ``opset`` in the form of opset 24."""
    weights = dict(graph.weights)
    nodes = []
    for node in graph.nodes:
        since, change = UPGRADES.get(node.op, (0, None))
        nodes.append(change(node, weights) if change is not None and opset < since else node)
    return replace(graph, nodes=tuple(nodes), weights=weights)
