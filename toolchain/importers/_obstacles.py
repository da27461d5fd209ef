"""What of an ONNX model is not supported, all of it at once, without importing it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import onnx
from onnx import TensorProto

from ...formats.graph import DTYPES
from ...kernels import ops
from . import _functions
from ._nodes import STANDARD
from ._tensors import ELEMENT_TYPES, subgraphs
from ._upgrade import UPGRADES

TRAINING = "ai.onnx.preview.training"


@dataclass(frozen=True)
class Obstacle:
    """An operator or data type that is not supported. ``where``: names of nodes, weights or values. ``advice``: what to do about it."""

    what: str
    where: tuple[str, ...]
    advice: str


def scan(model: onnx.ModelProto) -> list[Obstacle]:
    """Every operator and data type of the model that is not supported, data types first."""
    types: dict[str, list[str]] = {}
    missing: dict[str, list[str]] = {}
    local = {(f.domain, f.name) for f in model.functions}
    for graph in _graphs(model.graph):
        for info in (*graph.input, *graph.output):
            if info.type.WhichOneof("value") not in (None, "tensor_type"):
                types.setdefault(str(info.type.WhichOneof("value")).removesuffix("_type"), []).append(info.name)
            elif info.type.tensor_type.elem_type not in (0, *ELEMENT_TYPES):
                types.setdefault(_name(info.type.tensor_type.elem_type), []).append(info.name)
        for tensor in graph.initializer:
            if tensor.data_type not in ELEMENT_TYPES:
                types.setdefault(_name(tensor.data_type), []).append(tensor.name)
    bodies = [node for graph in _graphs(model.graph) for node in graph.node] + [node for function in model.functions for node in function.node]
    for node in bodies:
        op = node.op_type if node.domain in STANDARD else f"{node.domain}::{node.op_type}"
        if (node.domain, node.op_type) not in local and not is_known(op):
            missing.setdefault(op, []).append(node.name or (node.output[0] if node.output else op))
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.TENSOR and attribute.t.data_type not in ELEMENT_TYPES:
                types.setdefault(_name(attribute.t.data_type), []).append(node.name or node.output[0])
    return [Obstacle(f"data type {kind}", tuple(names), type_advice(kind)) for kind, names in sorted(types.items())] + of_operators(missing)


def of_operators(missing: dict[str, list[str]]) -> list[Obstacle]:
    """Operators that do not exist here → the same with advice."""
    return [Obstacle(f"operator {op}", tuple(labels), op_advice(op)) for op, labels in sorted(missing.items())]


def is_known(op: str) -> bool:
    """Whether an operator exists here, is replaced by others on import, or defined by onnx as a function of others."""
    return op == "Constant" or ops.find(op) is not None or op in UPGRADES or _functions.is_function(op)


def op_advice(op: str) -> str:
    domain, _, name = op.rpartition("::")
    if domain == TRAINING or name in ("Gradient", "Adam", "Adagrad", "Momentum"):
        return "it belongs to training; export the model for inference"
    if name.startswith(("Sequence", "SplitToSequence", "ConcatFromSequence", "Optional")):
        return "sequences are supported where their length and indices are known; give lengths with --input-shape, or keep tensors apart"
    if name.startswith(("String", "Tfidf", "TfIdf", "Regex")) or domain.startswith("ai.onnx.ml"):
        return "do it before or after the model, on the host"
    if domain:
        return f"the domain {domain} is another runtime's own; export with standard operators, before that runtime's optimizations"
    return "replace it in the model, or add kernels/ops/ with its meaning (see CONTRIBUTING.md)"


def type_advice(kind: str) -> str:
    if kind in ("string", "sequence", "map", "optional", "sparse_tensor", "opaque"):
        return "only tensors of numbers are supported; convert before or after the model, on the host"
    return f"convert the model's {kind} to float32 or float16 before importing it; supported are {', '.join(DTYPES)} and integers of 2 and 4 bits"


def _name(element_type: int) -> str:
    known = element_type in TensorProto.DataType.values()
    return TensorProto.DataType.Name(element_type).lower() if known else f"number {element_type}"


def _graphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    yield graph
    for node in graph.node:
        for inner in subgraphs(node):
            yield from _graphs(inner)
