"""torch models: exported programs, pickled modules and state dicts, all through ``torch.onnx.export`` and the ONNX importer."""

from __future__ import annotations

import contextlib
import importlib
import inspect
import io
import logging
import os
import pickle
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from math import prod
from pathlib import Path
from typing import Any

import torch

from ...formats.errors import ThinferError
from ...formats.graph import Dim, Graph, Node
from ..arrays import MOST_ELEMENTS
from ..errors import described, first_line
from ..passes.fold_constants import fold_constants
from . import _program_check
from . import onnx as from_onnx
from ._errors import ArchitectureError, InputShapeError, UnreadableModel, UnsupportedModel, UntrustedModel
from ._interface import named_for_people

WRAPPERS = ("state_dict", "model_state_dict", "model", "net")
"""Keys under which checkpoints keep their state dict."""

DAMAGED = "it is truncated or damaged, or a pickle of something else"

BATCH_SIZES = (2, 3, 5, 7)
LENGTHS = (224, 160, 192, 128, 96)
"""Example lengths for symbolic dimensions, first and other ones, in order of appearance; torch takes 0 and 1 for fixed."""


def load(file: Path, entries: Sequence[str], *, trust_pickle: bool, arch: str | None,
         input_shapes: Mapping[str, tuple[Dim, ...]]) -> Graph:
    """The torch model in ``file``, whose archive has ``entries``; see ``importers.load``."""
    if any(name.startswith("code/") for name in entries):
        raise UnsupportedModel(f"{file} is a TorchScript archive, which is not supported; save the module with torch.export.save instead")
    with quiet():
        if "archive_format" in entries or "serialized_exported_program.json" in entries:
            program = read_program(file, trust_pickle)
        else:
            program = _exported(read_module(file, trust_pickle, arch), file, input_shapes)
        # torch calls symbolic dimensions s77 and the like; the caller's names for them come back with the caller's shapes.
        return named_for_people(from_onnx.convert(_onnx(program, file), str(file), input_shapes, tidy=without_export_traces))


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silences what torch prints, warns of and logs while it loads and exports."""
    previous = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(previous)


@contextlib.contextmanager
def _current_directory_importable() -> Iterator[None]:
    """Lets a model's own code be imported from where the user stands."""
    here = os.getcwd()
    sys.path.insert(0, here)
    try:
        yield
    finally:
        sys.path.remove(here)


def read_program(file: Path, trust_pickle: bool) -> Any:
    """The exported program in the file. Raises UntrustedModel or UnreadableModel."""
    if not trust_pickle:
        _program_check.check(file)
    try:
        return torch.export.load(file)
    except Exception:  # torch raises many kinds here, which speak of its own insides
        raise UnreadableModel(f"{file} is not a readable torch.export program: it is damaged, or of another version of torch") from None


def read_module(file: Path, trust_pickle: bool, arch: str | None) -> torch.nn.Module:
    """The module in eval mode that the file pickles, or that ``arch`` makes for its state dict. Raises ModelError."""
    found = _unpickled(file, trust_pickle)
    if isinstance(found, Mapping):
        nested = next((found[key] for key in WRAPPERS if isinstance(found.get(key), (Mapping, torch.nn.Module))), found)
        found = nested if isinstance(nested, torch.nn.Module) else _with_state(nested, file, arch)
    if not isinstance(found, torch.nn.Module):
        raise UnsupportedModel(f"{file} holds a {type(found).__name__}, neither a torch module nor a state dict")
    return found.eval()


def _unpickled(file: Path, trust_pickle: bool) -> Any:
    try:
        return torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if "global" not in str(error).lower() and "class" not in str(error).lower():
            raise UnreadableModel(f"{file} is no whole torch file: {DAMAGED}") from None
        if not trust_pickle:
            raise UntrustedModel(f"{file} is a pickle with more than tensors in it, so that loading it runs code from it; "
                                 "if you trust where it comes from, allow that with --trust-pickle") from None
    except Exception:  # a damaged archive can fail in any way
        raise UnreadableModel(f"{file} is no whole torch file: {DAMAGED}") from None
    try:
        with _current_directory_importable():
            return torch.load(file, map_location="cpu", weights_only=False)
    except (Exception, SystemExit) as error:  # unpickling runs any code
        raise UnreadableModel(f"{file} cannot be unpickled: {described(error)}") from None


def _with_state(state: Mapping[str, Any], file: Path, arch: str | None) -> torch.nn.Module:
    """The module that ``arch`` makes, with the weights of ``state``."""
    if not state or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise UnsupportedModel(f"{file} holds a dictionary, but not one of tensors only as a state dict is")
    if arch is None:
        raise ArchitectureError(f"{file} is a state dict, which has weights but no architecture; "
                                "name a function that makes the module with --arch package.module:factory")
    module = _made_by(arch)
    prefix = "module." if all(key.startswith("module.") for key in state) else ""
    own = module.state_dict()
    given = {key[len(prefix):]: value for key, value in state.items()}
    wrong = ([f"{key} is lacking" for key in own if key not in given and not key.endswith("num_batches_tracked")]
             + [f"{key} is not in it" for key in given if key not in own]
             + [f"{key} is {tuple(value.shape)} instead of {tuple(own[key].shape)}" for key, value in given.items()
                if key in own and own[key].shape != value.shape])
    if wrong:
        more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        raise ArchitectureError(f"the state dict in {file} does not fit {arch}: {', '.join(wrong[:3])}{more}")
    module.load_state_dict(given, strict=False)
    return module


def _made_by(arch: str) -> torch.nn.Module:
    module_name, colon, factory_name = arch.partition(":")
    if not (module_name and colon and factory_name):
        raise ArchitectureError(f"the architecture {arch!r} does not have the form package.module:factory")
    try:
        with _current_directory_importable():
            factory = getattr(importlib.import_module(module_name), factory_name, None)
            if factory is None:
                raise ArchitectureError(f"the architecture's module {module_name} has no {factory_name!r}")
            made = factory()
    except ThinferError:
        raise
    except (Exception, SystemExit) as error:  # the user's own code
        raise ArchitectureError(f"the architecture {arch} cannot be made: {described(error)}") from None
    if not isinstance(made, torch.nn.Module):
        raise ArchitectureError(f"the architecture {arch} makes a {type(made).__name__}, not a torch module")
    return made


def _exported(module: torch.nn.Module, file: Path, shapes: Mapping[str, tuple[Dim, ...]]) -> Any:
    """The module as an exported program."""
    parameters = inspect.signature(module.forward).parameters
    _check_shapes(module, parameters, file, shapes)
    symbols = _example_lengths(shapes)
    example = {name: _zeros(name, [symbols[dim] if isinstance(dim, str) else dim for dim in shape]) for name, shape in shapes.items()}
    named = {symbol: torch.export.Dim(symbol) for symbol in symbols}
    dynamic = {name: {place: named[dim] for place, dim in enumerate(shape) if isinstance(dim, str)} for name, shape in shapes.items()}
    ordered = {name: example[name] for name in parameters if name in example}
    try:
        with _dropout_kept(module):
            return torch.export.export(module, (), ordered, dynamic_shapes={name: dynamic[name] for name in ordered}, strict=False)
    except (Exception, SystemExit) as error:  # tracing runs the user's own code
        raise UnsupportedModel(f"{file} cannot be exported by torch with these input shapes: {first_line(error)}") from None


def _zeros(name: str, shape: Sequence[int]) -> torch.Tensor:
    """An example of an input. InputShapeError if it would not fit into memory."""
    try:
        if prod(shape) > MOST_ELEMENTS:
            raise MemoryError
        return torch.zeros(list(shape))
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
