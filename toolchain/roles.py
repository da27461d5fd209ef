"""What each weight is to the net: recipes speak of biases, depthwise weights, first and last."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ..formats.graph import Graph, Node
from ..formats.tensor import EncodedTensor

MATRICES = {"Conv": (1,), "Gemm": (0, 1), "MatMul": (0, 1), "Gather": (0,), "ConvTranspose": (1,), "RNN": (1, 2), "GRU": (1, 2),
            "LSTM": (1, 2), "Einsum": (0, 1)}
"""Operator → inputs that are weights in the narrow sense, if constant."""

BIASES = {"Conv": (2,), "ConvTranspose": (2,), "Gemm": (2,), "RNN": (3,), "GRU": (3,), "LSTM": (3, 7), "BatchNormalization": (1, 2, 3, 4),
          "InstanceNormalization": (1, 2), "GroupNormalization": (1, 2), "LayerNormalization": (1, 2), "RMSNormalization": (1,),
          "Add": (0, 1), "Sub": (0, 1), "Mul": (0, 1), "Div": (1,)}


@dataclass(frozen=True)
class Role:
    """``labels``: those of the nodes that read the weight. ``is_first``, ``is_last``: of the nodes that have weights."""

    kind: Literal["weight", "depthwise", "bias"]
    labels: tuple[str, ...]
    is_first: bool = False
    is_last: bool = False


def roles(graph: Graph) -> dict[str, Role]:
    """Weight name → role, for every floating-point weight that may be compressed, in the graph's order.

    Scalars and constants of other uses (shapes, bounds, scales of Resize) have none.
    """
    uses: dict[str, list[tuple[Node, int]]] = {}
    labels: dict[int, str] = {}
    for scope in graph.scopes():
        for node in scope.nodes:
            for place, name in enumerate(node.inputs):
                if name in graph.weights:
                    uses.setdefault(name, []).append((node, place))
                    labels[id(node)] = labels.get(id(node)) or scope.label(node)
    kinds = {name: kind for name, tensor in graph.weights.items() if (kind := _kind(tensor, uses.get(name, [])))}
    order = [name for name in uses if kinds.get(name) in ("weight", "depthwise")]  # in the order in which nodes read them
    return {name: Role(kind, tuple(dict.fromkeys(labels[id(node)] for node, _ in uses[name])), name in order[:1], name in order[-1:])
            for name, kind in kinds.items()}


def _kind(tensor: EncodedTensor, uses: list[tuple[Node, int]]) -> Literal["weight", "depthwise", "bias"] | None:
    if not tensor.dtype.startswith("float") or not tensor.shape or not uses:
        return None
    if any(node.op == "Conv" and place == 1 and is_depthwise(node, tensor) for node, place in uses):
        return "depthwise"
    if len(tensor.shape) > 1 and any(place in MATRICES.get(node.op, ()) for node, place in uses):
        return "weight"
    return "bias" if all(place in BIASES.get(node.op, ()) for node, place in uses) else None


def is_depthwise(node: Node, weight: EncodedTensor) -> bool:
    """Whether the Conv has one input channel per group and several groups."""
    return node.attrs.get("group", 1) > 1 and weight.shape[1] == 1
