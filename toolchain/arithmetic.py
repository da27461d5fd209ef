"""In what arithmetic a model computes: what its file says of activations, in words and figures."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from ..formats.graph import ActivationQuantization, Graph, Node
from ..kernels.ops._integer import FORMS
from ..runtime.explicit import integer_operands


@dataclass(frozen=True)
class Arithmetic:
    """``products``: nodes that are matrix products or convolutions; ``integer``: those of them that compute in integers.
    ``activations``: how the values that are quantized are, as ``text_of`` says it, and how many."""

    products: int
    integer: int
    activations: dict[str, int]

    def text(self) -> str:
        """One sentence."""
        if not self.activations:
            return "activations: floats"
        kinds = ", ".join(f"{count} {kind}" for kind, count in self.activations.items())
        return f"activations: {kinds}; {self.integer} of {self.products} products compute in integers"


def text_of(how: ActivationQuantization) -> str:
    """``int8 static``, ``int8 dynamic per row``."""
    return f"{how.dtype} {how.kind}{f' per {how.granularity}' if how.kind == 'dynamic' else ''}"


def arithmetic(graph: Graph) -> Arithmetic:
    """Counts over the graph and its subgraphs."""
    scopes = list(graph.scopes())
    products = [(scope, node) for scope in scopes for node in scope.nodes if node.op in FORMS]
    return Arithmetic(len(products), sum(is_integer(graph, scope, node) for scope, node in products),
                      dict(Counter(text_of(how) for scope in scopes for how in scope.quantized.values())))


def is_integer(graph: Graph, scope: Graph, node: Node) -> bool:
    """Whether the node of ``scope``, ``graph`` or a subgraph of it, computes in integers."""
    return integer_operands(node, {**graph.quantized, **scope.quantized}, graph.weights) is not None


def input_text(graph: Graph, scope: Graph, node: Node) -> str:
    """How the node reads its first input: quantized, in integers or not; empty if it is no product."""
    if node.op not in FORMS:
        return ""
    how = scope.quantized.get(node.inputs[0], graph.quantized.get(node.inputs[0]))
    if how is None:
        return "float"
    return text_of(how) if is_integer(graph, scope, node) else f"{text_of(how)}, as floats"
