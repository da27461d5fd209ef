"""TorchScript as ONNX, through torch's older exporter, which alone takes it."""

from __future__ import annotations

import inspect
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnx as onnx_models
import torch

from ..errors import first_line
from ._errors import UnsupportedModel
from ._quiet import quiet

OPSET = 20
"""The newest that the exporter writes."""


def parameters(module: torch.jit.ScriptModule) -> Mapping[str, inspect.Parameter]:
    """What ``forward`` takes, without the module itself."""
    return {given.name: inspect.Parameter(given.name, inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=str(given.type),
                                          default=given.default_value if given.has_default_value() else inspect.Parameter.empty)
            for given in module.forward.schema.arguments[1:]}


def onnx(module: torch.jit.ScriptModule, examples: Mapping[str, torch.Tensor], dynamic: Mapping[str, Mapping[int, str]], file: Path) -> Any:
    """The module as an ONNX model with BatchNormalization as it is; outputs are called ``output``, or ``output_0``, ``output_1`` …

    Raises UnsupportedModel.
    """
    stream = io.BytesIO()
    try:
        with quiet(), torch.inference_mode():
            made = module(**examples)
            count = 1 if isinstance(made, torch.Tensor) else len(made)
            names = ["output"] if count == 1 else [f"output_{place}" for place in range(count)]
            # TrainingMode.PRESERVE leaves a module in eval mode as it is, where EVAL would fold BatchNormalization.
            torch.onnx.export(module, tuple(examples.values()), stream, dynamo=False, opset_version=OPSET, input_names=list(examples),
                              output_names=names, dynamic_axes={name: dict(places) for name, places in dynamic.items()},
                              training=torch.onnx.TrainingMode.PRESERVE, do_constant_folding=False)
    except (Exception, SystemExit) as error:  # the exporter's errors have no common class
        raise UnsupportedModel(f"{file} cannot be exported to ONNX by torch: {first_line(error)}") from None
    model = onnx_models.ModelProto.FromString(stream.getvalue())
    for info in model.graph.output:
        info.type.tensor_type.ClearField("shape")  # it is that of the examples, whose lengths may vary
    return model
