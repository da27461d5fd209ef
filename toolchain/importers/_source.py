"""What a model was before compression: parameters, multiply-accumulates and bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ...formats.errors import ThinferError
from ...formats.graph import Graph, Node, SourceInfo
from ...formats.tensor import EncodedTensor
from ...kernels import ops
from ...kernels.ops._op import Type
from ...runtime import shapes
from ..passes._lengths import fit

STATISTICS = {"BatchNormalization": (3, 4)}
"""Operator → inputs that hold running statistics: counted in bytes, not among the parameters (as torch counts)."""


def source_info(graph: Graph, own: frozenset[str]) -> SourceInfo:
    """Parameters, MACs and bytes of ``graph`` as it is, counting the weights in ``own``; scalars are no parameters, and integers only if
    they look like weights that somebody quantized: 8 bits, of two or more dimensions."""
    nodes = [node for scope in graph.scopes() for node in scope.nodes]
    buffers = {node.inputs[place] for node in nodes for place in STATISTICS.get(node.op, ()) if place < len(node.inputs)}
    found = {name: tensor for name, tensor in graph.weights.items() if name in own and _is_parameter(tensor)}
    return SourceInfo(sum(tensor.size for name, tensor in found.items() if name not in buffers), macs(graph),
                      sum(tensor.nbytes_dense for tensor in found.values()))


def _is_parameter(tensor: EncodedTensor) -> bool:
    return len(tensor.shape) > (1 if tensor.dtype in ("int8", "uint8") else 0) and tensor.dtype.startswith(("float", "int8", "uint8"))


def macs(graph: Graph) -> int:
    """Multiply-accumulates at batch 1 (``fitting_macs``); 0 if the shapes cannot be known so, as where they need a length.

    A body counts once, whatever the number of its iterations, and of an If the dearer branch.
    """
    found = fitting_macs(graph)
    return 0 if found is None else _macs_in(graph, found)


def fitting_macs(graph: Graph) -> dict[int, int] | None:
    """``node_macs`` at ``batch_lengths``; None where there are none."""
    found = batch_lengths(graph)
    try:
        return None if found is None else node_macs(graph, {info.name: shapes.concrete(info, found) for info in graph.inputs})
    except ThinferError:
        return None


def needed_lengths(graph: Graph) -> tuple[str, ...]:
    """Symbolic dimensions on whose length costs hang and that nobody could guess: all that some input has not first, where batches are."""
    return tuple(dict.fromkeys(dim for info in graph.inputs for dim in info.shape[1:] if isinstance(dim, str)))


def batch_lengths(graph: Graph) -> dict[str, int] | None:
    """Symbolic dimension → length, where all are batches: 1, or else the first ones that fit; None where a length is needed or none fits."""
    try:
        found = None if needed_lengths(graph) else fit(graph)
    except ThinferError:
        return None
    return None if found is None else dict(found.lengths)


def node_macs(graph: Graph, input_shapes: Mapping[str, Sequence[int]]) -> dict[int, int]:
    """id of a node → multiply-accumulates of one inference for inputs of these shapes, a fixed batch divided out. Raises OpError."""
    calls: shapes.Calls = {}
    types = shapes.infer_types(graph, {info.name: Type(info.dtype, tuple(input_shapes[info.name])) for info in graph.inputs}, calls)
    batch = _batch(graph)
    return {id(node): _macs_of(graph, node, known) // batch
            for scope in graph.scopes() if (known := types if scope is graph else calls.get(id(scope))) is not None for node in scope.nodes}


def _macs_in(graph: Graph, found: Mapping[int, int]) -> int:
    return sum(found.get(id(node), 0) + max((_macs_in(body, found) for _, body in node.subgraphs()), default=0) for node in graph.nodes)


def _macs_of(graph: Graph, node: Node, types: Mapping[str, Type | None]) -> int:
    op = ops.get(node.op)
    args = [types[name] if name else None for name in node.inputs]
    results = [types[name] for name in node.outputs if name]
    known = all(arg is not None for arg, name in zip(args, node.inputs) if name) and None not in results
    return op.macs(op.attrs_of(node), args, [made for made in results if made is not None]) if op.macs is not None and known else 0


def _batch(graph: Graph) -> int:
    """The fixed batch size: the first length that all inputs and outputs share, else 1."""
    firsts = {info.shape[0] if info.shape else 1 for info in (*graph.inputs, *graph.outputs)}
    only = firsts.pop() if len(firsts) == 1 else 1
    return only if isinstance(only, int) and only > 0 else 1
