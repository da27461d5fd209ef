"""The nodes of an ONNX model: one naming for its graph and subgraphs, functions spelled out, constants in one table of weights."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import onnx
from onnx import AttributeProto

from ...formats.graph import Graph, Node, ValueInfo
from ...formats.tensor import EncodedTensor
from ...kernels import ops
from ..passes._edit import fresh
from . import _functions
from ._context import Context, Known
from ._errors import UnreadableModel, UnsupportedModel
from ._interface import UNKNOWN
from ._tensors import ELEMENT_TYPES, NARROW, Tensors, dtype_of
from ._upgrade import NEWEST, OLDEST, upgraded

STANDARD = ("", "ai.onnx")
"""The two names of the standard operators' domain."""


@dataclass(frozen=True)
class Scope:
    """Where nodes stand. ``names``: name in the source → ours, innermost level first. ``known``: what onnx could infer, by name in
    the source. ``attributes``, ``results``: those of the enclosing function's call; results are called as the caller wants.
    ``prefix`` goes before a name that is taken, ``label`` before a node's own.
    """

    names: ChainMap[str, str]
    opset: int
    known: Mapping[str, Known] = field(default_factory=dict)
    attributes: Mapping[str, AttributeProto] = field(default_factory=dict)
    results: Mapping[str, str] = field(default_factory=dict)
    prefix: str = ""
    label: str = ""
    depth: int = 0


class Converter:
    """Turns one model into a graph; ``context`` gathers its weights, names and what is known of its values."""

    def __init__(self, model: onnx.ModelProto, tensors: Tensors) -> None:
        self.model, self.tensors, self.origin = model, tensors, tensors.origin
        self.functions = {(f.domain, f.name, f.overload): f for f in model.functions}
        self.context = Context(tensors.origin)

    def graph(self) -> Graph:
        """The model's graph. Names of its outermost level stay as they are; those inside get new ones where they are taken."""
        proto = self.model.graph
        self.context.taken.update(name for node in proto.node for name in node.output)
        self.context.taken.update(item.name for item in (*proto.input, *proto.initializer))
        scope = Scope(ChainMap(), opset_of(self.model.opset_import, self.origin), inferred(proto))
        return replace(self._graph(proto, scope), weights=self.context.weights)

    def _graph(self, proto: onnx.GraphProto, scope: Scope) -> Graph:
        """A graph or subgraph, its weights in the common table; inputs that have an initializer are weights."""
        if proto.sparse_initializer:
            raise UnsupportedModel(f"{self.origin} has sparse initializers, which are not supported")
        for tensor in proto.initializer:
            self._add_weight(tensor, self._define(tensor.name, scope))
        own = {tensor.name for tensor in proto.initializer}
        inputs = tuple(self._value(info, self._define(info.name, scope)) for info in proto.input if info.name not in own)
        nodes = list(self._nodes(proto.node, scope))
        outputs = tuple(self._value(info, self._read(info.name, scope, "the graph")) for info in proto.output)
        return Graph(inputs, outputs, without_unread_outputs(nodes, {info.name for info in outputs}))

    def _add_weight(self, tensor: onnx.TensorProto, name: str) -> None:
        detached = self.tensors.detached
        array = detached.pop(name) if name in detached else self.tensors.array(tensor, name)
        self.context.weights[name] = EncodedTensor.dense(array)
        if tensor.data_type in NARROW:
            self.context.bits[name] = NARROW[tensor.data_type][1]

    def _define(self, name: str, scope: Scope) -> str:
        """Our name for what the source makes as ``name``: the same unless an inner level repeats one."""
        if name in scope.names.maps[0]:
            raise UnreadableModel(f"{self.origin} is not well-formed: two weights, inputs or nodes make {name!r}")
        taken, ours = self.context.taken, scope.results.get(name, name)
        if scope.depth and name not in scope.results:
            ours = fresh(scope.prefix + name if name in taken else name, taken)
        if name in scope.known:
            self.context.known[ours] = scope.known[name]
        scope.names[name] = ours
        return ours

    def _read(self, name: str, scope: Scope, reader: str) -> str:
        """Our name for what the source reads as ``name``. At the outermost level ``verify`` says what does not exist."""
        if name and name not in scope.names and scope.depth:
            raise UnreadableModel(f"{self.origin} is not well-formed: {reader} reads {name!r}, which does not exist there")
        return scope.names.get(name, name)

    def _nodes(self, protos: Iterable[onnx.NodeProto], scope: Scope) -> Iterator[Node]:
        for proto in protos:
            function = self.functions.get((proto.domain, proto.op_type, proto.overload))
            if proto.domain in STANDARD and proto.op_type == "Constant":
                self._constant(proto, scope)
            elif function is None:
                for node in upgraded(self._node(proto, scope), scope.opset, self.context):
                    yield from self._spelled_out(node, scope)
            else:
                given = {attribute.name: attribute for attribute in self._attributes(proto, scope)}
                yield from self._called(function, self._call(proto, scope), given, scope)

    def _node(self, proto: onnx.NodeProto, scope: Scope) -> Node:
        attrs = {found.name: self._attribute(found, proto, scope) for found in self._attributes(proto, scope)}
        return replace(self._call(proto, scope), attrs=attrs)

    def _call(self, proto: onnx.NodeProto, scope: Scope) -> Node:
        """The node without its attributes."""
        op = proto.op_type if proto.domain in STANDARD else f"{proto.domain}::{proto.op_type}"
        inputs = trimmed([self._read(name, scope, f"node {proto.name or op!r}") for name in proto.input])
        outputs = trimmed([self._define(name, scope) if name else "" for name in proto.output])
        return Node(op, inputs, outputs, name=scope.label + proto.name if proto.name else "")

    def _spelled_out(self, node: Node, scope: Scope) -> Iterator[Node]:
        """The node, or where there is no such operator here, the function by which onnx defines it if there are all of that."""
        function = None if ops.find(node.op) is not None else _functions.standard(node, self.context)
        body = [node] if function is None else list(self._called(function, node, _functions.attributes(node), scope))
        yield from body if all(ops.find(part.op) is not None for part in body) else [node]

    def _called(self, function: onnx.FunctionProto, call: Node, given: Mapping[str, AttributeProto], scope: Scope) -> Iterator[Node]:
        """The body of a function in place of the call."""
        if any(attribute.type == AttributeProto.GRAPH for attribute in given.values()):
            raise UnsupportedModel(f"the function {function.name} of {self.origin} is given a subgraph, which is not supported")
        names = dict(zip(function.input, [*call.inputs, *[""] * len(function.input)]))
        inner = Scope(ChainMap({}, names), opset_of(function.opset_import, self.origin, scope.opset),
                      known=inferred(_functions.with_types(function, call, self.context)),
                      attributes={**{attribute.name: attribute for attribute in function.attribute_proto}, **given},
                      results={formal: name for formal, name in zip(function.output, call.outputs) if name},
                      prefix=f"{call.name or function.name}/", label=f"{call.name}/" if call.name else "", depth=scope.depth + 1)
        yield from self._nodes(function.node, inner)
        for formal, name in inner.results.items():
            if self._read(formal, inner, f"function {function.name}") != name:  # it is an input of the function
                yield Node("Identity", (inner.names[formal],), (name,))

    def _attributes(self, proto: onnx.NodeProto, scope: Scope) -> Iterator[AttributeProto]:
        """The node's attributes; one that refers to an attribute of the enclosing function is that one, or absent if it has none."""
        for attribute in proto.attribute:
            if not attribute.ref_attr_name:
                yield attribute
            elif attribute.ref_attr_name in scope.attributes:
                found = AttributeProto()
                found.CopyFrom(scope.attributes[attribute.ref_attr_name])
                found.name = attribute.name
                yield found

    def _attribute(self, attribute: AttributeProto, proto: onnx.NodeProto, scope: Scope) -> Any:
        """The attribute's value; a subgraph is a Graph whose weights lie in the common table."""
        name = proto.name or proto.op_type
        if attribute.type == AttributeProto.GRAPH:
            return self._graph(attribute.g, replace(scope, names=scope.names.new_child(), known=inferred(attribute.g), results={},
                                                    prefix=f"{scope.prefix}{name}.{attribute.name}.", depth=scope.depth + 1))
        if attribute.type == AttributeProto.TENSOR:
            return self.tensors.array(attribute.t, f"{name}.{attribute.name}")
        return plain_attribute(attribute, name)

    def _constant(self, proto: onnx.NodeProto, scope: Scope) -> None:
        """Adds what a Constant node holds to the weights, whichever of its attributes says it."""
        name = self._define(proto.output[0], scope) if proto.output else ""
        attribute = next(self._attributes(proto, scope), AttributeProto())
        if attribute.name == "value" and attribute.type == AttributeProto.TENSOR:
            self._add_weight(attribute.t, name)
            return
        dtype = {"value_float": np.float32, "value_floats": np.float32, "value_int": np.int64, "value_ints": np.int64}.get(attribute.name)
        if dtype is None:
            raise UnsupportedModel(f"constant {name!r} of {self.origin} is given as {attribute.name or 'nothing'}, which is not supported")
        self.context.weights[name] = EncodedTensor.dense(np.asarray(plain_attribute(attribute, name), dtype))

    def _value(self, info: onnx.ValueInfoProto, name: str) -> ValueInfo:
        """A graph's input or output; nameless dimensions are named after it. Shape UNKNOWN stands for none given."""
        what = f"value {info.name!r} of {self.origin}"
        if info.type.WhichOneof("value") not in (None, "tensor_type"):
            raise UnsupportedModel(f"{what} is no tensor; only tensors are supported")
        kind = info.type.tensor_type
        if not kind.elem_type and name in self.context.known:
            return ValueInfo(name, self.context.known[name].dtype, UNKNOWN)
        dtype = dtype_of(kind.elem_type, what)
        if kind.elem_type in NARROW:
            self.context.bits[name] = NARROW[kind.elem_type][1]
        if not kind.HasField("shape"):
            return ValueInfo(name, dtype, UNKNOWN)
        dims = (dim.dim_value if dim.HasField("dim_value") and dim.dim_value >= 0 else dim.dim_param or f"{name}_{place}"
                for place, dim in enumerate(kind.shape.dim))  # some exporters write -1 for what they do not know
        return ValueInfo(name, dtype, tuple(dims))


def opset_of(imports: Iterable[onnx.OperatorSetIdProto], origin: str, default: int | None = None) -> int:
    """The opset of the standard domain, or ``default``. UnsupportedModel if there is none, or it is not supported."""
    imports = list(imports)
    opset = next((entry.version for entry in imports if entry.domain in STANDARD), default)
    if opset is None:
        raise UnsupportedModel(f"{origin} imports no standard ONNX operators, only {[entry.domain for entry in imports]}")
    if not OLDEST <= opset <= NEWEST:
        raise UnsupportedModel(f"{origin} has ONNX opset {opset}; opsets {OLDEST} to {NEWEST} are supported")
    return opset


def inferred(proto: onnx.GraphProto) -> dict[str, Known]:
    """What onnx could infer of the graph's values."""
    found = {}
    for info in (*proto.input, *proto.value_info, *proto.output):
        kind = info.type.tensor_type
        if kind.elem_type in ELEMENT_TYPES:
            dims = tuple(dim.dim_value if dim.HasField("dim_value") and dim.dim_value >= 0 else None for dim in kind.shape.dim)
            found[info.name] = Known(ELEMENT_TYPES[kind.elem_type], dims if kind.HasField("shape") else None)
    return found


def trimmed(names: Sequence[str]) -> tuple[str, ...]:
    """The names without absent ones at the end."""
    found = list(names)
    while found and not found[-1]:
        found.pop()
    return tuple(found)


def without_unread_outputs(nodes: Sequence[Node], outputs: set[str]) -> tuple[Node, ...]:
    """Drops optional outputs that no one reads (the mask of a Dropout, the indices of a MaxPool); how many parts a Split makes stays."""
    read = outputs | {name for node in nodes for name in node.reads()}
    return tuple(replace(node, outputs=(*node.outputs[:1], *trimmed([name if name in read else "" for name in node.outputs[1:]])))
                 if _functions.has_optional_outputs(node.op) else node for node in nodes)


def plain_attribute(attribute: AttributeProto, owner: str) -> Any:
    """The value of an attribute that is neither tensor nor graph, text as str and lists as tuples."""
    try:
        value = onnx.helper.get_attribute_value(attribute)
    except (ValueError, TypeError, KeyError):
        value = None
    if value is None:
        raise UnreadableModel(f"the attribute {attribute.name!r} of node {owner!r} is damaged")
    parts = value if isinstance(value, Sequence) and not isinstance(value, (bytes, str)) else (value,)
    if any(not isinstance(part, (bytes, str, int, float)) for part in parts):
        kind = AttributeProto.AttributeType.Name(attribute.type).lower()
        raise UnsupportedModel(f"the attribute {attribute.name!r} of node {owner!r} is of the kind {kind}, which is not supported")
    texts = tuple(part.decode("utf-8", "replace") if isinstance(part, bytes) else part for part in parts)
    return texts if parts is value else texts[0]
