"""Header bytes → Graph without its weights, and the list of weights (SPEC.md, "Header"). Nothing in them is trusted."""

from __future__ import annotations

from typing import Any

import numpy as np

from . import codes
from .codes import WeightEntry
from .cursor import Cursor
from .errors import CodeError, LimitError, NameClashError, ReferenceRangeError, ShapeError, StringError, TrailingDataError
from .graph import GRANULARITIES, QUANTIZED_DTYPES, ActivationQuantization, Dim, Graph, Node, SourceInfo, ValueInfo
from .record import replace
from .strings import StringReader
from .tensor import CODERS

DIGITS = frozenset("0123456789")


def parse_header(buffer: memoryview, start: int, end: int) -> tuple[Graph, list[WeightEntry]]:
    """The graph (with an empty weight table) and its weights, not placed yet. Raises a FormatError for whatever is wrong.

    Values whose names the file does not hold are called ``%0``, ``%1``, …, with more ``%`` if a stored name looks like that.
    """
    reader = _HeaderReader(Cursor(buffer, start, end, "header"), "%")
    graph, entries = reader.read()
    clashes = [text for text in reader.stored if text[0] == "%" and text.lstrip("%")[:1] in DIGITS]
    if clashes:
        prefix = "%" * (1 + max(len(text) - len(text.lstrip("%")) for text in clashes))
        graph, entries = _HeaderReader(Cursor(buffer, start, end, "header"), prefix).read()
    return graph, entries


class _HeaderReader:
    def __init__(self, cursor: Cursor, prefix: str) -> None:
        self.cursor, self.prefix = cursor, prefix
        self.strings = StringReader()
        self.weights: list[str] = []
        self.scope: list[str] = []
        self.stored: set[str] = set()
        self.made = 0

    def read(self) -> tuple[Graph, list[WeightEntry]]:
        cursor = self.cursor
        parameters, macs = cursor.varint("the source's parameters"), cursor.varint("the source's macs")
        nbytes = cursor.signed("the source's bytes") + 4 * parameters
        if nbytes < 0:
            cursor.fail(LimitError, f"the source has {nbytes} bytes, but they cannot be fewer than 0")
        entries = [self.weight() for _ in range(cursor.count("the number of weights"))]
        graph = self.graph(0, SourceInfo(parameters, macs, nbytes))
        if cursor.left:
            cursor.fail(TrailingDataError, f"{cursor.left} bytes are left over after the last quantized value")
        return graph, entries

    def name(self, what: str, text: str) -> str:
        """Marks ``text`` as the name of a new thing."""
        if not text:
            self.cursor.fail(StringError, f"the name of {what} is empty")
        if text in self.stored:
            self.cursor.fail(NameClashError, f"{what} is called {text!r}, like another weight or value")
        self.stored.add(text)
        return text

    def weight(self) -> WeightEntry:
        cursor = self.cursor
        name = self.name("a weight", self.strings.literal(cursor, "the name of a weight"))
        where = f"weight {name!r}"
        self.weights.append(name)
        encoding, layout = cursor.varint(f"the encoding of {where}"), cursor.byte(f"the rank of {where}")
        kind, structure, coder = encoding & 7, codes.STRUCTURES[encoding >> 3 & 3], CODERS[encoding >> 5 & 3]
        dtype = codes.dtype_of(cursor, encoding >> 7, where)
        rank, axis = layout & 15, layout >> 4
        if rank and axis >= rank:
            cursor.fail(LimitError, f"{where} has channel axis {axis}, but {rank} dimensions")
        shape = codes.read_dims(cursor, rank, where)
        if kind >= codes.KINDS:
            cursor.fail(CodeError, f"{where} has values of kind {kind}, but kinds go to {codes.KINDS - 1}")
        if kind == codes.HALF and dtype == "float16":
            cursor.fail(CodeError, f"{where} is marked as float16 in place of its dtype, but that is float16")
        entry = WeightEntry(name, shape, dtype, axis, coder, structure, kind, nbytes=0, crc=0)
        nbytes = entry.size * np.dtype(entry.stored).itemsize if entry.is_bare else cursor.varint(f"the length of {where}")
        most = codes.most_elements(nbytes, structure)
        if entry.size > most:
            cursor.fail(ShapeError, f"{where} has {entry.size} elements, but {nbytes} bytes stand for {most} at most")
        return replace(entry, nbytes=nbytes, crc=int.from_bytes(cursor.take(4, f"the CRC-32 of {where}"), "little"))

    def new_value(self) -> str:
        """A name for a value that has none in the file."""
        self.made += 1
        return f"{self.prefix}{self.made - 1}"

    def reference(self, what: str) -> str:
        number = self.cursor.varint(what)
        if number == 0:
            return ""
        if number % 2 == 0:
            if number // 2 > len(self.weights):
                self.cursor.fail(ReferenceRangeError, f"{what} is weight {number // 2 - 1}, but there are {len(self.weights)}")
            return self.weights[number // 2 - 1]
        back = (number + 1) // 2
        if back > len(self.scope):
            self.cursor.fail(ReferenceRangeError, f"{what} is a value {back} back, but there are {len(self.scope)} so far")
        return self.scope[-back]

    def present(self, what: str) -> str:
        name = self.reference(what)
        if not name:
            self.cursor.fail(ReferenceRangeError, f"{what} is absent, but must be a value or weight")
        return name

    def type_of(self, name: str) -> ValueInfo:
        cursor, what = self.cursor, f"value {name!r}"
        code = cursor.byte(f"the type of {what}")
        dtype = codes.dtype_of(cursor, code, what)
        shape = tuple(self.dim(what) for _ in range(cursor.bounded(f"the rank of {what}", 0, codes.MAX_RANK)))
        return ValueInfo(name, dtype, shape)

    def quantization(self, name: str) -> ActivationQuantization:
        cursor, what = self.cursor, f"the quantization of value {name!r}"
        code = cursor.byte(what)
        if code > 11 or code == 8:
            cursor.fail(CodeError, f"{what} has code {code}, but codes are 0 to 7 and 9 to 11")
        dtype = QUANTIZED_DTYPES[code >> 2]
        if code & 3:
            return ActivationQuantization("dynamic", dtype, granularity=GRANULARITIES[(code & 3) - 1])
        return ActivationQuantization("static", dtype, cursor.float(f"the scale in {what}"), cursor.signed(f"the zero point in {what}"))

    def dim(self, what: str) -> Dim:
        code = self.cursor.varint(f"a dimension of {what}")
        if code % 2 == 0:
            return code // 2
        if code != 1:
            self.cursor.fail(CodeError, f"a dimension of {what} has code {code}, but odd codes other than 1 mean nothing")
        text = self.strings.get(self.cursor, f"a dimension of {what}")
        if not text:
            self.cursor.fail(StringError, f"a dimension of {what} has an empty name")
        return text

    def graph(self, depth: int, source: SourceInfo) -> Graph:
        cursor = self.cursor
        if depth > codes.MAX_DEPTH:
            cursor.fail(LimitError, f"subgraphs are nested more than {codes.MAX_DEPTH} deep")
        before = len(self.scope)
        inputs = tuple(self.graph_input(depth) for _ in range(cursor.count("the number of inputs")))
        nodes = tuple(self.node(depth) for _ in range(cursor.count("the number of nodes")))
        outputs = tuple(self.type_of(self.present("an output")) for _ in range(cursor.count("the number of outputs")))
        if len({info.name for info in outputs}) < len(outputs):
            cursor.fail(NameClashError, "two outputs of a graph are the same value")
        quantized: dict[str, ActivationQuantization] = {}
        for _ in range(cursor.count("the number of quantized values")):
            name = self.present("a quantized value")
            if name in quantized:
                cursor.fail(NameClashError, f"value {name!r} is quantized twice")
            quantized[name] = self.quantization(name)
        del self.scope[before:]
        return Graph(inputs, outputs, nodes, quantized=quantized, source=source)

    def graph_input(self, depth: int) -> ValueInfo:
        name = self.new_value() if depth else self.name("an input", self.strings.get(self.cursor, "the name of an input"))
        info = self.type_of(name)
        self.scope.append(name)
        return info

    def node(self, depth: int) -> Node:
        cursor = self.cursor
        op = self.strings.get(cursor, "an operator")
        if not op:
            cursor.fail(StringError, "an operator has no name")
        flags = cursor.byte(f"the flags of a {op} node")
        ninputs = flags & 7 if flags & 7 < 7 else cursor.count(f"the number of inputs of a {op} node")
        inputs = tuple(self.reference(f"an input of a {op} node") for _ in range(ninputs))
        nattrs = flags >> 5 & 3 if flags >> 5 & 3 < 3 else cursor.count(f"the number of attributes of a {op} node")
        attrs: dict[str, Any] = {}
        for _ in range(nattrs):
            key = self.strings.get(cursor, f"an attribute of a {op} node")
            if key in attrs:
                cursor.fail(NameClashError, f"a {op} node has the attribute {key!r} twice")
            attrs[key] = self.attribute(f"attribute {key!r} of a {op} node", depth)
        outputs = self.outputs(op, flags >> 3 & 3)
        name = self.strings.get(cursor, f"the name of a {op} node") if flags >> 7 else ""
        if flags >> 7 and not name:
            cursor.fail(StringError, f"the name of a {op} node is empty, but its flags say that it has one")
        return Node(op, inputs, outputs, attrs, name)

    def outputs(self, op: str, kind: int) -> tuple[str, ...]:
        cursor = self.cursor
        if kind == 3:
            cursor.fail(CodeError, f"the outputs of a {op} node have code 3, but codes go to 2")
        if kind < 2:
            names = [self.output(op, kind + 1)]
        else:
            names = [self.output(op, cursor.byte(f"an output of a {op} node"))
                     for _ in range(cursor.count(f"the number of outputs of a {op} node"))]
        self.scope += filter(None, names)
        return tuple(names)

    def output(self, op: str, kind: int) -> str:
        if kind > 2:
            self.cursor.fail(CodeError, f"an output of a {op} node has code {kind}, but codes go to 2")
        if kind == 2:
            return self.name("an output", self.strings.get(self.cursor, f"the name of an output of a {op} node"))
        return self.new_value() if kind else ""

    def attribute(self, what: str, depth: int) -> Any:
        cursor = self.cursor
        code = cursor.byte(what)
        kind, number = code & 15, code >> 4
        if kind in (codes.FLOAT, codes.STRING, codes.GRAPH) and number:
            cursor.fail(CodeError, f"{what} has {number} where 0 must stand")
        if kind == codes.FLOAT:
            return cursor.float(what)
        if kind == codes.STRING:
            return self.strings.get(cursor, what)
        if kind == codes.GRAPH:
            return self.graph(depth + 1, SourceInfo())
        if kind == codes.EQUAL_INTS:
            if not 2 <= number <= 14:
                cursor.fail(CodeError, f"{what} is {number} equal integers, but 2 to 14 can be written so")
            return (cursor.signed(what),) * number
        if kind > codes.GRAPH:
            cursor.fail(CodeError, f"{what} has type code {kind}, but codes go to {codes.GRAPH}")
        if kind == codes.INT:
            zigzag = number if number < 15 else cursor.varint(what)
            return (zigzag >> 1) ^ -(zigzag & 1)
        return self.sequence(what, kind, number if number < 15 else cursor.count(f"the length of {what}"))

    def sequence(self, what: str, kind: int, count: int) -> Any:
        cursor = self.cursor
        if kind == codes.INTS:
            return tuple(cursor.signed(what) for _ in range(count))
        if kind == codes.FLOATS:
            return tuple(cursor.float(what) for _ in range(count))
        if kind == codes.STRINGS:
            return tuple(self.strings.get(cursor, what) for _ in range(count))
        return self.tensor(what, count)

    def tensor(self, what: str, rank: int) -> np.ndarray:
        cursor = self.cursor
        if rank > codes.MAX_RANK:
            cursor.fail(LimitError, f"{what} has {rank} dimensions, but at most {codes.MAX_RANK} are allowed")
        dtype = codes.dtype_of(cursor, cursor.byte(what), what)
        shape = codes.read_dims(cursor, rank, what)
        size = int(np.prod(shape, dtype=np.int64))
        if size * np.dtype(dtype).itemsize > cursor.left:
            cursor.fail(ShapeError, f"{what} has the shape {shape}, but only {cursor.left} bytes follow")
        return codes.read_array(cursor, dtype, size, what).reshape(shape)
