"""DeepSparse 1.8.0, of the network in ONNX. Variants: fp32, int8 (onnxruntime's quantized model) and those with a pruned model of their own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import deepsparse
import numpy as np

from .interface import Case, Loaded, size


def _target(case: Case) -> Path:
    return case.file("deepsparse-int8.onnx") if case.variant == "int8" else case.model


def convert(case: Case) -> None:
    if case.variant != "int8" or _target(case).exists():
        return
    import onnx

    model = onnx.load(str(case.file("onnxruntime-int8.onnx")))
    known = [entry for entry in model.opset_import if entry.domain in ("", "ai.onnx")]  # it refuses domains that it does not know
    del model.opset_import[:]
    model.opset_import.extend(known)
    onnx.save(model, str(_target(case)))


def load(case: Case) -> Loaded:
    engine = deepsparse.compile_model(str(_target(case)), batch_size=case.x.shape[1], num_cores=case.threads)

    def bind(x: np.ndarray) -> Callable[[], Any]:
        return lambda: engine.run([x])[0]

    return Loaded(bind, "deepsparse", size(_target(case)))
