"""Functions: those that a model brings, and what onnx's own definitions of operators tell."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

import numpy as np
import onnx
import onnx.shape_inference
from onnx import AttributeProto, defs, helper, numpy_helper

from ...formats.graph import Graph, Node
from ._context import Context
from ._errors import UnsupportedModel
from ._tensors import subgraphs

DEEPEST = 64
MOST_NODES = 1 << 17
"""Functions in functions may be this deep, and a model this large once they are spelled out."""

Key = tuple[str, str, str]


def check_size(model: onnx.ModelProto, origin: str) -> None:
    """UnsupportedModel if functions call themselves or are nested so that spelling them out would never end."""
    functions: dict[Key, onnx.FunctionProto] = {(f.domain, f.name, f.overload): f for f in model.functions}
    found: dict[Key, tuple[int, int]] = {}

    def size(nodes: Iterable[onnx.NodeProto], above: int) -> tuple[int, int]:
        """Number of nodes when spelled out, and how deep functions are nested in them."""
        count = height = 0
        for node in nodes:
            key = (node.domain, node.op_type, node.overload)
            if key in functions and key not in found and above <= DEEPEST:
                found[key] = size(functions[key].node, above + 1)
            inner = [found.get(key, (MOST_NODES, DEEPEST)) if key in functions else (1, 0), *(size(sub.node, above) for sub in subgraphs(node))]
            count, height = count + sum(own for own, _ in inner), max(height, *(deep + 1 for _, deep in inner))
        if count > MOST_NODES or height > DEEPEST:
            raise UnsupportedModel(f"{origin} has functions that call themselves, or more than {DEEPEST} of them in each other, or more than "
                                   f"{MOST_NODES:,} nodes")
        return count, height

    size(model.graph.node, 0)


@cache
def _schema(op: str) -> defs.OpSchema | None:
    domain, _, name = op.rpartition("::")
    return defs.get_schema(name, domain=domain) if defs.has(name, domain=domain) else None


@cache
def has_optional_outputs(op: str) -> bool:
    """Whether a node may leave out outputs after the first and mean the same."""
    schema = _schema(op)
    return schema is not None and any(output.option == defs.OpSchema.FormalParameterOption.Optional for output in schema.outputs)


@cache
def is_function(op: str) -> bool:
    """Whether onnx defines the operator by others."""
    schema = _schema(op)
    return schema is not None and (schema.has_function or schema.has_context_dependent_function)


def standard(node: Node, context: Context) -> onnx.FunctionProto | None:
    """The function that defines the node's operator in the newest opset; None if there is none."""
    schema = _schema(node.op)
    if schema is None or any(isinstance(value, Graph) for value in node.attrs.values()):
        return None
    if schema.has_function:
        found: onnx.FunctionProto = schema.function_body
        return found
    if not schema.has_context_dependent_function:
        return None
    types = [_type(name, context) for name in node.inputs]
    proto = onnx.NodeProto(op_type=node.op, input=node.inputs, output=node.outputs, attribute=list(attributes(node).values()))
    if None in types:
        return None
    try:
        body = schema.get_context_dependent_function(proto.SerializeToString(), [kind.SerializeToString() for kind in types if kind])
    except RuntimeError:  # the function needs more than is known of the inputs
        return None
    return onnx.FunctionProto.FromString(body) if body else None


def with_types(function: onnx.FunctionProto, call: Node, context: Context) -> onnx.GraphProto:
    """The function's body as a graph, with the types that onnx can infer for its values from those of the call's inputs."""
    given = [onnx.ValueInfoProto(name=formal, type=_type(name, context)) for formal, name in zip(function.input, call.inputs)]
    graph = onnx.GraphProto(node=function.node, input=given)
    try:
        return onnx.shape_inference.infer_shapes(onnx.ModelProto(ir_version=onnx.IR_VERSION, graph=graph, opset_import=function.opset_import)).graph
    except Exception:  # the types are a help, and whatever is wrong with the function is found without them
        return graph


def attributes(node: Node) -> dict[str, AttributeProto]:
    """The node's attributes in ONNX's form, by name."""
    return {key: helper.make_attribute(key, numpy_helper.from_array(value) if isinstance(value, np.ndarray) else value)
            for key, value in node.attrs.items()}


def _type(name: str, context: Context) -> onnx.TypeProto | None:
    """The type of a value as ONNX says it; an empty one for an absent input, None if it is not known."""
    if not name:
        return onnx.TypeProto()
    dtype = context.dtype(name)
    return None if dtype is None else helper.make_tensor_type_proto(int(helper.np_dtype_to_tensor_dtype(np.dtype(dtype))), context.shape(name))
