"""Whole networks: MobileNetV2 and ResNet-18 at 224 × 224, batch 1, and an LSTM."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ...formats.graph import Graph, Node, ValueInfo
from ...formats.tensor import EncodedTensor
from .. import nets
from ..packages import Unreachable
from .definition import Case, Model, Packing, Target, compressed, fp32

SAMPLES, CALIBRATION = 16, 48
STEPS, FEATURES, HIDDEN = 100, 128, 256
INT8 = {"values": {"kind": "affine", "bits": 8, "scale": "channel"},
        "activations": {"kind": "auto", "dtype": "int8", "calibration": "output"}, "correct_biases": True, "coder": "auto"}
"""The preset int8, which boards without a YAML parser cannot read; a test holds them together."""
CODEBOOK4_INT8 = {"values": {"kind": "codebook", "bits": 4, "entries": "int8", "scale": "channel"}, "activations": "dynamic"}
DENSE_PEERS = ("onnxruntime", "openvino", "ncnn", "litert", "executorch", "torch", "deepsparse")
INT8_PEERS = ("onnxruntime int8", "openvino int8", "litert int8", "executorch int8", "deepsparse int8")


def pointwise(sparsity: float) -> Packing:
    """1×1 convolutions pruned by magnitude; the first layer, the last and depthwise ones stay as they are."""
    return Packing({"prune_weights": {"sparsity": sparsity}, "exempt": {"first": True, "last": True}})


def mobilenetv2(folder: Path) -> Model:
    """Real weights and photos where they can be had, else seeded ones."""
    try:
        from .. import images, models

        module = models.mobilenetv2()
        samples, crops = images.labelled("mobilenetv2")[0][:SAMPLES], images.crops("mobilenetv2")[:CALIBRATION]
    except (ModuleNotFoundError, Unreachable):
        rng = np.random.default_rng(0)
        samples, crops = (rng.normal(size=(count, 3, 224, 224)).astype(np.float32) for count in (SAMPLES // 4, SAMPLES))
        return Model({"": nets.mobilenetv2()}, samples[:, None], calibration=crops[:, None])
    made = Model({}, samples[:, None], lambda: module, crops[:, None])
    return imported(made, folder)


def resnet18(folder: Path) -> Model:
    samples = np.random.default_rng(0).normal(size=(4, 1, 3, 224, 224)).astype(np.float32)
    try:
        from .. import models

        module = models.resnet18()
    except ModuleNotFoundError:
        return Model({"": nets.resnet18()}, samples)
    return imported(Model({}, samples, lambda: module), folder)


def imported(model: Model, folder: Path) -> Model:
    """With the graph that the importer makes of the ONNX file that peers run."""
    from dataclasses import replace

    from ...toolchain import importers
    from ..prepare import export

    export(model, folder)
    return replace(model, graphs={"": importers.load(folder / "model.onnx")})


def lstm(_: Path) -> Model:
    """Gates in ONNX's order i, o, f, c, and in torch's i, f, c, o."""
    rng = np.random.default_rng(0)
    bound = HIDDEN**-0.5
    w, r, b = (rng.uniform(-bound, bound, shape).astype(np.float32) for shape in ((4, HIDDEN, FEATURES), (4, HIDDEN, HIDDEN), (2, 4, HIDDEN)))
    samples = rng.normal(size=(2, STEPS, 1, FEATURES)).astype(np.float32)
    nodes = (Node("LSTM", ("x", "w", "r", "b"), ("all",), {"hidden_size": HIDDEN}), Node("Squeeze", ("all", "axis"), ("y",)))
    arrays = {"w": w.reshape(1, -1, FEATURES), "r": r.reshape(1, -1, HIDDEN), "b": b.reshape(1, -1), "axis": np.array([1])}
    graph = Graph((ValueInfo("x", "float32", (STEPS, 1, FEATURES)),), (ValueInfo("y", "float32", (STEPS, 1, HIDDEN)),), nodes,
                  {name: EncodedTensor.dense(array) for name, array in arrays.items()})
    return Model({"": graph}, samples, lambda: _torch_lstm(w, r, b))


def _torch_lstm(w: np.ndarray, r: np.ndarray, b: np.ndarray) -> Any:
    import torch
    from torch import nn

    class Sequence(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm = nn.LSTM(FEATURES, HIDDEN)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.lstm(x)[0]

    order, module = [0, 2, 3, 1], Sequence()
    arrays = {"weight_ih_l0": w[order], "weight_hh_l0": r[order], "bias_ih_l0": b[0][order], "bias_hh_l0": b[1][order]}
    module.lstm.load_state_dict({name: torch.from_numpy(array.reshape(4 * HIDDEN, *array.shape[2:])) for name, array in arrays.items()})
    return module


def _of(variants: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(f"{program} fp32" for program in variants)


CASES = (
    Case("mobilenetv2", "MobileNetV2 224, fp32, dense and with sparse 1×1 convolutions", mobilenetv2,
         {"dense": Packing(least_cosine=0.9999), "pointwise-85": pointwise(0.85), "pointwise-90": pointwise(0.9)}, fp32(*DENSE_PEERS),
         (Target("thinfer dense", _of(DENSE_PEERS), 1.0), Target("thinfer pointwise-85", _of(DENSE_PEERS), 1 / 2.2),
          Target("thinfer pointwise-90", _of(DENSE_PEERS), 1 / 3))),
    Case("mobilenetv2-int8", "MobileNetV2 224, int8 weights and activations", mobilenetv2, {"int8": Packing(INT8, least_cosine=0.9)},
         compressed(*INT8_PEERS), (Target("thinfer int8", INT8_PEERS, 0.9),)),
    Case("resnet18", "ResNet-18 224, fp32", resnet18, {"dense": Packing(least_cosine=0.9999)}, fp32(*DENSE_PEERS),
         (Target("thinfer dense", ("deepsparse fp32",), 1.0), Target("thinfer dense", _of(DENSE_PEERS), 1.0))),
    Case("lstm", "LSTM, 128 → 256, 100 steps", lstm, {"dense": Packing(), "codebook-4-int8": Packing(CODEBOOK4_INT8, least_cosine=0.99)},
         fp32("onnxruntime", "openvino", "ncnn", "torch", "litert", "executorch"),
         (Target("thinfer dense", ("onnxruntime fp32", "openvino fp32", "ncnn fp32", "torch fp32"), 0.8),
          Target("thinfer codebook-4-int8", ("onnxruntime fp32", "openvino fp32", "ncnn fp32", "torch fp32"), 0.5))),
)
