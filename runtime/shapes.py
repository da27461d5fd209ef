"""Shapes, dtypes and known elements of every value of a graph, by the operators' own rules (``kernels/ops``)."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Mapping, MutableMapping, Sequence
from math import prod

import numpy as np

from ..formats.graph import Graph, Node, ValueInfo
from ..formats.reader import memory
from ..formats.tensor import EncodedTensor
from ..kernels import ops
from ..kernels.ops._op import BodyTypes, OpError, Type
from .errors import OutOfMemory

KNOWN_ELEMENTS = 1024
KNOWN_VECTOR = 1 << 20
"""Constants of at most this many elements are expanded at plan time, so that shape arithmetic, axes, bounds and biases are known."""


MOST_BYTES = 1 << 46
"""Of one value: more than any machine's memory, and little enough that sums of sizes stay far from the largest integers."""


class UnsupportedOps(OpError):
    """The graph uses operators that do not exist here; the message lists all of them with their nodes, as does ``missing``."""

    def __init__(self, missing: dict[str, list[str]]) -> None:
        listed = "; ".join(f"{op} ({', '.join(labels)})" for op, labels in sorted(missing.items()))
        super().__init__(f"{len(missing)} operator{'s are' if len(missing) > 1 else ' is'} not supported: {listed}")
        self.missing = missing


def check(graph: Graph) -> Graph:
    """Returns ``graph`` if all of its operators exist and their nodes are well-formed; else raises one error that says all.

    Raises UnsupportedOps (every missing operator at once) or OpError (attributes, number of inputs).
    """
    missing: dict[str, list[str]] = {}
    for part in graph.scopes():
        for node in part.nodes:
            if ops.find(node.op) is None:
                missing.setdefault(node.op, []).append(part.label(node))
    if missing:
        raise UnsupportedOps(missing)
    for part in graph.scopes():
        for node in part.nodes:
            _check_node(part, node)
    return graph


def _check_node(graph: Graph, node: Node) -> None:
    op = ops.get(node.op)
    op.attrs_of(node)
    op.checked_inputs(graph.label(node), len(node.inputs))
    if not op.bodies and any(node.subgraphs()):
        raise OpError(f"{node.op} node {graph.label(node)!r} holds a subgraph; {node.op} takes none")


def outline(weights: Mapping[str, EncodedTensor], name: str) -> EncodedTensor:
    """The weight's kind, shape and sizes. A table that lies in a file gives them without decoding the elements."""
    found: EncodedTensor = getattr(weights, "outline", weights.__getitem__)(name)
    return found


def weight_type(weights: Mapping[str, EncodedTensor], name: str) -> Type:
    """The type of a constant; its elements are known if there are few."""
    tensor = outline(weights, name)
    limit = KNOWN_VECTOR if len(tensor.shape) == 1 else KNOWN_ELEMENTS
    return Type(tensor.dtype, tensor.shape, weights[name].decode() if tensor.size <= limit else None)


def type_of(array: np.ndarray) -> Type:
    """The type of an array; its elements are known if there are few."""
    return Type.of(array) if array.size <= KNOWN_ELEMENTS else Type(array.dtype.name, array.shape)


def infer(graph: Graph, input_shapes: Mapping[str, Sequence[int]]) -> dict[str, Type | None]:
    """Type of every value, and of every weight that is read, given the concrete shape of every graph input; None where only
    running tells. Raises OpError where shapes contradict each other.
    """
    return infer_types(graph, {info.name: Type(info.dtype, tuple(input_shapes[info.name])) for info in graph.inputs})


Calls = dict[int, "Mapping[str, Type | None]"]
"""id of a subgraph → the types of the values in it for the inputs for which it was last asked, so those that hold in every
iteration of a Loop or Scan."""


def infer_types(graph: Graph, inputs: Mapping[str, Type], calls: Calls | None = None,
                types: dict[str, Type | None] | None = None) -> dict[str, Type | None]:
    """As ``infer``, given the types of the inputs, and of what else the nodes read that is no weight.

    Fills ``calls``, and ``types``, which after an OpError holds what was found before it.
    """
    types = {} if types is None else types
    read = dict.fromkeys(name for node in graph.nodes for name in node.reads())
    read.update(dict.fromkeys(info.name for info in graph.outputs))
    types.update((name, weight_type(graph.weights, name)) for name in read if name in graph.weights)
    for name, given in inputs.items():
        if not fits(given):
            raise OpError(f"input {name!r} has the shape {'x'.join(map(str, given.shape))}, which is larger than any memory")
    types.update(inputs)
    _infer_nodes(graph.nodes, types, {} if calls is None else calls)
    return types


def _infer_nodes(nodes: Sequence[Node], types: MutableMapping[str, Type | None], calls: Calls) -> None:
    """Adds the types of what the nodes make to ``types``."""
    for node in nodes:
        args = [types[name] if name else None for name in node.inputs]
        unknown = any(arg is None for arg, name in zip(args, node.inputs) if name)
        bodies = {key: BodyInference(body, types, calls) for key, body in node.subgraphs()}
        found = [None] * len(node.outputs) if unknown else node_types(node, args, bodies)
        types.update((name, kind) for name, kind in zip(node.outputs, found) if name)


def node_types(node: Node, args: Sequence[Type | None], bodies: Mapping[str, BodyTypes] | None = None) -> list[Type | None]:
    """The types of the outputs that the node names. Raises OpError where shapes contradict each other or are absurdly large."""
    found = ops.get(node.op).types_of(node, args, bodies)
    for kind in found:
        if kind is not None and not fits(kind):
            raise OpError(f"{node.op} node {node.name or node.outputs[0]!r} makes a value of the shape {'x'.join(map(str, kind.shape))}, "
                          "which is larger than any memory")
    return found


def fits(kind: Type) -> bool:
    """Whether a value of that type could lie in some memory."""
    return 0 < kind.size <= MOST_BYTES >> 4 or prod(max(length, 1) for length in kind.shape) * np.dtype(kind.dtype).itemsize <= MOST_BYTES


def check_memory(nodes: Sequence[Node], types: Mapping[str, Type | None]) -> None:
    """OutOfMemory if a node makes a value that is larger than the memory of this machine."""
    limit = memory()
    for node in nodes:
        for kind in (types.get(name) for name in node.outputs if name):
            if kind is not None and (nbytes := kind.size * np.dtype(kind.dtype).itemsize) > limit:
                raise OutOfMemory(f"{node.op} node {node.name or node.outputs[0]!r} makes a value of the shape {'x'.join(map(str, kind.shape))}, "
                                  f"which takes {nbytes} bytes, but this machine has {limit} bytes of memory")


class BodyInference:
    """What an operator's ``infer`` may ask of a subgraph; ``outer``: the types of what the graphs around it have."""

    def __init__(self, graph: Graph, outer: MutableMapping[str, Type | None], calls: Calls | None = None) -> None:
        self.graph, self._outer, self._calls = graph, outer, {} if calls is None else calls

    @property
    def outputs(self) -> tuple[ValueInfo, ...]:
        return self.graph.outputs

    def __call__(self, *inputs: Type | None) -> list[Type | None]:
        if len(inputs) != len(self.graph.inputs):
            raise OpError(f"a subgraph has {len(self.graph.inputs)} inputs, but its node gives it {len(inputs)}")
        own: MutableMapping[str, Type | None] = {info.name: kind for info, kind in zip(self.graph.inputs, inputs)}
        types = ChainMap(own, self._outer)
        _infer_nodes(self.graph.nodes, types, self._calls)
        self._calls[id(self.graph)] = types  # not before: a branch that contradicts itself has no plan
        return [types[info.name] for info in self.graph.outputs]


def concrete(info: ValueInfo, symbols: Mapping[str, int] | None = None, default: int = 1) -> tuple[int, ...]:
    """The shape of a graph input with its symbolic dimensions replaced: by ``symbols``, else by ``default``."""
    lengths = symbols or {}
    return tuple(dim if isinstance(dim, int) else lengths.get(dim, default) for dim in info.shape)
