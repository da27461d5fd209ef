"""OpenVINO. Variants: fp32; int8 (NNCF, post-training); int8-weights; int4 (NNCF's compressed weights, groups of 128, activations
quantized dynamically)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import openvino

from .interface import Case, Loaded, size


def _target(case: Case) -> Path:
    return case.file(f"openvino-{case.variant}.xml")


def convert(case: Case) -> None:
    if _target(case).exists():
        return
    model = openvino.convert_model(str(case.model))
    if case.variant in ("int8", "int4", "int8-weights"):
        import nncf

        if case.variant == "int8":
            model = nncf.quantize(model, nncf.Dataset(list(case.calibration)), subset_size=len(case.calibration))
        elif case.variant == "int4":
            model = nncf.compress_weights(model, mode=nncf.CompressWeightsMode.INT4_SYM, group_size=128, ratio=1.0, all_layers=True)
        else:
            model = nncf.compress_weights(model, mode=nncf.CompressWeightsMode.INT8_SYM)
    openvino.save_model(model, str(_target(case)), compress_to_fp16=False)


def load(case: Case) -> Loaded:
    settings = {"INFERENCE_NUM_THREADS": case.threads, "NUM_STREAMS": 1, "PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
    if case.variant == "int4":
        settings["DYNAMIC_QUANTIZATION_GROUP_SIZE"] = "128"
    request = openvino.Core().compile_model(str(_target(case)), "CPU", settings).create_infer_request()
    return Loaded(lambda x: lambda: request.infer({0: x}, share_inputs=True)[0], "openvino",
                  size(_target(case), _target(case).with_suffix(".bin")), lambda y: np.array(y))
