"""Operators that only say how values are quantized become what the graph says of these values."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np

from ...formats.graph import ActivationQuantization, Graph, Node
from ._affine import from_integers
from ._edit import fresh, renamed, taken_names, uses
from .dead_code import dead_code

MOVING = frozenset({"Reshape", "Flatten", "Transpose", "Squeeze", "Unsqueeze", "Identity", "Slice", "Gather", "Expand", "Tile", "Split",
                    "DepthToSpace", "SpaceToDepth", "MaxPool", "Concat"})
"""Operators whose output holds elements of their inputs alone (MaxPool's windows each hold one), so that it is quantized as they are."""

DYNAMIC = ActivationQuantization("dynamic", "uint8")
"""How DynamicQuantizeLinear quantizes."""


def quantized_values(graph: Graph) -> Graph:
    """Says of values how they are quantized instead of quantizing and dequantizing them.

        x ──► QuantizeLinear(s, z) ──► q ──► DequantizeLinear(s, z) ──► Conv        x (static s, z) ──► Conv
        x ──► QuantizeLinear(s, z) ──► Reshape ──► DequantizeLinear(s, z) ──► Gemm  x (static s, z) ──► Reshape (static s, z) ──► Gemm
        x ──► DynamicQuantizeLinear ──► MatMulInteger(w) ──► Cast ──► Mul(s · t)    x (dynamic) ──► MatMul(w · t)

    Where someone else reads x as it is, an Identity keeps both apart. Integers that enter or leave the graph, or that an operator
    on integers reads, are left alone, and so are scales per channel and integers of other sizes than 8 bits.
    """
    if all(node.op not in ("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear") for node in graph.nodes):
        return graph
    graph = _Static(graph).rewritten()
    graph = dead_code(_Dynamic(graph).rewritten())
    return _without_needless_copies(graph)


def grid(graph: Graph, node: Node) -> ActivationQuantization | None:
    """What a QuantizeLinear or DequantizeLinear says of its value; None if that cannot be said of a value."""
    tables = [graph.weights.get(name) if name else None for name in (*node.inputs[1:], "", "")[:2]]
    scale, zero = tables
    if scale is None or scale.size != 1 or scale.dtype != "float32" or (zero is None and len(node.inputs) > 2 and node.inputs[2]):
        return None
    if any(node.attrs.get(key, 0) for key in ("output_dtype", "precision", "block_size")):
        return None
    dtype = "uint8" if zero is None else zero.dtype
    if dtype not in ("int8", "uint8") or (zero is not None and zero.size != 1):
        return None
    found = float(scale.decode().reshape(()))
    if not 0 < found < np.inf:
        return None
    return ActivationQuantization("static", "int8" if dtype == "int8" else "uint8", found, 0 if zero is None else int(zero.decode().reshape(())))


@dataclass(eq=False)
class _Rewriting:
    """``graph`` is what it was; ``quantized`` grows, ``names``: values that others take the place of."""

    graph: Graph
    quantized: dict[str, ActivationQuantization] = field(init=False)
    names: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.quantized = dict(self.graph.quantized)
        self.taken = taken_names(self.graph)
        self.outputs = {info.name for info in self.graph.outputs}

    def rewritten(self) -> Graph:
        nodes = [made for node in self.graph.nodes for made in self.node(node)]
        return renamed(replace(self.graph, nodes=tuple(nodes), quantized=self.quantized), self.names)

    def node(self, node: Node) -> Iterator[Node]:
        raise NotImplementedError

    def copy(self, source: str, how: ActivationQuantization) -> Node:
        """An Identity whose output is quantized."""
        name = fresh(f"{source}.quantized", self.taken)
        self.quantized[name] = how
        return Node("Identity", (source,), (name,))

    def instead(self, old: str, new: str) -> Iterator[Node]:
        """Readers of ``old`` read ``new``; an output of the graph keeps its name."""
        if old in self.outputs:
            yield Node("Identity", (new,), (old,))
        else:
            self.names[old] = new


class _Static(_Rewriting):
    """``twins``: integers → (the value of floats that they are the codes of, how that is quantized)."""

    def __init__(self, graph: Graph) -> None:
        super().__init__(graph)
        self.twins: dict[str, tuple[str, ActivationQuantization]] = {}

    def node(self, node: Node) -> Iterator[Node]:
        if node.op == "QuantizeLinear" and (how := grid(self.graph, node)) is not None:
            twin = self.copy(node.inputs[0], how)
            self.twins[node.outputs[0]] = (twin.outputs[0], how)
            yield from (node, twin)
        elif node.op == "DequantizeLinear" and (how := self._codes(node)) is not None:
            source, of_twin = self.twins.get(node.inputs[0], ("", None))
            if of_twin == how:
                yield from self.instead(node.outputs[0], source)
                return
            yield node
            if of_twin is None and node.outputs[0] not in self.outputs:  # codes that come from elsewhere: reading them again gives the same
                self.quantized[node.outputs[0]] = how
        else:
            yield node
            yield from self._moved(node)

    def _codes(self, node: Node) -> ActivationQuantization | None:
        """As ``grid``; without a zero point, the integers' own dtype tells."""
        how = grid(self.graph, node)
        if how is None or (len(node.inputs) > 2 and node.inputs[2]):
            return how
        of_twin = self.twins.get(node.inputs[0])
        info = next((info for info in self.graph.inputs if info.name == node.inputs[0]), None)
        dtype = of_twin[1].dtype if of_twin is not None else info.dtype if info is not None else None
        return replace(how, dtype="int8" if dtype == "int8" else "uint8") if dtype in ("int8", "uint8") else None

    def _moved(self, node: Node) -> Iterator[Node]:
        """The same node on floats, if it moves codes."""
        data = node.inputs if node.op == "Concat" else node.inputs[:1]
        found = [self.twins.get(name) for name in data]
        if node.op not in MOVING or not found or any(twin is None or twin[1] != (found[0] or twin)[1] for twin in found):
            return
        twins = [twin for twin in found if twin is not None]
        outputs = tuple(fresh(f"{name}.dequantized", self.taken) if name else "" for name in node.outputs)
        for old, new in zip(node.outputs, outputs):
            if old:
                self.twins[old], self.quantized[new] = (new, twins[0][1]), twins[0][1]
        yield replace(node, inputs=(*(name for name, _ in twins), *node.inputs[len(data):]), outputs=outputs)


class _Dynamic(_Rewriting):
    """``copies``: DynamicQuantizeLinear's codes → (its node, the quantized value in their place)."""

    def __init__(self, graph: Graph) -> None:
        super().__init__(graph)
        self.copies: dict[str, tuple[Node, str]] = {}
        self.weights = dict(graph.weights)
        self.consumers, self.read, self.makers = graph.consumers(), uses(graph), graph.producers()
        self.replaced: dict[str, Node] = {}

    def rewritten(self) -> Graph:
        return replace(super().rewritten(), weights=self.weights)

    def node(self, node: Node) -> Iterator[Node]:
        if node.op == "DynamicQuantizeLinear":
            copy = self.copy(node.inputs[0], DYNAMIC)
            self.copies[node.outputs[0]] = (node, copy.outputs[0])
            yield copy
        elif node.op in ("MatMulInteger", "ConvInteger"):
            self._product(node)
        yield self.replaced.get(node.outputs[0], node)

    def _product(self, node: Node) -> None:
        """Prepares the Mul after a product of codes and a weight to be the product itself."""
        quantizer, source = self.copies.get(node.inputs[0], (None, ""))
        if quantizer is None or len(node.inputs) < 3 or node.inputs[2] != quantizer.outputs[2]:
            return
        cast = self._only_reader(node, "Cast")
        scaling = self._only_reader(cast, "Mul") if cast is not None and cast.attrs.get("to") == 1 else None
        if cast is None or scaling is None:
            return
        other = next((name for name in scaling.inputs if name != cast.outputs[0]), "")
        scale = self._weight_scale(other, quantizer.outputs[1])
        weight = None if scale is None else self._weight(node, scale)
        if weight is not None:
            self.replaced[scaling.outputs[0]] = Node(node.op.removesuffix("Integer"), (source, weight), scaling.outputs, node.attrs, node.name)

    def _only_reader(self, node: Node, op: str) -> Node | None:
        """The one node that reads what ``node`` makes, if it is an ``op``."""
        readers = self.consumers.get(node.outputs[0], [])
        return readers[0] if len(readers) == 1 and readers[0].op == op and self.read[node.outputs[0]] == 1 else None

    def _weight_scale(self, name: str, dynamic: str) -> np.ndarray | None:
        """The constant that is multiplied by the activation's scale to make ``name``; 1 if ``name`` is that scale."""
        if name == dynamic:
            return np.ones((), np.float32)
        product = self.makers.get(name)
        if product is None or product.op != "Mul" or dynamic not in product.inputs:
            return None
        constant = next((other for other in product.inputs if other in self.weights), None)
        return None if constant is None or self.weights[constant].dtype != "float32" else self.weights[constant].decode()

    def _weight(self, node: Node, scale: np.ndarray) -> str | None:
        """The name of the weight in affine codes; None if it has none."""
        name, zero = node.inputs[1], node.inputs[3] if len(node.inputs) > 3 else ""
        if name not in self.weights or (zero and zero not in self.weights) or self.weights[name].dtype not in ("int8", "uint8"):
            return None
        integers = self.weights[name].decode()
        axis = 0 if node.op == "ConvInteger" else integers.ndim - 1
        along = (integers.shape[axis], *(1,) * (integers.ndim - 2)) if node.op == "ConvInteger" else (integers.shape[axis],)
        if integers.ndim < 2 or (scale.size > 1 and scale.shape not in (along, (1, *along))):
            return None
        zeros = self.weights[zero].decode() if zero else np.zeros((), integers.dtype)
        if zeros.size > 1 and zeros.size != integers.shape[axis]:
            return None
        rows = max(scale.size, zeros.size)
        encoded = from_integers(integers, np.broadcast_to(scale.reshape(-1, 1), (rows, 1)), np.broadcast_to(zeros.reshape(-1, 1), (rows, 1)),
                                axis=axis)
        if encoded is None:
            return None
        made = name if self.read[name] == 1 else fresh(f"{name}.scaled", self.taken)
        self.weights[made] = encoded
        return made


def _without_needless_copies(graph: Graph) -> Graph:
    """Where only one Identity reads a value, the value itself is quantized as the Identity's output is."""
    read, makers = uses(graph), graph.producers()
    open_ends = {info.name for info in (*graph.inputs, *graph.outputs)}
    names: dict[str, str] = {}
    quantized, nodes = dict(graph.quantized), []
    for node in graph.nodes:
        source, how = node.inputs[0] if node.inputs else "", quantized.get(node.outputs[0])
        source = names.get(source, source)
        needless = (node.op == "Identity" and how is not None and read.get(node.inputs[0]) == 1 and quantized.get(source) is None
                    and node.outputs[0] not in open_ends and (source in makers or source in open_ends))
        if needless:
            names[node.outputs[0]] = source
            quantized[source] = quantized.pop(node.outputs[0])
        else:
            nodes.append(node)
    return renamed(replace(graph, nodes=tuple(nodes), quantized=quantized), names)


