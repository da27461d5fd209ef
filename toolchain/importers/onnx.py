"""ONNX models, opset 13 to 24, as graphs: names as the source has them, nothing folded but what has no operator here."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.checker
import onnx.inliner
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from onnx import numpy_helper

from ...formats.graph import DTYPES, Dim, Graph, Node, ValueInfo, verify
from ...formats.tensor import EncodedTensor
from ...runtime import shapes
from ..passes import clean
from ..passes._edit import with_channel_axes
from ..passes.canonicalize import without_defaults
from ..passes.dead_code import dead_code
from . import _external
from ._errors import UnreadableModel, UnsupportedModel
from ._interface import UNKNOWN, fitting, with_input_shapes, with_output_shapes
from ._residue import resolve
from ._source import source_info
from ._upgrade import NEWEST, OLDEST, upgrade

DOMAINS = ("", "ai.onnx")
"""The two names of the standard operators' domain."""


def load(file: Path, input_shapes: Mapping[str, tuple[Dim, ...]]) -> Graph:
    """The ONNX model in ``file``; see ``importers.load``."""
    model = _parse(file)
    _external.load(model, file.parent)
    return convert(model, str(file), input_shapes)


def convert(model: onnx.ModelProto, origin: str, input_shapes: Mapping[str, tuple[Dim, ...]],
            tidy: Callable[[Graph], Graph] = lambda graph: graph) -> Graph:
    """The model as a cleaned graph. ``origin`` names it in messages, ``tidy`` undoes what an exporter added."""
    opset = _opset(model, origin)
    if model.functions:
        model = onnx.inliner.inline_local_functions(model)
    if model.graph.sparse_initializer:
        raise UnsupportedModel(f"{origin} has sparse initializers, which are not supported")
    graph = _graph(model, origin)
    own = frozenset(graph.weights)
    graph = dead_code(tidy(resolve(upgrade(graph, opset), model)))
    graph = shapes.check(verify(graph))
    _check_attributes(model, opset, origin)
    graph = with_input_shapes(without_defaults(graph), input_shapes)
    graph = verify(with_channel_axes(with_output_shapes(fitting(_without_training(graph)))))
    return clean(replace(graph, source=source_info(graph, own)))


def _parse(file: Path) -> onnx.ModelProto:
    try:
        model = onnx.ModelProto.FromString(file.read_bytes())
    except DecodeError:
        raise UnreadableModel(f"{file} is no whole ONNX model and no torch file: it is truncated, or of another kind") from None
    if not model.graph.output or not model.opset_import:
        raise UnreadableModel(f"{file} is no whole ONNX model and no torch file: it has no graph with outputs")
    if any(not isinstance(name, str) for name in _strings(model.graph)):  # protobuf hands out what is no UTF-8 as bytes
        raise UnreadableModel(f"{file} is no whole ONNX model: a name in it is not UTF-8")
    return model


def _strings(graph: onnx.GraphProto) -> Iterator[str]:
    """Every name in the graph."""
    for info in (*graph.input, *graph.output):
        yield info.name
        yield from (dim.dim_param for dim in info.type.tensor_type.shape.dim)
    yield from (tensor.name for tensor in graph.initializer)
    for item in graph.node:
        yield from (item.op_type, item.domain, item.name, *item.input, *item.output)
        yield from (attribute.name for attribute in item.attribute)


def _opset(model: onnx.ModelProto, origin: str) -> int:
    opset = next((entry.version for entry in model.opset_import if entry.domain in DOMAINS), None)
    if opset is None:
        raise UnsupportedModel(f"{origin} imports no standard ONNX operators, only {[e.domain for e in model.opset_import]}")
    if not OLDEST <= opset <= NEWEST:
        raise UnsupportedModel(f"{origin} has ONNX opset {opset}; opsets {OLDEST} to {NEWEST} are supported")
    return opset


def _check_attributes(model: onnx.ModelProto, opset: int, origin: str) -> None:
    """UnreadableModel if a node's attributes are not of the kind that ONNX wants; onnx's checker knows that for every operator."""
    context = onnx.checker.C.CheckerContext()
    context.ir_version, context.opset_imports = model.ir_version, {"": opset}
    for item in model.graph.node:
        if item.domain in DOMAINS:
            try:
                onnx.checker.check_node(item, context)
            except onnx.checker.ValidationError as error:
                what = str(error).strip().splitlines()[0]
                raise UnreadableModel(f"node {item.name or item.op_type!r} of {origin} is not well-formed: {what}") from None


def _graph(model: onnx.ModelProto, origin: str) -> Graph:
    """The model's graph as it is, in its own opset."""
    proto = model.graph
    weights = {tensor.name: _weight(tensor, tensor.name, origin) for tensor in proto.initializer}
    nodes = []
    for item in proto.node:
        if item.op_type == "Constant" and item.domain in DOMAINS:
            weights[item.output[0]] = _constant(item, origin)
        else:
            nodes.append(_node(item))
    inputs = tuple(_value(info, origin) for info in proto.input if info.name not in weights)
    outputs = tuple(_value(info, origin) for info in proto.output)
    return Graph(inputs, outputs, _without_unread_outputs(nodes, {info.name for info in outputs}), weights)


def _node(item: onnx.NodeProto) -> Node:
    op = item.op_type if item.domain in DOMAINS else f"{item.domain}::{item.op_type}"
    attrs = {attribute.name: _attribute(attribute, item) for attribute in item.attribute}
    return Node(op, _trimmed(item.input), _trimmed(item.output), attrs, item.name)


def _trimmed(names: Sequence[str]) -> tuple[str, ...]:
    """The names without absent ones at the end."""
    found = list(names)
    while found and not found[-1]:
        found.pop()
    return tuple(found)


def _without_unread_outputs(nodes: Sequence[Node], outputs: set[str]) -> tuple[Node, ...]:
    """Drops optional outputs at the end of a node that no one reads (the mask of a Dropout, the indices of a MaxPool)."""
    read = outputs | {name for node in nodes for name in node.reads()} | _captured(nodes)
    return tuple(replace(node, outputs=(*node.outputs[:1], *_trimmed([name if name in read else "" for name in node.outputs[1:]])))
                 for node in nodes)


def _captured(nodes: Sequence[Node]) -> set[str]:
    """Names that subgraphs still in ONNX's form read."""
    bodies = [value for node in nodes for value in node.attrs.values() if isinstance(value, onnx.GraphProto)]
    return {name for body in bodies for item in body.node for name in item.input}


def _attribute(attribute: onnx.AttributeProto, item: onnx.NodeProto) -> Any:
    """The attribute's value. Subgraphs stay in ONNX's form: so far no operator takes one, and the error that says so needs no more."""
    try:
        value = onnx.helper.get_attribute_value(attribute)
        if isinstance(value, onnx.TensorProto):
            value = numpy_helper.to_array(value)
    except (ValueError, TypeError, KeyError):
        value = None
    if value is None:
        raise UnreadableModel(f"the attribute {attribute.name!r} of node {item.name or item.op_type!r} is damaged")
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, (int, float, np.ndarray, onnx.GraphProto)):
        return value
    return tuple(part.decode("utf-8", "replace") if isinstance(part, bytes) else part for part in value)


def _weight(tensor: onnx.TensorProto, name: str, origin: str) -> EncodedTensor:
    try:
        array = numpy_helper.to_array(tensor)
    except (ValueError, TypeError, KeyError) as error:
        raise UnreadableModel(f"weight {name!r} of {origin} is damaged: {error}") from None
    return _dense(array, name, origin)


def _dense(array: np.ndarray, name: str, origin: str) -> EncodedTensor:
    if array.dtype.name not in DTYPES:
        raise UnsupportedModel(f"weight {name!r} of {origin} has the data type {array.dtype.name}; supported are {', '.join(DTYPES)}")
    return EncodedTensor.dense(array)


def _constant(item: onnx.NodeProto, origin: str) -> EncodedTensor:
    """What a Constant node holds, whichever of its attributes says it."""
    name = item.output[0]
    attribute = item.attribute[0] if item.attribute else onnx.AttributeProto()
    if attribute.name == "value":
        return _weight(attribute.t, name, origin)
    dtype = {"value_float": np.float32, "value_floats": np.float32, "value_int": np.int64, "value_ints": np.int64}.get(attribute.name)
    if dtype is None:
        raise UnsupportedModel(f"constant {name!r} of {origin} is given as {attribute.name or 'nothing'}, which is not supported")
    return _dense(np.asarray(onnx.helper.get_attribute_value(attribute), dtype), name, origin)


def _value(info: onnx.ValueInfoProto, origin: str) -> ValueInfo:
    """A graph input or output; nameless dimensions are named after it. Shape UNKNOWN stands for none given."""
    if not info.type.HasField("tensor_type"):
        raise UnsupportedModel(f"value {info.name!r} of {origin} is no tensor; only tensors are supported")
    kind = info.type.tensor_type
    known = {onnx.helper.np_dtype_to_tensor_dtype(np.dtype(name)): name for name in DTYPES}
    if kind.elem_type not in known:
        raise UnsupportedModel(f"value {info.name!r} of {origin} has the data type "
                               f"{onnx.TensorProto.DataType.Name(kind.elem_type).lower()}; supported are {', '.join(DTYPES)}")
    if not kind.HasField("shape"):
        return ValueInfo(info.name, known[kind.elem_type], UNKNOWN)
    dims = (dim.dim_value if dim.HasField("dim_value") else dim.dim_param or f"{info.name}_{place}"
            for place, dim in enumerate(kind.shape.dim))
    return ValueInfo(info.name, known[kind.elem_type], tuple(dims))


def _without_training(graph: Graph) -> Graph:
    """The graph, unless a node of it is in training mode, which here means nothing."""
    training = [graph.label(node) for node in graph.nodes if (node.op == "BatchNormalization" and node.attrs.get("training_mode", 0))
                or (node.op == "Dropout" and any(graph.weights[name].decode().any() for name in node.inputs[2:] if name in graph.weights))]
    if training:
        raise UnsupportedModel(f"the model is in training mode at {', '.join(training)}; export it for inference")
    return graph
