"""Runs the model that a file was packed from, on implementations that are not ours: onnxruntime, onnx's own, torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .errors import first_line
from .importers import UnreadableModel, UnsupportedModel, is_for_torch, refuse_arch

Feeds = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Reference:
    """A model that runs: ``name`` says on what; ``run`` gives its outputs by name, in order."""

    name: str
    run: Callable[[Feeds], dict[str, np.ndarray]]


def load(path: Path, *, trust_pickle: bool = False, arch: str | None = None) -> Reference:
    """The model at ``path``, for inputs under the names that the importer gives them. Raises ModelError or UsageError."""
    if is_for_torch(path):
        return _torch(path, trust_pickle, arch)
    refuse_arch(path, arch, "an ONNX model")
    return _onnx(path)


def _onnx(path: Path) -> Reference:
    try:
        import onnxruntime
    except ModuleNotFoundError:
        return _onnx_evaluator(path)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    # what the model says, node by node: the optimizer rounds biases to integers, and quantizes float weights that lie between quantized values
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its errors have no common class
        raise UnreadableModel(f"onnxruntime cannot load {path}: {first_line(error)}") from None
    names = [info.name for info in session.get_outputs()]
    return Reference(f"onnxruntime {onnxruntime.__version__}",
                     _guarded(path, lambda feeds: dict(zip(names, session.run(None, dict(feeds))))))


def _onnx_evaluator(path: Path) -> Reference:
    import onnx
    from onnx.reference import ReferenceEvaluator

    try:
        evaluator = ReferenceEvaluator(str(path))
    except Exception as error:  # protobuf's and onnx's errors have no common class
        raise UnreadableModel(f"onnx cannot load {path}: {first_line(error)}") from None
    names = list(evaluator.output_names)
    return Reference(f"onnx {onnx.__version__} ReferenceEvaluator",
                     _guarded(path, lambda feeds: dict(zip(names, evaluator.run(None, dict(feeds))))))


def _torch(path: Path, trust_pickle: bool, arch: str | None) -> Reference:
    import torch

    from .importers import torch as importer

    if importer.is_program(path):
        program = importer.read_program(path, trust_pickle, arch)
        module, positional = program.module(), len(program.example_inputs[0]) if program.example_inputs else None
    else:
        module, positional = importer.read_module(path, trust_pickle, arch), 0

    def run(feeds: Feeds) -> dict[str, np.ndarray]:
        tensors = {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in feeds.items()}
        names = list(tensors)  # a program takes its inputs as it was exported, the first ones in order
        with torch.inference_mode(), importer.quiet():
            found = module(*[tensors[name] for name in names[:positional]],
                           **{name: tensors[name] for name in names[len(names) if positional is None else positional:]})
        made = [found] if isinstance(found, torch.Tensor) else list(found.values() if isinstance(found, Mapping) else found)
        return {"output" if len(made) == 1 else f"output_{place}": value.numpy() for place, value in enumerate(made)}

    return Reference(f"torch {torch.__version__}", _guarded(path, run))


def _guarded(path: Path, run: Callable[[Feeds], dict[str, Any]]) -> Callable[[Feeds], dict[str, np.ndarray]]:
    """``run``, with whatever the other implementation raises as one sentence."""

    def guarded(feeds: Feeds) -> dict[str, np.ndarray]:
        try:
            return {name: np.asarray(value) for name, value in run(feeds).items()}
        except (Exception, SystemExit) as error:  # anything can be wrong between its inputs and ours
            described = ", ".join(f"{name} {array.dtype}{list(array.shape)}" for name, array in feeds.items())
            raise UnsupportedModel(f"{path} cannot be run on {described}: {first_line(error)}") from None

    return guarded
