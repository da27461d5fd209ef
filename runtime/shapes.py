"""Shapes, dtypes and known elements of every value of a graph, by the operators' own rules (``kernels/ops``)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..formats.graph import Graph, Node, ValueInfo
from ..formats.tensor import EncodedTensor
from ..kernels import ops
from ..kernels.ops._op import Op, OpError, Type

KNOWN_ELEMENTS = 1024
KNOWN_VECTOR = 1 << 20
"""Constants of at most this many elements are expanded at plan time, so that shape arithmetic, axes, bounds and biases are known."""


class UnsupportedOps(OpError):
    """The graph uses operators that do not exist here; the message lists all of them with their nodes."""


def check(graph: Graph) -> Graph:
    """Returns ``graph`` if all of its operators exist and their nodes are well-formed; else raises one error that says all.

    Raises UnsupportedOps (every missing operator at once) or OpError (attributes, number of inputs).
    """
    missing: dict[str, list[str]] = {}
    for node in graph.nodes:
        if ops.find(node.op) is None:
            missing.setdefault(node.op, []).append(graph.label(node))
    if missing:
        listed = "; ".join(f"{op} ({', '.join(labels)})" for op, labels in sorted(missing.items()))
        raise UnsupportedOps(f"{len(missing)} operator{'s are' if len(missing) > 1 else ' is'} not supported: {listed}")
    for node in graph.nodes:
        _checked_op(graph, node)
    return graph


def _checked_op(graph: Graph, node: Node) -> Op:
    op = ops.get(node.op)
    op.attrs_of(node)
    least, most = op.inputs
    if not least <= len(node.inputs) <= most:
        wants = str(least) if least == most else f"{least} to {most}"
        raise OpError(f"{node.op} node {graph.label(node)!r} has {len(node.inputs)} inputs; {node.op} takes {wants}")
    return op


def outline(weights: Mapping[str, EncodedTensor], name: str) -> EncodedTensor:
    """The weight's kind, shape and sizes. A table that lies in a file gives them without decoding the elements."""
    found: EncodedTensor = getattr(weights, "outline", weights.__getitem__)(name)
    return found


def weight_type(weights: Mapping[str, EncodedTensor], name: str) -> Type:
    """The type of a constant; its elements are known if there are few."""
    tensor = outline(weights, name)
    limit = KNOWN_VECTOR if len(tensor.shape) == 1 else KNOWN_ELEMENTS
    return Type(tensor.dtype, tensor.shape, weights[name].decode() if tensor.size <= limit else None)


def infer(graph: Graph, input_shapes: Mapping[str, Sequence[int]]) -> dict[str, Type | None]:
    """Type of every value and weight, given the concrete shape of every graph input; None where only running tells.

    Raises OpError where shapes contradict each other.
    """
    types: dict[str, Type | None] = {name: weight_type(graph.weights, name) for name in graph.weights}
    for info in graph.inputs:
        types[info.name] = Type(info.dtype, tuple(input_shapes[info.name]))
    for node in graph.nodes:
        op = ops.get(node.op)
        args = [types[name] if name else None for name in node.inputs]
        unknown = any(arg is None for arg, name in zip(args, node.inputs) if name)
        found = None if unknown else op.infer(node, op.attrs_of(node), args)
        for place, name in enumerate(node.outputs):
            if name:
                types[name] = found[place] if found is not None and place < len(found) else None
    return types


def concrete(info: ValueInfo, symbols: Mapping[str, int] | None = None, default: int = 1) -> tuple[int, ...]:
    """The shape of a graph input with its symbolic dimensions replaced: by ``symbols``, else by ``default``."""
    lengths = symbols or {}
    return tuple(dim if isinstance(dim, int) else lengths.get(dim, default) for dim in info.shape)
