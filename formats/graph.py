"""The one representation of a network: ONNX's operators (opset 28) and logical layout, weights in a table, referenced by name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal, Union

import numpy as np

from .errors import GraphError
from .record import cached_property, dataclass, field, replace
from .tensor import CODERS, LEFT_TO_THE_WRITER, EncodedTensor
from .value_info import Dim, ValueInfo

__all__ = ["DTYPES", "GRANULARITIES", "QUANTIZED_DTYPES", "ActivationQuantization", "Attribute", "Dim", "Granularity", "Graph", "GraphError", "Node",
           "QuantizedDtype", "SourceInfo", "ValueInfo", "problems", "structure_problems", "verify", "weight_problems"]

DTYPES = ("float32", "float16", "float64", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "bool")


QuantizedDtype = Literal["int8", "uint8", "binary"]
Granularity = Literal["tensor", "sample", "row"]
QUANTIZED_DTYPES: tuple[QuantizedDtype, ...] = ("int8", "uint8", "binary")
GRANULARITIES: tuple[Granularity, ...] = ("tensor", "sample", "row")


@dataclass(frozen=True)
class ActivationQuantization:
    """How those who read a value see it: as integers of ``dtype`` times a scale (``docs/quantization.md``).

    ``static``: ``scale`` (a positive float32) and ``zero_point`` are given, from calibration. ``dynamic``: they come from the data, when
    it runs, for the whole value (``granularity`` tensor), for each index of its first axis (sample) or of all axes but the last (row).
    ``binary`` activations, signs times a scale, are always dynamic.
    """

    kind: Literal["static", "dynamic"]
    dtype: QuantizedDtype = "int8"
    scale: float = 1.0
    zero_point: int = 0
    granularity: Granularity = "tensor"


@dataclass(frozen=True)
class SourceInfo:
    """What the model was before compression, so that ratios have an honest denominator.

    ``macs`` are multiply-accumulates at batch 1, ``nbytes`` the bytes of the source's weights in its own dtypes.
    """

    parameters: int = 0
    macs: int = 0
    nbytes: int = 0


Attribute = Union[int, float, str, tuple[int, ...], tuple[float, ...], tuple[str, ...], np.ndarray, "Graph"]


@dataclass(frozen=True, eq=False)
class Node:
    """One operator. ``inputs`` name values, weights or graph inputs, "" stands for an absent optional one.

    ``attrs`` holds only attributes that differ from the operator's defaults.
    """

    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attrs: Mapping[str, Any] = field(default_factory=dict)
    name: str = ""

    def with_inputs(self, inputs: tuple[str, ...]) -> Node:
        return replace(self, inputs=inputs)

    def subgraphs(self) -> tuple[tuple[str, Graph], ...]:
        """Attributes that are graphs (the branches of an ``If``, the body of a ``Loop``)."""
        return self._subgraphs

    def reads(self) -> tuple[str, ...]:
        """Every name that running the node reads, once each: its inputs, and what its subgraphs take from the graphs around them."""
        return self._reads

    @cached_property
    def _subgraphs(self) -> tuple[tuple[str, Graph], ...]:
        return tuple([(key, value) for key, value in self.attrs.items() if isinstance(value, Graph)])

    @cached_property
    def _reads(self) -> tuple[str, ...]:
        names = dict.fromkeys(filter(None, self.inputs))
        for _, sub in self._subgraphs:
            names.update(dict.fromkeys(sub.captures()))
        return tuple(names)


@dataclass(frozen=True, eq=False)
class Graph:
    """A network: ``nodes`` in topological order, ``weights`` by name.

    ``quantized``: how the activation of a value (a graph input's or what a node makes) is quantized, by name, for those that are.

    A subgraph (an attribute of a node) may name values and weights of the graphs around it; its own ``weights`` table is empty.
    """

    inputs: tuple[ValueInfo, ...]
    outputs: tuple[ValueInfo, ...]
    nodes: tuple[Node, ...]
    weights: Mapping[str, EncodedTensor] = field(default_factory=dict)
    quantized: Mapping[str, ActivationQuantization] = field(default_factory=dict)
    source: SourceInfo = SourceInfo()

    def producers(self) -> dict[str, Node]:
        """Value name → the node that makes it."""
        return {name: node for node in self.nodes for name in node.outputs if name}

    def consumers(self) -> dict[str, list[Node]]:
        """Value or weight name → the nodes of this graph that read it, their subgraphs included (once per node)."""
        found: dict[str, list[Node]] = {}
        for node in self.nodes:
            for name in node.reads():
                found.setdefault(name, []).append(node)
        return found

    def scopes(self) -> Iterator[Graph]:
        """This graph and every subgraph in it, outer ones first, all with this one's table of weights."""
        yield self
        for node in self.nodes:
            for _, body in node.subgraphs():
                yield from replace(body, weights=self.weights).scopes()

    def captures(self) -> tuple[str, ...]:
        """The names that this graph, being a subgraph, takes from the graphs around it."""
        own = {info.name for info in self.inputs}.union(self.weights)
        found: dict[str, None] = {}
        for node in self.nodes:
            found.update(dict.fromkeys(name for name in node.reads() if name not in own))
            own.update(node.outputs)
        found.update(dict.fromkeys(info.name for info in self.outputs if info.name not in own))
        return tuple(found)

    def label(self, node: Node) -> str:
        """The name people see: the node's own, or that of its first weight without its suffix, or the operator and its place."""
        if node.name:
            return node.name
        weights = [name for name in node.inputs if name in self.weights]
        if weights:
            return weights[0].rsplit(".", 1)[0] if "." in weights[0] else weights[0]
        place = next((i for i, other in enumerate(self.nodes) if other is node), -1)
        return f"{node.op}_{place}"


def problems(graph: Graph, outer: frozenset[str] = frozenset()) -> list[str]:
    """Every structural inconsistency of ``graph``, one sentence each; ``outer`` are the names that enclosing graphs provide."""
    found = [text for name, tensor in graph.weights.items() for text in weight_problems(name, tensor)]
    return found + structure_problems(graph, outer)


def structure_problems(graph: Graph, outer: frozenset[str] = frozenset()) -> list[str]:
    """As ``problems``, without looking into the weights."""
    return _structure_problems(graph, set(outer))


def _structure_problems(graph: Graph, known: set[str]) -> list[str]:
    """``known``: the names that enclosing graphs provide; the same again afterwards, so that many subgraphs cost no copies."""
    found = _value_problems(graph.inputs) + _value_problems(graph.outputs)
    own: list[str] = []

    def define(name: str, problem: str) -> None:
        if name in known:
            found.append(problem)
        else:
            known.add(name)
            own.append(name)

    for name in graph.weights:
        define(name, f"weight {name!r} has the name of another value")
    for info in graph.inputs:
        define(info.name, f"graph input {info.name!r} has the name of another value")
    all_made = {name for node in graph.nodes for name in node.outputs}
    for index, node in enumerate(graph.nodes):
        where = f"node {index} ({node.op})"
        for name in node.inputs:
            if name and name not in known:
                reason = "is made only by a later node or by itself" if name in all_made else "does not exist"
                found.append(f"{where} reads {name!r}, which {reason}")
        for key, sub in node.subgraphs():
            if sub.weights:
                found.append(f"{where} attribute {key!r} is a subgraph with a weight table of its own")
            found += [f"{where} attribute {key!r}: {text}" for text in _structure_problems(sub, known)]
        if not any(node.outputs):
            found.append(f"{where} has no output")
        for name in filter(None, node.outputs):
            define(name, f"{where} makes {name!r}, which another value already has as its name")
    found += [f"graph output {info.name!r} is made by nothing" for info in graph.outputs if info.name not in known]
    activations = {info.name for info in graph.inputs}.union(all_made)
    found += [f"the quantization of {name!r} belongs to no input and no value that a node makes" for name in graph.quantized
              if name not in activations]
    found += [text for name, quantization in graph.quantized.items() for text in _quantization_problems(name, quantization)]
    known.difference_update(own)
    return found


def _value_problems(infos: tuple[ValueInfo, ...]) -> list[str]:
    found = []
    seen: set[str] = set()
    for info in infos:
        if not info.name:
            found.append("a graph input or output has no name")
        if info.name in seen:
            found.append(f"the name {info.name!r} stands twice among the graph's inputs or outputs")
        seen.add(info.name)
        if info.dtype not in DTYPES:
            found.append(f"value {info.name!r} has dtype {info.dtype!r}, which is none of {', '.join(DTYPES)}")
        found += [f"value {info.name!r} has the dimension {dim!r}" for dim in info.shape
                  if (isinstance(dim, int) and dim < 0) or dim == ""]
    return found


def _quantization_problems(name: str, found: ActivationQuantization) -> list[str]:
    where = f"the quantization of {name!r}"
    if found.kind not in ("static", "dynamic") or found.dtype not in QUANTIZED_DTYPES or found.granularity not in GRANULARITIES:
        return [f"{where} is {found.kind} {found.dtype} per {found.granularity}; it should be static or dynamic, "
                f"{' or '.join(QUANTIZED_DTYPES)}, per {', '.join(GRANULARITIES)}"]
    if found.kind == "dynamic":
        return [] if (found.scale, found.zero_point) == (1, 0) else [f"{where} is dynamic, but has a scale or zero point"]
    if found.dtype == "binary":
        return [f"{where} is binary, but static"]
    lowest = -128 if found.dtype == "int8" else 0
    problems = [] if found.granularity == "tensor" else [f"{where} is static per {found.granularity}; it should be per tensor"]
    if not 0 < found.scale < np.inf or float(np.float32(found.scale)) != found.scale:
        problems.append(f"{where} has the scale {found.scale:g}, which should be a positive float32")
    if not lowest <= found.zero_point <= lowest + 255:
        problems.append(f"{where} has the zero point {found.zero_point}, which is no {found.dtype}")
    return problems


def weight_problems(name: str, tensor: EncodedTensor) -> list[str]:
    """Every inconsistency of one weight, one sentence each."""
    where = f"weight {name!r}"
    found = [] if name else ["a weight has no name"]
    if tensor.dtype not in DTYPES:
        return [*found, f"{where} has dtype {tensor.dtype!r}, which is none of {', '.join(DTYPES)}"]
    if any(dim < 0 for dim in tensor.shape):
        return [*found, f"{where} has the shape {tensor.shape}"]
    if tensor.shape and not 0 <= tensor.axis < len(tensor.shape):
        return [*found, f"{where} has channel axis {tensor.axis}, but {len(tensor.shape)} dimensions"]
    if tensor.coder not in (*CODERS, *LEFT_TO_THE_WRITER):
        found.append(f"{where} has the coder {tensor.coder!r}, which is none of {', '.join((*CODERS, *LEFT_TO_THE_WRITER))}")
    wrong = [f"{where} has {text}" for text in tensor.structure.problems(tensor.view)]
    if wrong:
        return found + wrong
    expected = tensor.structure.held(tensor.view)
    if tensor.held != expected:
        found.append(f"{where} holds {tensor.held} values, but its structure has room for {expected}")
    return found + [f"{where} has {text}" for text in tensor.values.problems(tensor.view)]


def verify(graph: Graph) -> Graph:
    """Returns ``graph`` if it is structurally sound, else raises GraphError that lists every problem."""
    found = problems(graph)
    if found:
        raise GraphError("the graph is inconsistent: " + "; ".join(found))
    return graph
