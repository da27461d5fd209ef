"""ONNX models, opset 6 to 28, as graphs: names as the source has them, nothing folded but what has no operator here."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import onnx
import onnx.checker
import onnx.shape_inference
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

from ...formats.graph import Dim, Graph, verify
from ...runtime import shapes
from ..passes import clean
from ..passes._edit import with_channel_axes
from ..passes.canonicalize import without_defaults
from ..passes.dead_code import dead_code
from . import _external, _functions
from ._errors import UnreadableModel, UnsupportedModel
from ._interface import fitting, with_input_shapes, with_output_shapes
from ._nodes import STANDARD, Converter, inferred, opset_of
from ._residue import resolve
from ._soundness import sound
from ._source import source_info
from ._tensors import Tensors, subgraphs


def load(file: Path, input_shapes: Mapping[str, tuple[Dim, ...]]) -> Graph:
    """The ONNX model in ``file``; see ``importers.load``."""
    tensors = Tensors(str(file), file.parent)
    light = tensors.light(parse(file))  # the whole model is let go here
    return _converted(light, tensors, input_shapes)


def convert(model: onnx.ModelProto, origin: str, input_shapes: Mapping[str, tuple[Dim, ...]],
            tidy: Callable[[Graph], Graph] = lambda graph: graph) -> Graph:
    """The model as a cleaned graph. ``origin`` names it in messages, ``tidy`` undoes what an exporter added."""
    tensors = Tensors(origin, None)
    return _converted(tensors.light(model), tensors, input_shapes, tidy)


def _converted(model: onnx.ModelProto, tensors: Tensors, input_shapes: Mapping[str, tuple[Dim, ...]],
               tidy: Callable[[Graph], Graph] = lambda graph: graph) -> Graph:
    """The graph of a model whose large weights ``tensors`` holds."""
    opset = opset_of(model.opset_import, tensors.origin)
    _functions.check_size(model, tensors.origin)
    graph = verify(Converter(_with_types(model), tensors).graph())  # while nodes that stand too late are there to be told of
    own = frozenset(graph.weights)
    graph = dead_code(tidy(resolve(graph)))
    graph = shapes.check(verify(graph))
    _check_attributes(model.graph, model.ir_version, opset, tensors.origin)
    graph = with_input_shapes(without_defaults(graph), input_shapes)
    graph = verify(with_channel_axes(with_output_shapes(sound(fitting(_without_training(graph)), _output_dtypes(model)))))
    return clean(replace(graph, source=source_info(graph, own)))


def _with_types(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with the types that onnx can infer for its values, or as it is where onnx cannot work with it."""
    try:
        found = onnx.shape_inference.infer_shapes(model)
    except Exception:  # whatever it minds, the importer finds and says better
        return model
    for given, own in zip(found.graph.output, model.graph.output):
        given.CopyFrom(own)  # the interface is what the model says it is
    return found


def _output_dtypes(model: onnx.ModelProto) -> dict[str, str]:
    """The dtypes that onnx infers for the outputs from the nodes alone, whatever the model says of them."""
    bare = onnx.ModelProto()
    bare.CopyFrom(model)
    bare.graph.ClearField("value_info")
    for info in bare.graph.output:
        info.ClearField("type")
    try:
        found = onnx.shape_inference.infer_shapes(bare).graph.output
    except Exception:  # as in _with_types
        return {}
    return {name: known.dtype for name, known in inferred(onnx.GraphProto(output=found)).items()}


def parse(file: Path) -> onnx.ModelProto:
    """The model as onnx has it. Raises UnreadableModel."""
    try:
        model = onnx.ModelProto.FromString(file.read_bytes())
    except DecodeError:
        raise UnreadableModel(f"{file} is no whole ONNX model and no torch file: it is truncated, or of another kind") from None
    if not model.graph.output or not model.opset_import:
        raise UnreadableModel(f"{file} is no whole ONNX model and no torch file: it has no graph with outputs")
    if any(not isinstance(name, str) for name in _strings(model.graph)):  # protobuf hands out what is no UTF-8 as bytes
        raise UnreadableModel(f"{file} is no whole ONNX model: a name in it is not UTF-8")
    return model


def data_files(file: Path) -> list[Path]:
    """The files that hold external data of the model in ``file``, as it says; none of them is opened. Raises UnreadableModel."""
    return [file.parent / location for location in _external.locations(parse(file))]


def _strings(graph: onnx.GraphProto) -> Iterator[str]:
    """Every name in the graph and its subgraphs."""
    for info in (*graph.input, *graph.output):
        yield info.name
        yield from (dim.dim_param for dim in info.type.tensor_type.shape.dim)
    yield from (tensor.name for tensor in graph.initializer)
    for item in graph.node:
        yield from (item.op_type, item.domain, item.name, *item.input, *item.output)
        yield from (attribute.name for attribute in item.attribute)
        for inner in subgraphs(item):
            yield from _strings(inner)


def _check_attributes(graph: onnx.GraphProto, ir_version: int, opset: int, origin: str) -> None:
    """UnreadableModel if a node's attributes are not of the kind that ONNX wants; onnx's checker knows that for every operator."""
    context = onnx.checker.C.CheckerContext()
    context.ir_version, context.opset_imports = ir_version, {"": opset}
    for item in graph.node:
        for inner in subgraphs(item):
            _check_attributes(inner, ir_version, opset, origin)
        if item.domain in STANDARD and not _is_deprecated(item.op_type, opset):
            try:
                onnx.checker.check_node(_without_bodies(item), context)
            except onnx.checker.ValidationError as error:
                what = str(error).strip().splitlines()[0]
                raise UnreadableModel(f"node {item.name or item.op_type!r} of {origin} is not well-formed: {what}") from None


def _is_deprecated(op: str, opset: int) -> bool:
    """Whether onnx's checker refuses the operator of that opset for being deprecated (GroupNormalization of opset 18)."""
    try:
        return bool(onnx.defs.get_schema(op, opset).deprecated) and onnx.defs.has(op) and not onnx.defs.get_schema(op).deprecated
    except onnx.defs.SchemaError:
        return False  # there is no such operator in that opset; the checker says so


def _without_bodies(item: onnx.NodeProto) -> onnx.NodeProto:
    """The node with empty subgraphs, which are checked by themselves: they read names of the graph around them."""
    if not any(subgraphs(item)):
        return item
    found = onnx.NodeProto()
    found.CopyFrom(item)
    for attribute in found.attribute:
        if attribute.type == onnx.AttributeProto.GRAPH:
            attribute.g.CopyFrom(onnx.GraphProto(name="body"))
    return found


def _without_training(graph: Graph) -> Graph:
    """The graph, unless a node of it is in training mode, which here means nothing."""
    training = [graph.label(node) for node in graph.nodes if (node.op == "BatchNormalization" and node.attrs.get("training_mode", 0))
                or (node.op == "Dropout" and any(graph.weights[name].decode().any() for name in node.inputs[2:] if name in graph.weights))]
    if training:
        raise UnsupportedModel(f"the model is in training mode at {', '.join(training)}; export it for inference")
    return graph
