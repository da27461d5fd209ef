"""A graph as plain ONNX, so that any other runtime can check ours: weights expanded, what is quantized spelled out."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import onnx
from onnx import AttributeProto, defs, helper, numpy_helper

from ..formats.graph import ActivationQuantization, Graph, Node, ValueInfo
from ..formats.tensor import EncodedTensor
from ..kernels.quantized import weight_integers, weight_scale
from ..runtime.explicit import integer_operands
from .importers._interface import UNKNOWN
from .passes._edit import fresh, renamed
from .passes._samples import rank, samples

OLDEST, NEWEST = 22, 28
"""A graph's nodes have the form of opset 28, which is that of 22 for most of them; runtimes know older opsets better."""


def to_onnx(graph: Graph) -> onnx.ModelProto:
    """The graph as an ONNX model. Weights have their logical dtype, those of products in integers through DequantizeLinear; activations go
    through QuantizeLinear and DequantizeLinear where their scale is static, else through the operators that say the same."""
    plain = spelled_out(graph)
    nodes = [node for scope in plain.scopes() for node in scope.nodes]
    domains = {node.op.rpartition("::")[0] for node in nodes if "::" in node.op}
    opset = max((_opset(node) for node in nodes), default=OLDEST)
    imports = [helper.make_opsetid("", opset), *(helper.make_opsetid(domain, 1) for domain in sorted(domains))]
    proto = _graph(plain, "main")
    proto.initializer.extend(numpy_helper.from_array(tensor.decode(), name) for name, tensor in plain.weights.items())
    return helper.make_model(proto, opset_imports=imports, ir_version=helper.find_min_ir_version_for(imports), producer_name="thinfer")


def _opset(node: Node) -> int:
    """The oldest opset from 22 on whose form of the operator has all that the node uses."""
    if "::" in node.op:
        return OLDEST
    for opset in range(OLDEST, NEWEST):
        try:
            schema = defs.get_schema(node.op, opset)
        except defs.SchemaError:
            continue
        if set(node.attrs) <= set(schema.attributes) and len(node.inputs) <= schema.max_input:
            return opset
    return NEWEST


def _graph(graph: Graph, name: str) -> onnx.GraphProto:
    return helper.make_graph([_node(node) for node in graph.nodes], name, [_value(info) for info in graph.inputs],
                             [_value(info) for info in graph.outputs])


def _value(info: ValueInfo) -> onnx.ValueInfoProto:
    kind = int(helper.np_dtype_to_tensor_dtype(np.dtype(info.dtype)))
    return helper.make_tensor_value_info(info.name, kind, None if info.shape == UNKNOWN else list(info.shape))


def _node(node: Node) -> onnx.NodeProto:
    domain, _, op = node.op.rpartition("::")
    schema = defs.get_schema(op, domain=domain) if defs.has(op, domain=domain) else None
    kinds = {} if schema is None else {name: attribute.type.value for name, attribute in schema.attributes.items()}
    proto = onnx.NodeProto(op_type=op, domain=domain, name=node.name, input=node.inputs, output=node.outputs)
    proto.attribute.extend(_attribute(name, value, kinds.get(name)) for name, value in sorted(node.attrs.items()))
    return proto


def _attribute(name: str, value: Any, kind: int | None) -> AttributeProto:
    if isinstance(value, Graph):
        return helper.make_attribute(name, _graph(value, name))
    if isinstance(value, np.ndarray):
        return helper.make_attribute(name, numpy_helper.from_array(value))
    return helper.make_attribute(name, list(value) if isinstance(value, tuple) else value, attr_type=kind)


def spelled_out(graph: Graph) -> Graph:
    """The graph without annotations: each quantized value goes through nodes that round it to its integers and back::

        Conv ──► v (static)         becomes         Conv ──► v.float ──► QuantizeLinear ──► DequantizeLinear ──► v

    A weight of a product in integers becomes its integers and DequantizeLinear where the product's input is static: other runtimes would find
    integers of their own for floats there. Where it is dynamic, they would find a scale of their own beside such a weight.
    """
    return _Speller(graph).graph() if any(scope.quantized for scope in graph.scopes()) else graph


class _Speller:
    def __init__(self, graph: Graph) -> None:
        self.source = graph
        self.weights = dict(graph.weights)
        self.taken = {name for scope in graph.scopes() for node in scope.nodes for name in node.outputs}
        self.taken |= set(graph.weights) | {info.name for scope in graph.scopes() for info in scope.inputs}
        self.types = samples(graph)
        self.how = dict(graph.quantized)
        self.integers: dict[str, Node] = {}

    def graph(self) -> Graph:
        body = self._scope(self.source)
        whole = replace(body, nodes=(*self.integers.values(), *body.nodes), weights=self.weights, quantized={})
        read = {name for scope in whole.scopes() for node in scope.nodes for name in node.inputs}
        read |= {info.name for scope in whole.scopes() for info in scope.outputs}
        return replace(whole, weights={name: tensor for name, tensor in self.weights.items() if name in read or name not in self.integers})

    def _scope(self, graph: Graph) -> Graph:
        """One level. An input keeps its name, and its readers read another; what a node makes is called otherwise until it is rounded."""
        nodes: list[Node] = []
        self.how |= graph.quantized
        read = {info.name: fresh(f"{info.name}.rounded", self.taken) for info in graph.inputs if info.name in graph.quantized}
        for name, rounded in read.items():
            self.how[rounded] = graph.quantized[name]
            nodes += self._rounded(name, rounded, graph.quantized[name])
        body = renamed(replace(graph, inputs=(), outputs=()), read)
        for node in body.nodes:
            if integer_operands(node, self.how, self.source.weights) is not None and self.how[node.inputs[0]].kind == "static":
                node = replace(node, inputs=(node.inputs[0], self._from_integers(node.inputs[1]), *node.inputs[2:]))
            attrs = {**node.attrs, **{key: self._scope(sub) for key, sub in node.subgraphs()}}
            made = {name: fresh(f"{name}.float", self.taken) for name in node.outputs if name in graph.quantized}
            nodes.append(replace(node, attrs=attrs, outputs=tuple(made.get(name, name) for name in node.outputs)))
            for name, plain in made.items():
                nodes += self._rounded(plain, name, graph.quantized[name])
        return replace(graph, nodes=tuple(nodes), quantized={})

    def _constant(self, near: str, what: str, value: Any, dtype: str = "float32") -> str:
        name = fresh(f"{near}.{what}", self.taken)
        self.weights[name] = EncodedTensor.dense(np.asarray(value, dtype))
        return name

    def _from_integers(self, name: str) -> str:
        """What a product reads instead of a weight: int8, or uint8 with a zero point, which is one for all channels as runtimes want it.

        It stays in floats where 8 bits do not hold its integers, and where DequantizeLinear would round the scale to float16.
        """
        tensor = self.source.weights.get(name)
        scale = weight_scale(tensor) if tensor is not None and tensor.dtype == "float32" else None
        if tensor is None or scale is None or name in self.integers:
            return self.integers[name].outputs[0] if name in self.integers else name
        codes = weight_integers(tensor).decode()
        low, high = min(codes.min(initial=0), 0), max(codes.max(initial=0), 0)
        if high - low > 255:
            return name
        dtype, zero = ("int8", 0) if low >= -128 and high <= 127 else ("uint8", -low)
        shape, attrs = ((scale.size,), {"axis": tensor.axis}) if scale.size > 1 else ((), {})
        grid = (self._constant(name, "scale", scale.reshape(shape)), self._constant(name, "zero_point", np.full(shape, zero), dtype))
        integers, made = self._constant(name, "integers", codes + zero, dtype), fresh(f"{name}.read", self.taken)
        self.integers[name] = Node("DequantizeLinear", (integers, *grid), (made,), attrs)
        return made

    def _rounded(self, x: str, y: str, how: ActivationQuantization) -> Iterator[Node]:
        """Nodes that make ``y`` from ``x``."""
        if how.kind == "static":
            grid = (self._constant(y, "scale", how.scale), self._constant(y, "zero_point", how.zero_point, how.dtype))
            codes = fresh(f"{y}.codes", self.taken)
            yield Node("QuantizeLinear", (x, *grid), (codes,))
            yield Node("DequantizeLinear", (codes, *grid), (y,))
            return
        yield from self._dynamic(x, y, how)

    def _dynamic(self, x: str, y: str, how: ActivationQuantization) -> Iterator[Node]:
        """docs/quantization.md, operation by operation: the standard's own DynamicQuantizeLinear knows neither int8 nor rows."""
        def value(what: str) -> str:
            return fresh(f"{y}.{what}", self.taken)

        zero, one = self._constant(y, "zero", 0), self._constant(y, "one", 1)
        axes = yield from self._axes(x, y, how.granularity)
        if how.dtype == "binary":
            yield Node("Abs", (x,), (size := value("size"),))
            yield Node("ReduceMean", (size, *axes), (scale := value("scale"),))
            yield Node("Neg", (scale,), (minus := value("minus"),))
            yield Node("GreaterOrEqual", (x, zero), (is_plus := value("is_plus"),))
            yield Node("Where", (is_plus, scale, minus), (y,))
            return
        names = {what: value(what) for what in ("least", "most", "span", "step", "none", "scale", "quotient", "integer", "code", "difference")}
        if how.dtype == "int8":
            yield Node("Abs", (x,), (value_abs := value("size"),))
            yield Node("ReduceMax", (value_abs, *axes), (names["span"],))
            levels, low, high, point = 127, -128, 127, zero
        else:
            yield Node("ReduceMin", (x, *axes), (least := value("lowest"),))
            yield Node("ReduceMax", (x, *axes), (most := value("highest"),))
            yield Node("Min", (least, zero), (names["least"],))
            yield Node("Max", (most, zero), (names["most"],))
            yield Node("Sub", (names["most"], names["least"]), (names["span"],))
            levels, low, high, point = 255, 0, 255, value("zero_point")
        yield Node("Div", (names["span"], self._constant(y, "levels", levels)), (names["step"],))
        yield Node("Equal", (names["step"], zero), (names["none"],))
        yield Node("Where", (names["none"], one, names["step"]), (names["scale"],))
        bounds = (self._constant(y, "low", low), self._constant(y, "high", high))
        if how.dtype == "uint8":
            yield Node("Neg", (names["least"],), (up := value("offset"),))
            yield Node("Div", (up, names["scale"]), (steps := value("steps"),))
            yield Node("Clip", (steps, *bounds), (within := value("bounded"),))
            yield Node("Round", (within,), (point,))
        yield Node("Div", (x, names["scale"]), (names["quotient"],))
        yield Node("Round", (names["quotient"],), (names["integer"],))
        yield Node("Add", (names["integer"], point), (moved := value("moved"),))
        yield Node("Clip", (moved, *bounds), (names["code"],))
        yield Node("Sub", (names["code"], point), (names["difference"],))
        yield Node("Mul", (names["difference"], names["scale"]), (y,))

    def _axes(self, x: str, y: str, granularity: str) -> Generator[Node, None, tuple[str, ...]]:
        """The reduced axes; none for all. Where the rank is unknown, as in subgraphs, nodes find them."""
        if granularity == "tensor":
            return ()
        dims = rank(self.types, y if rank(self.types, y) is not None else x)
        if granularity == "row" or dims is not None:
            return (self._constant(y, "axes", [-1] if granularity == "row" or dims is None else list(range(1, dims)), "int64"),)
        shape, size, axes = (fresh(f"{y}.{what}", self.taken) for what in ("shape", "rank", "axes"))
        one = self._constant(y, "first", 1, "int64")
        yield Node("Shape", (x,), (shape,))
        yield Node("Size", (shape,), (size,))
        yield Node("Range", (one, size, one), (axes,))
        return (axes,)

