"""Graph → header bytes (SPEC.md, "Header")."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from . import codes
from .codes import WeightEntry
from .cursor import put_float, put_signed, put_varint
from .errors import GraphError
from .graph import DTYPES, GRANULARITIES, QUANTIZED_DTYPES, ActivationQuantization, Graph, Node, SourceInfo, ValueInfo
from .strings import StringWriter
from .tensor import CODERS


def header_bytes(graph: Graph, entries: Sequence[WeightEntry]) -> bytes:
    """The header of ``graph``, whose weights are ``entries``, in that order."""
    writer = _HeaderWriter([entry.name for entry in entries])
    writer.put_source(graph.source)
    put_varint(writer.out, len(entries))
    for entry in entries:
        writer.put_weight(entry)
    writer.put_graph(graph, depth=0)
    return bytes(writer.out)


class _HeaderWriter:
    def __init__(self, weights: list[str]) -> None:
        self.out = bytearray()
        self.strings = StringWriter()
        self.weights = {name: i for i, name in enumerate(weights)}
        self.scope: dict[str, int] = {}

    def string(self, text: str) -> None:
        self.strings.put(self.out, text)

    def put_source(self, source: SourceInfo) -> None:
        put_varint(self.out, source.parameters)
        put_varint(self.out, source.macs)
        put_signed(self.out, source.nbytes - 4 * source.parameters)

    def put_weight(self, entry: WeightEntry) -> None:
        self.strings.put_literal(self.out, entry.name)
        structure, coder = codes.STRUCTURES.index(entry.structure), CODERS.index(entry.coder)
        put_varint(self.out, entry.kind | structure << 3 | coder << 5 | DTYPES.index(entry.dtype) << 7)
        self.out.append(len(entry.shape) | entry.axis << 4)
        for dim in entry.shape:
            put_varint(self.out, dim)
        if not entry.is_bare:
            put_varint(self.out, entry.nbytes)
        self.out += entry.crc.to_bytes(4, "little")

    def put_graph(self, graph: Graph, depth: int) -> None:
        """Inputs, nodes, outputs, quantized values. Names that a subgraph defines end with it; it stores none of them."""
        if depth > codes.MAX_DEPTH:
            raise GraphError(f"subgraphs are nested more than {codes.MAX_DEPTH} deep")
        before = len(self.scope)
        named = {info.name for info in graph.outputs} if depth == 0 else set()
        put_varint(self.out, len(graph.inputs))
        for info in graph.inputs:
            if depth == 0:
                self.string(info.name)
            self.put_type(info)
            self.scope[info.name] = len(self.scope)
        put_varint(self.out, len(graph.nodes))
        for node in graph.nodes:
            self.put_node(node, named, depth)
        put_varint(self.out, len(graph.outputs))
        for info in graph.outputs:
            put_varint(self.out, self.reference(info.name))
            self.put_type(info)
        quantized = sorted((self.reference(name), name) for name in graph.quantized)
        put_varint(self.out, len(quantized))
        for reference, name in quantized:
            put_varint(self.out, reference)
            self.put_quantization(graph.quantized[name])
        for name in list(self.scope)[before:]:
            del self.scope[name]

    def reference(self, name: str) -> int:
        """0: absent; even: a weight's number; odd: how many places before the next value this one was defined."""
        if not name:
            return 0
        if name in self.weights:
            return 2 * self.weights[name] + 2
        return 2 * (len(self.scope) - self.scope[name]) - 1

    def put_type(self, info: ValueInfo) -> None:
        self.out.append(DTYPES.index(info.dtype))
        put_varint(self.out, len(info.shape))
        for dim in info.shape:
            if isinstance(dim, str):
                put_varint(self.out, 1)
                self.string(dim)
            else:
                put_varint(self.out, 2 * int(dim))

    def put_quantization(self, quantization: ActivationQuantization) -> None:
        kind = 0 if quantization.kind == "static" else 1 + GRANULARITIES.index(quantization.granularity)
        self.out.append(kind | QUANTIZED_DTYPES.index(quantization.dtype) << 2)
        if quantization.kind == "static":
            put_float(self.out, quantization.scale)
            put_signed(self.out, quantization.zero_point)

    def put_node(self, node: Node, named: set[str], depth: int) -> None:
        outputs = node.outputs
        plain = 0 if len(outputs) == 1 and outputs[0] not in named else 1 if len(outputs) == 1 else 2
        self.string(node.op)
        self.out.append(min(len(node.inputs), 7) | plain << 3 | min(len(node.attrs), 3) << 5 | bool(node.name) << 7)
        if len(node.inputs) >= 7:
            put_varint(self.out, len(node.inputs))
        for name in node.inputs:
            put_varint(self.out, self.reference(name))
        if len(node.attrs) >= 3:
            put_varint(self.out, len(node.attrs))
        for key in sorted(node.attrs):
            self.string(key)
            self.put_attribute(node, key, node.attrs[key], depth)
        self.put_outputs(outputs, plain, named)
        if node.name:
            self.string(node.name)

    def put_outputs(self, outputs: tuple[str, ...], plain: int, named: set[str]) -> None:
        if plain == 1:
            self.string(outputs[0])
        elif plain == 2:
            put_varint(self.out, len(outputs))
            for name in outputs:
                self.out.append(0 if not name else 2 if name in named else 1)
                if name in named:
                    self.string(name)
        for name in outputs:
            if name:
                self.scope[name] = len(self.scope)

    def put_attribute(self, node: Node, key: str, value: Any, depth: int) -> None:
        where = f"attribute {key!r} of a {node.op} node"
        if isinstance(value, Graph):
            self.out.append(codes.GRAPH)
            self.put_graph(value, depth + 1)
        elif isinstance(value, np.ndarray):
            self.put_tensor(value, where)
        elif isinstance(value, str):
            self.out.append(codes.STRING)
            self.string(value)
        elif isinstance(value, (bool, int, np.bool_, np.integer)):
            number = _int64(value, where)
            zigzag = number << 1 if number >= 0 else (-number << 1) - 1
            self.put_kind(codes.INT, zigzag)
        elif isinstance(value, (float, np.floating)):
            self.out.append(codes.FLOAT)
            put_float(self.out, float(value))
        elif isinstance(value, (tuple, list)):
            self.put_tuple(tuple(value), where)
        else:
            raise GraphError(f"{where} is a {type(value).__name__}, which a file cannot hold")

    def put_kind(self, kind: int, number: int) -> None:
        """An attribute's type with a small number beside it: up to 14 in the same byte, else 15 there and a varint."""
        self.out.append(kind | min(number, 15) << 4)
        if number >= 15:
            put_varint(self.out, number)

    def put_tuple(self, values: tuple[Any, ...], where: str) -> None:
        if all(isinstance(v, (bool, int, np.bool_, np.integer)) for v in values):
            numbers = [_int64(v, where) for v in values]
            if 2 <= len(numbers) <= 14 and len(set(numbers)) == 1:
                self.put_kind(codes.EQUAL_INTS, len(numbers))
                put_signed(self.out, numbers[0])
            else:
                self.put_kind(codes.INTS, len(numbers))
                for number in numbers:
                    put_signed(self.out, number)
        elif all(isinstance(v, str) for v in values):
            self.put_kind(codes.STRINGS, len(values))
            for text in values:
                self.string(text)
        elif all(isinstance(v, (bool, int, float, np.bool_, np.integer, np.floating)) for v in values):
            self.put_kind(codes.FLOATS, len(values))
            for value in values:
                put_float(self.out, float(value))
        else:
            raise GraphError(f"{where} mixes types that a file cannot hold in one list")

    def put_tensor(self, array: np.ndarray, where: str) -> None:
        if array.dtype.name not in DTYPES:
            raise GraphError(f"{where} is a tensor of dtype {array.dtype.name}, which is none of {', '.join(DTYPES)}")
        if array.ndim > codes.MAX_RANK:
            raise GraphError(f"{where} is a tensor of {array.ndim} dimensions; a file's tensors have at most {codes.MAX_RANK}")
        self.put_kind(codes.TENSOR, array.ndim)
        self.out.append(DTYPES.index(array.dtype.name))
        for dim in array.shape:
            put_varint(self.out, dim)
        self.out += array.astype(codes.little_endian(array.dtype.name), copy=False).tobytes()


def _int64(value: Any, where: str) -> int:
    number = int(value)
    if not -2 ** 63 <= number < 2 ** 63:
        raise GraphError(f"{where} holds {number}, which does not fit 64 bits")
    return number
