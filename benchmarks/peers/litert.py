"""LiteRT (ai-edge-litert), converted by litert-torch. Variants: fp32; int8 (static); dynamic8, dynamic4 (weights per channel, activations
quantized as it runs). Images lie in NHWC, as in its own models."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from .interface import Case, Loaded, size

RECIPES = {"int8": "static_wi8_ai8", "dynamic8": "dynamic_wi8_afp32", "dynamic4": "dynamic_wi4_afp32"}


def _target(case: Case, variant: str) -> Path:
    return case.file(f"litert-{variant}.tflite")


def convert(case: Case) -> None:
    if not _target(case, "fp32").exists():
        _from_torch(case)
    target = _target(case, case.variant)
    if target.exists():
        return
    from ai_edge_quantizer import quantizer, recipe

    made = quantizer.Quantizer(str(_target(case, "fp32")))
    made.load_quantization_recipe(getattr(recipe, RECIPES[case.variant])())
    statistics = None
    if case.variant == "int8":
        signatures = Interpreter(str(_target(case, "fp32"))).get_signature_list()
        key, names = next(iter(signatures.items()))
        statistics = made.calibrate({key: [{names["inputs"][0]: _turned(x)} for x in case.calibration]})
    made.quantize(statistics).export_model(str(target))


def _from_torch(case: Case) -> None:
    import litert_torch
    import torch

    module: Any = torch.jit.load(str(case.file("model.ts")))
    if case.file("model.pt2").exists():
        module = torch.export.load(str(case.file("model.pt2"))).module()
    x = torch.from_numpy(_turned(case.x[0]))
    if x.dim() == 4:
        outputs = [0] if len(case.meta["output_shape"]) == 4 else None
        module = litert_torch.to_channel_last_io(module, args=[0], outputs=outputs)
    litert_torch.convert(module, (x,)).export(str(_target(case, "fp32")))


def _turned(x: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(x.transpose(0, 2, 3, 1)) if x.ndim == 4 else x


def load(case: Case) -> Loaded:
    interpreter = Interpreter(str(_target(case, case.variant)), num_threads=case.threads)
    interpreter.allocate_tensors()
    source, result = interpreter.get_input_details()[0], interpreter.get_output_details()[0]

    def bind(x: np.ndarray) -> Callable[[], Any]:
        array = _coded(_turned(x), source)

        def call() -> Any:
            interpreter.set_tensor(source["index"], array)
            interpreter.invoke()
            return interpreter.get_tensor(result["index"])

        return call

    def finish(y: np.ndarray) -> np.ndarray:
        scale, zero = result["quantization"]
        floats = (y.astype(np.float32) - zero) * np.float32(scale) if y.dtype == np.int8 else y
        return floats.transpose(0, 3, 1, 2) if y.ndim == 4 else floats

    return Loaded(bind, "ai-edge-litert", size(_target(case, case.variant)), finish)


def _coded(x: np.ndarray, source: Any) -> np.ndarray:
    """Fully quantized models take int8: what their callers do before, and no time is taken of."""
    if source["dtype"] != np.int8:
        return x
    scale, zero = source["quantization"]
    return np.clip(np.rint(x / scale) + zero, -128, 127).astype(np.int8)
