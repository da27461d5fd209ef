"""torch models: exported programs, modules of every kind and TorchScript, all through ``torch.onnx.export`` and the ONNX importer."""

from __future__ import annotations

import contextlib
import inspect
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from math import prod
from pathlib import Path
from typing import Any

import torch

from ...formats.graph import Dim, Graph, Node
from ..arrays import MOST_ELEMENTS
from ..errors import first_line
from ..passes.fold_constants import fold_constants
from . import _program_check, _script, _zoo
from . import onnx as from_onnx
from ._errors import InputShapeError, UnreadableModel, UnsupportedModel
from ._files import entries, first_bytes, is_name, refuse_arch
from ._interface import named_for_people
from ._modules import read_module
from ._quiet import quiet

BATCH_SIZES = (2, 3, 5, 7)
LENGTHS = (224, 160, 192, 128, 96)
"""Example lengths for symbolic dimensions, first and other ones, in order of appearance; torch takes 0 and 1 for fixed."""


def load(file: Path, *, trust_pickle: bool, arch: str | None, input_shapes: Mapping[str, tuple[Dim, ...]]) -> Graph:
    """The torch model in ``file``, or of that name; see ``importers.load``."""
    if is_program(file):
        model = _onnx(read_program(file, trust_pickle, arch), file)
    else:
        module = read_module(file, trust_pickle, arch)
        input_shapes = input_shapes or (_zoo.input_shapes(str(file), module) if is_name(file) else {})
        if isinstance(module, torch.jit.ScriptModule):
            model = _script.onnx(module, *_examples(module, file, input_shapes), file)
        else:
            model = _onnx(_exported(module, file, input_shapes), file)
    # torch calls symbolic dimensions s77 and the like; the caller's names for them come back with the caller's shapes.
    return named_for_people(from_onnx.convert(model, str(file), input_shapes, tidy=without_export_traces))


def is_program(file: Path) -> bool:
    """Whether the file is a program of torch.export. Raises UnreadableModel if it is a damaged archive."""
    if is_name(file) or not first_bytes(file).startswith(b"PK"):
        return False
    return not {"archive_format", "serialized_exported_program.json"}.isdisjoint(entries(file))


def read_program(file: Path, trust_pickle: bool, arch: str | None) -> Any:
    """The exported program in the file. Raises UntrustedModel or UnreadableModel; ArchitectureError if an architecture is given beside it."""
    refuse_arch(file, arch, "an exported program")
    if not trust_pickle:
        _program_check.check(file)
    try:
        with quiet():
            return torch.export.load(file)
    except Exception:  # torch raises many kinds here, which speak of its own insides
        raise UnreadableModel(f"{file} is not a readable torch.export program: it is damaged, or of another version of torch") from None


def _exported(module: torch.nn.Module, file: Path, shapes: Mapping[str, tuple[Dim, ...]]) -> Any:
    """The module as an exported program."""
    example, dynamic = _examples(module, file, shapes)
    try:
        with quiet(), _dropout_kept(module):
            # DYNAMIC leaves it to torch in what range a length may lie (of positions there are so many), and fails if there is but one.
            return torch.export.export(module, (), example, strict=False, dynamic_shapes={
                name: dict.fromkeys(places, torch.export.Dim.DYNAMIC) for name, places in dynamic.items()})
    except (Exception, SystemExit) as error:  # tracing runs the user's own code
        raise UnsupportedModel(f"{file} cannot be exported by torch with these input shapes: {first_line(error)}") from None


Examples = dict[str, torch.Tensor]
Dynamic = dict[str, dict[int, str]]


def _examples(module: torch.nn.Module, file: Path, shapes: Mapping[str, tuple[Dim, ...]]) -> tuple[Examples, Dynamic]:
    """An example of each input in the order of ``forward``, and the names of the dimensions that may vary by place."""
    parameters = _parameters(module)
    _check_shapes(module, parameters, file, shapes)
    lengths = _example_lengths(shapes)
    ordered = {name: shapes[name] for name in parameters if name in shapes}
    return ({name: _zeros(name, [lengths[dim] if isinstance(dim, str) else dim for dim in shape], _dtype(parameters[name]))
             for name, shape in ordered.items()},
            {name: {place: dim for place, dim in enumerate(shape) if isinstance(dim, str)} for name, shape in ordered.items()})


def _parameters(module: torch.nn.Module) -> Mapping[str, inspect.Parameter]:
    """What ``forward`` takes."""
    if isinstance(module, torch.jit.ScriptModule):
        return _script.parameters(module)
    return inspect.signature(module.forward).parameters


def _dtype(parameter: inspect.Parameter) -> torch.dtype:
    """The dtype that the input's annotation says (``torch.LongTensor``), else float32."""
    found = re.search(r"\b(Long|Int|Bool|Half|Double)Tensor", str(parameter.annotation))
    return {"Long": torch.int64, "Int": torch.int32, "Bool": torch.bool, "Half": torch.float16, "Double": torch.float64,
            "": torch.float32}[found[1] if found else ""]


def _zeros(name: str, shape: Sequence[int], dtype: torch.dtype) -> torch.Tensor:
    """An example of an input. InputShapeError if it would not fit into memory."""
    try:
        if prod(shape) > MOST_ELEMENTS:
            raise MemoryError
        return torch.zeros(list(shape), dtype=dtype)
    except (RuntimeError, MemoryError):
        text = "x".join(map(str, shape))
        raise InputShapeError(f"an example of the input {name!r} with the shape {text} is too large to be made") from None


@contextlib.contextmanager
def _dropout_kept(module: torch.nn.Module) -> Iterator[None]:
    """Has the module's Dropout in training mode, without which torch would drop it, and not in place, which torch would spell out."""
    found = [(part, part.training, part.inplace) for part in module.modules() if type(part) is torch.nn.Dropout]
    for part, _, _ in found:
        part.training, part.inplace = True, False
    try:
        yield
    finally:
        for part, training, inplace in found:
            part.training, part.inplace = training, inplace


def _check_shapes(module: torch.nn.Module, parameters: Mapping[str, inspect.Parameter], file: Path, shapes: Mapping[str, tuple[Dim, ...]]) -> None:
    """InputShapeError unless every input without a default has a shape, and no other name has one."""
    inputs = [name for name, p in parameters.items() if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    needed = [name for name in inputs if parameters[name].default is inspect.Parameter.empty]
    unknown = [name for name in shapes if name not in inputs]
    if unknown:
        raise InputShapeError(f"the model has no input {unknown[0]!r}; its inputs are {', '.join(inputs)}")
    lacking = [name for name in needed if name not in shapes]
    if lacking:
        raise InputShapeError(f"{file} does not say the shape of its input {lacking[0]!r}; give it with "
                              f"--input-shape {lacking[0]}:{_likely_shape(module)} (numbers, or a name for a dimension that may vary)")
    names = [dim for shape in shapes.values() for dim in shape if isinstance(dim, str) and not dim.isidentifier()]
    if names:
        raise InputShapeError(f"the dimension {names[0]!r} is neither a number nor a name")


def _likely_shape(module: torch.nn.Module) -> str:
    """The shape that an input has if it goes to the module's first layer, as people write it."""
    for part in module.modules():
        if isinstance(part, torch.nn.Linear):
            return f"N,{part.in_features}"
        if isinstance(part, (torch.nn.Conv1d, torch.nn.Conv2d, torch.nn.Conv3d)):
            return ",".join(["N", str(part.in_channels), *["224"] * len(part.kernel_size)])
    return "N,…"


def _example_lengths(shapes: Mapping[str, tuple[Dim, ...]]) -> dict[str, int]:
    """A length for each symbolic dimension, different ones for different symbols as far as they go."""
    first = dict.fromkeys(shape[0] for shape in shapes.values() if shape and isinstance(shape[0], str))
    other = dict.fromkeys(dim for shape in shapes.values() for dim in shape[1:] if isinstance(dim, str) and dim not in first)
    return {str(symbol): lengths[place % len(lengths)] for symbols, lengths in ((first, BATCH_SIZES), (other, LENGTHS))
            for place, symbol in enumerate(symbols)}


def _onnx(program: Any, file: Path) -> Any:
    """The program as an ONNX model, nothing optimized away; outputs are called ``output``, or ``output_0``, ``output_1`` …"""
    count = len(program.graph_signature.user_outputs)
    names = ["output"] if count == 1 else [f"output_{place}" for place in range(count)]
    try:
        with quiet():
            made = torch.onnx.export(program, (), dynamo=True, optimize=False, verbose=False, output_names=names)
    except (Exception, SystemExit) as error:  # the exporter's errors have no common class
        raise UnsupportedModel(f"{file} cannot be exported to ONNX by torch: {first_line(error.__cause__ or error)}") from None
    return made.model_proto


def without_export_traces(graph: Graph) -> Graph:
    """Undoes what the export added: names it made up for nodes, biases of zeros it gave to Conv, and training mode of Dropout.

        Conv(x, w, 0)             ──►    Conv(x, w)
        Dropout(x, ratio, True)   ──►    Dropout(x, ratio)

    Without a name of its own a node is known by its weights: ``features.0.weight`` makes it ``features.0``.
    """
    graph = fold_constants(graph)  # zeros are spelled Expand(CastLike(0, x), Shape(w))
    return replace(graph, nodes=tuple(_without_traces(graph, node) for node in graph.nodes))


def _without_traces(graph: Graph, node: Node) -> Node:
    inputs = node.inputs
    if node.op == "Conv" and len(inputs) == 3 and "." not in inputs[2] and inputs[2] in graph.weights:
        bias = graph.weights[inputs[2]].decode()
        inputs = inputs if bias.any() else inputs[:2]
    return replace(node, inputs=inputs[:2] if node.op == "Dropout" else inputs, name="")
