"""Every older form of an operator means the same here as to onnxruntime, or to onnx's own implementation where that is too new for it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from test_import_onnx import by_onnxruntime, ints, model_of, saved, value, weight
from thinfer.runtime.interpreter import evaluate
from thinfer.toolchain import importers

RNG = np.random.default_rng(3)
node = helper.make_node


def by_onnx(model: onnx.ModelProto, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
    return ReferenceEvaluator(model).run(None, feeds)


def one(op: str, opset: int, shape: tuple[int, ...], *weights: TensorProto, outputs: int = 1, last: bool = False, **attrs: Any) -> onnx.ModelProto:
    """A model of one node: ``op(x, weights…)``; with ``last`` the weights come first."""
    names = [tensor.name for tensor in weights]
    made = [f"y{place}" for place in range(outputs)]
    item = node(op, [*names, "x"] if last else ["x", *names], made, name="node", **attrs)
    infos = [onnx.ValueInfoProto(name=name) for name in made]
    return model_of([item], [value("x", *shape)], infos, list(weights), opset, ir_version=8)


FORMS: dict[str, tuple[onnx.ModelProto, Callable[..., list[np.ndarray]]]] = {
    "Clip 6": (one("Clip", 6, (2, 5), min=-0.5, max=0.25), by_onnxruntime),
    "Clip 6, one bound": (one("Clip", 6, (2, 5), max=0.25), by_onnxruntime),
    "Dropout 7": (one("Dropout", 7, (2, 5), ratio=0.3), by_onnxruntime),
    "BatchNormalization 7": (one("BatchNormalization", 7, (2, 3, 4), *[numpy_helper.from_array(np.float32([0.5, 1, 2]), c) for c in "gbmv"],
                                 epsilon=1e-3), by_onnxruntime),
    "BatchNormalization 9": (one("BatchNormalization", 9, (2, 3, 4), *[numpy_helper.from_array(np.float32([0.5, 1, 2]), c) for c in "gbmv"]),
                             by_onnxruntime),
    "Gemm 7": (one("Gemm", 7, (2, 5), weight("w", 5, 3), weight("b", 3)), by_onnxruntime),
    "PRelu 7": (one("PRelu", 7, (2, 3, 4), weight("s", 3, 1)), by_onnxruntime),
    "Pad 2": (one("Pad", 7, (2, 5), pads=[0, 1, 0, 2], value=1.5), by_onnxruntime),
    "Pad 2, reflected": (one("Pad", 7, (2, 5), pads=[0, 1, 0, 2], mode="reflect"), by_onnxruntime),
    "Slice 1": (one("Slice", 7, (4, 5), starts=[1, 0], ends=[3, -1]), by_onnxruntime),
    "Slice 1, axes": (one("Slice", 9, (4, 5), starts=[-3], ends=[9], axes=[1]), by_onnxruntime),
    "Split 2": (one("Split", 7, (2, 6), outputs=3, axis=1), by_onnxruntime),
    "Split 2, sizes": (one("Split", 11, (2, 6), outputs=2, axis=1, split=[2, 4]), by_onnxruntime),
    "Split 13": (one("Split", 13, (2, 6), outputs=3, axis=1), by_onnxruntime),
    "Split 13, sizes": (one("Split", 13, (2, 6), ints("sizes", 2, 4), outputs=2, axis=1), by_onnxruntime),
    "Squeeze 1": (one("Squeeze", 7, (2, 1, 5), axes=[1]), by_onnxruntime),
    "Squeeze 1, all": (one("Squeeze", 11, (2, 1, 5)), by_onnxruntime),
    "Unsqueeze 1": (one("Unsqueeze", 7, (2, 5), axes=[0, 2]), by_onnxruntime),
    "ReduceSum 1": (one("ReduceSum", 7, (2, 3, 4), axes=[1], keepdims=0), by_onnxruntime),
    "ReduceMean 1": (one("ReduceMean", 11, (2, 3, 4), axes=[-1]), by_onnxruntime),
    "ReduceMax 13": (one("ReduceMax", 13, (2, 3, 4)), by_onnxruntime),
    "Softmax 1": (one("Softmax", 7, (2, 3, 4)), by_onnxruntime),
    "Softmax 11, last": (one("Softmax", 11, (2, 3, 4), axis=-1), by_onnxruntime),
    "Softmax 11, middle": (one("Softmax", 11, (2, 3, 4, 2), axis=-2), by_onnxruntime),
    "LogSoftmax 1": (one("LogSoftmax", 9, (2, 3, 4), axis=0), by_onnxruntime),
    "Hardmax 1": (one("Hardmax", 9, (2, 3, 4), axis=1), by_onnxruntime),
    "TopK 1": (one("TopK", 7, (2, 5), outputs=2, k=2), by_onnxruntime),
    "Upsample 7": (one("Upsample", 7, (1, 2, 3, 4), scales=[1.0, 1.0, 2.0, 3.0]), by_onnxruntime),
    "Upsample 9": (one("Upsample", 9, (1, 2, 3, 4), numpy_helper.from_array(np.float32([1, 1, 2, 2.5]), "s"), mode="linear"), by_onnxruntime),
    "Resize 10": (one("Resize", 10, (1, 2, 4, 4), numpy_helper.from_array(np.float32([1, 1, 0.6, 2.5]), "s")), by_onnxruntime),
    "Resize 10, smaller": (one("Resize", 10, (1, 2, 5, 5), numpy_helper.from_array(np.float32([1, 1, 0.4, 0.6]), "s")), by_onnxruntime),
    "Resize 10, linear": (one("Resize", 10, (1, 2, 4, 4), numpy_helper.from_array(np.float32([1, 1, 0.5, 2]), "s"), mode="linear"),
                          by_onnxruntime),
    "Scatter 9": (one("Scatter", 9, (3, 4), numpy_helper.from_array(np.int64([[1, 0], [2, 2]]), "i"), weight("u", 2, 2), axis=1), by_onnxruntime),
    "DFT 17": (one("DFT", 17, (1, 8, 1)), by_onnx),
    "GridSample 16": (one("GridSample", 16, (1, 2, 4, 4), numpy_helper.from_array(RNG.uniform(-1, 1, (1, 3, 3, 2)).astype(np.float32), "g"),
                          mode="bilinear"), by_onnxruntime),
    "Add 6, at an axis": (one("Add", 6, (2, 3, 4, 5), weight("b", 3, 4), broadcast=1, axis=1), lambda model, feeds: [
        feeds["x"] + numpy_helper.to_array(model.graph.initializer[0])[:, :, None]]),
    "Mul 6, at the end": (one("Mul", 6, (2, 3, 4), weight("b", 4), broadcast=1), lambda model, feeds: [
        feeds["x"] * numpy_helper.to_array(model.graph.initializer[0])]),
    "PRelu 6": (one("PRelu", 6, (2, 3, 4), weight("s", 3)), lambda model, feeds: [
        np.where(feeds["x"] < 0, feeds["x"] * numpy_helper.to_array(model.graph.initializer[0])[:, None], feeds["x"])]),
}


@pytest.mark.parametrize("form", FORMS)
def test_an_older_form_means_what_it_meant(form: str, tmp_path: Path) -> None:
    model, reference = FORMS[form]
    graph = importers.load(saved(model, tmp_path))
    shape = [dim.dim_value for dim in model.graph.input[0].type.tensor_type.shape.dim]
    x = RNG.standard_normal(shape).astype(np.float32)
    wanted = reference(model, {"x": x})
    found = evaluate(graph, {"x": x})
    assert len(found) == len(wanted)
    for name, array in zip((info.name for info in model.graph.output), wanted):
        assert found[name].dtype == array.dtype
        np.testing.assert_allclose(found[name], array, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("constant", [True, False])
def test_group_normalization_18_had_a_scale_per_group(constant: bool, tmp_path: Path) -> None:
    """Against torch: onnx calls this form deprecated, and nothing runs it."""
    x, scale, bias = (RNG.normal(size=shape).astype(np.float32) for shape in ((2, 6, 5), (3,), (3,)))
    parameters = {"scale": scale, "bias": bias}
    inputs = [value("x", 2, 6, 5), *([] if constant else [value(name, 3) for name in parameters])]
    weights = [numpy_helper.from_array(array, name) for name, array in parameters.items()] if constant else []
    model = model_of([node("GroupNormalization", ["x", "scale", "bias"], ["y"], num_groups=3)], inputs, [value("y", 2, 6, 5)], weights, 18)
    found = evaluate(importers.load(saved(model, tmp_path)), {"x": x, **({} if constant else parameters)})["y"]
    plain = torch.nn.functional.group_norm(torch.from_numpy(x), 3).numpy()
    np.testing.assert_allclose(found, plain * scale.repeat(2)[:, None] + bias.repeat(2)[:, None], atol=1e-5)
