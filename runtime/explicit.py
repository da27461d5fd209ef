"""Quantized activations as nodes: a graph that says of values how they are quantized becomes one whose nodes do it.

Everything after this (shapes, segments, kernels, the interpreter) knows nodes alone.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..formats.graph import ActivationQuantization, Graph, Node, QuantizedDtype
from ..formats.record import dataclass, field, replace
from ..formats.tensor import EncodedTensor
from ..kernels.ops._integer import FORMS, SCALE
from ..kernels.ops._op import DOMAIN, HOW, QUANTIZE
from ..kernels.quantized import weight_scale
from .shapes import outline


def explicit(graph: Graph, codes: QuantizedDtype | None = None) -> Graph:
    """The graph without annotations. Products in integers read codes, all others a value made for them.

        x (int8) ──► Conv(w int8) ──► y (int8) ──► Relu

        x ──► Quantize ──► x.codes ──► thinfer::Conv(w) ──► y' ──► Quantized ──► y ──► Relu

    Dynamic codes come with ``x.scale`` and, if they are uint8, ``x.zero``, which are further inputs of the product (``kernels/ops/_integer.py``).
    ``codes``: what static codes of 8 bits are, int8 or uint8, whatever the graph says; their values stay the same.
    The graph itself, if nothing in it is quantized.
    """
    return _explicit(graph, graph.weights, _Scope(dtype=codes)) if _any(graph) else graph


def _of_dtype(how: ActivationQuantization, dtype: QuantizedDtype | None) -> ActivationQuantization:
    """The same numbers as codes of that type: those of int8 are 128 less than those of uint8, and so are their zero points."""
    if dtype is None or how.kind != "static" or {how.dtype, dtype} != {"int8", "uint8"}:
        return how
    return replace(how, dtype=dtype, zero_point=how.zero_point + (128 if dtype == "uint8" else -128))


@dataclass(frozen=True)
class _Scope:
    """What the values of the graphs around are: ``how`` they are quantized, where they lie as they are (``raw``), their ``codes`` with what
    belongs to these, and ``seen`` quantized. ``dtype``: of static codes, if not as the graph says."""

    how: Mapping[str, ActivationQuantization] = field(default_factory=dict)
    raw: Mapping[str, str] = field(default_factory=dict)
    codes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    seen: Mapping[str, str] = field(default_factory=dict)
    dtype: QuantizedDtype | None = None


def integer_operands(node: Node, how: Mapping[str, ActivationQuantization], weights: Mapping[str, EncodedTensor],
                     ) -> tuple[tuple[ActivationQuantization, ActivationQuantization | None], tuple[np.ndarray, ...] | None] | None:
    """How the operands of a product in integers are quantized, and its weights' scales; None if the node computes in floats.

    It is a product in integers if input 0 is quantized, input 1 is quantized too or a weight of integers (of an LSTM or GRU W and R are), and within
    each sum all products have the same scale.
    """
    form = FORMS.get(node.op)
    first = how.get(node.inputs[0]) if form is not None else None
    if form is None or first is None:
        return None
    if not form.takes(first, node.attrs):
        return None
    if node.inputs[1] not in weights and not form.walks:
        second = how.get(node.inputs[1])
        return ((first, second), None) if second is not None and second.granularity == "tensor" else None
    scales = [integer_scale(node, place, weights) for place in form.weights]
    known = tuple(scale for scale in scales if scale is not None)
    return ((first, None), known) if len(known) == len(scales) else None


def integer_scale(node: Node, place: int, weights: Mapping[str, EncodedTensor]) -> np.ndarray | None:
    """The scale of an operand of a product if it is a weight of integers whose scale is the same within each sum."""
    tensor = outline(weights, node.inputs[place]) if node.inputs[place] in weights else None
    scale = None if tensor is None else weight_scale(tensor)
    if tensor is None or scale is None or (scale.size > 1 and tensor.axis != FORMS[node.op].channels(len(tensor.shape), node.attrs)):
        return None
    return scale


def _any(graph: Graph) -> bool:
    return bool(graph.quantized) or any(_any(body) for node in graph.nodes for _, body in node.subgraphs())


def _explicit(graph: Graph, weights: Mapping[str, EncodedTensor], outer: _Scope) -> Graph:
    how = {**outer.how, **{name: _of_dtype(found, outer.dtype) for name, found in graph.quantized.items()}}
    raw, codes, seen = dict(outer.raw), dict(outer.codes), dict(outer.seen)
    taken = {name for node in graph.nodes for name in (*node.reads(), *node.outputs)}.union(weights)
    nodes: list[Node] = []

    def quantize(source: str, name: str, whole: str) -> None:
        """The nodes that quantize ``source``, which the graph calls ``name``, for all of its readers."""
        codes[name] = tuple(_fresh(f"{name}.{part}", taken) for part in _parts(how[name]))
        nodes.append(Node(QUANTIZE, (source,), codes[name], {HOW: how[name]}))
        nodes.append(Node(f"{DOMAIN}Quantized", (source,), (whole,), {HOW: how[name]}))

    for info in graph.inputs:
        if info.name in graph.quantized:
            seen[info.name] = _fresh(info.name, taken)
            quantize(info.name, info.name, seen[info.name])
    for node in graph.nodes:
        if node.op == "Identity" and node.outputs[0] in graph.quantized:  # keeps those apart who read floats; here names do
            raw[node.outputs[0]] = seen.get(node.inputs[0], node.inputs[0])
            quantize(raw[node.outputs[0]], node.outputs[0], node.outputs[0])
            continue
        renamed = {name: _fresh(name, taken) for name in node.outputs if name in graph.quantized}
        raw |= renamed
        scope = _Scope(how, raw, codes, seen, outer.dtype)
        nodes.append(replace(_reading(node, weights, scope), outputs=tuple(renamed.get(name, name) for name in node.outputs)))
        for name in renamed:
            quantize(raw[name], name, name)
    return _without_unread(replace(graph, nodes=tuple(nodes), quantized={}))


def _parts(how: ActivationQuantization) -> tuple[str, ...]:
    """What codes consist of, as Quantize makes it."""
    return ("codes", "scale", "zero")[:1 if how.kind == "static" else 3 if how.dtype == "uint8" else 2]


def _without_unread(graph: Graph) -> Graph:
    """Without the nodes that quantize for nobody."""
    wanted = {*graph.consumers(), *(info.name for info in graph.outputs)}
    made_here = (QUANTIZE, f"{DOMAIN}Quantized")
    return replace(graph, nodes=tuple(node for node in graph.nodes if node.op not in made_here or not wanted.isdisjoint(node.outputs)))


def _reading(node: Node, weights: Mapping[str, EncodedTensor], scope: _Scope) -> Node:
    """The node with its inputs as it is to see them."""
    found = integer_operands(node, scope.how, weights)
    if found is not None:
        first, second, *others = node.inputs
        codes, *beside = scope.codes[first]
        others += [""] * (FORMS[node.op].inputs - len(node.inputs))
        inputs = [codes, scope.raw.get(second, second), *(scope.seen.get(name, name) for name in others), *beside]
        while not inputs[-1]:
            inputs.pop()
        return replace(node, op=DOMAIN + node.op, inputs=tuple(inputs), attrs={**node.attrs, HOW: found[0], SCALE: found[1]})
    attrs = {key: _body(value, weights, scope) if isinstance(value, Graph) else value for key, value in node.attrs.items()}
    return replace(node, inputs=tuple(scope.seen.get(name, name) for name in node.inputs), attrs=attrs)


def _body(graph: Graph, weights: Mapping[str, EncodedTensor], scope: _Scope) -> Graph:
    """A subgraph, whose outputs have places but no names of their own."""
    found = _explicit(graph, weights, scope)
    return replace(found, outputs=tuple(replace(info, name=scope.seen.get(info.name, info.name)) for info in found.outputs))


def _fresh(name: str, taken: set[str]) -> str:
    while name in taken:
        name += "'"
    taken.add(name)
    return name
