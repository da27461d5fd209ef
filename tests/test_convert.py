"""``toolchain convert``: what comes out is valid ONNX, and onnxruntime computes from it what the file computes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import test_import_structure as structures
import test_subgraphs as subgraphs
from onnx import TensorProto, helper, numpy_helper
from test_import_onnx import by_onnxruntime, cnn, ints, model_of, saved, value, weight
from thinfer import runtime
from thinfer.formats import writer
from thinfer.formats.graph import ActivationQuantization, Graph, Node, ValueInfo
from thinfer.formats.tensor import Affine, EncodedTensor
from thinfer.toolchain import cli, importers, pipeline, recipe
from thinfer.toolchain.importers.onnx import convert
from thinfer.toolchain.to_onnx import to_onnx

LENET = Path(__file__).parents[1] / "examples" / "lenet"
RNG = np.random.default_rng(11)
node = helper.make_node


def agrees(graph: Graph, feeds: dict[str, np.ndarray], tolerance: float = 1e-5) -> onnx.ModelProto:
    model = to_onnx(graph)
    onnx.checker.check_model(model, full_check=True)
    found = runtime.load(graph, backend="numpy").run(None, feeds)
    for ours, theirs in zip(found, by_onnxruntime(model, feeds)):
        assert ours.dtype == theirs.dtype
        scale = max(float(np.abs(theirs).max(initial=0)), 1e-30) if theirs.size else 1
        np.testing.assert_allclose(ours, theirs, atol=tolerance * scale, rtol=tolerance)
    return model


def image(batch: int = 3) -> dict[str, np.ndarray]:
    return {"x": RNG.standard_normal((batch, 3, 8, 8)).astype(np.float32)}


@pytest.mark.parametrize("name", [name for name in recipe.presets() if "int8" not in name])
def test_every_encoding_of_weights(name: str, tmp_path: Path) -> None:
    agrees(pipeline.compress(importers.load(saved(cnn(17), tmp_path)), recipe.load(name)), image())


@pytest.mark.parametrize("name", [name for name in recipe.presets() if "int8" in name])
@pytest.mark.parametrize("calibrated", [True, False])
def test_quantized_activations(name: str, calibrated: bool, tmp_path: Path) -> None:
    graph = pipeline.compress(importers.load(saved(cnn(17), tmp_path)), recipe.load(name), calibration=image(16) if calibrated else None)
    assert graph.quantized
    model = agrees(graph, image(), 1e-4)
    assert ("QuantizeLinear" in [item.op_type for item in model.graph.node]) == calibrated


@pytest.mark.parametrize(("name", "largest"), [("int8", 0.003), ("codebook-2-int8", 0.003)])
def test_default_optimizations_see_our_integers(name: str, largest: float) -> None:
    """LeNet-5 on 200 digits: onnxruntime's integer kernels differ where codes lie at ties (0.0018 at most), not in most outputs."""
    digits = (np.load(LENET / "digits.npz")["images"][:400, None] / 255).astype(np.float32)
    graph = pipeline.compress(importers.load(LENET / "lenet5.pt2"), recipe.load(name), calibration={"image": digits[:200]})
    model = to_onnx(graph)
    integers = {item.name for item in model.graph.initializer if item.data_type == TensorProto.INT8 and len(item.dims) > 1}
    assert len(integers) == 4  # the weights of all four products
    ours = runtime.load(graph).run(None, {"image": digits[200:]})[0]
    errors = np.abs(by_onnxruntime(model, {"image": digits[200:]})[0] - ours).max(axis=1) / np.abs(ours).max()
    assert errors.max() < largest
    assert np.median(errors) < 1e-4


@pytest.mark.parametrize(("low", "high", "zero", "dtype"), [(0, 255, [128] * 4, TensorProto.INT8), (0, 255, [0] * 4, TensorProto.UINT8),
                                                            (0, 255, [0, 255, 255, 0], TensorProto.FLOAT),
                                                            (0, 60, [3, 10, 5, 60], TensorProto.INT8)])
def test_weights_with_zero_points_keep_their_integers(low: int, high: int, zero: list[int], dtype: int) -> None:
    codes = RNG.integers(low, high + 1, 24).astype(np.uint8)
    codes[:2] = low, high
    values = Affine(codes, 8, RNG.uniform(0.01, 0.02, (4, 1)).astype(np.float32), np.array(zero, np.uint8)[:, None], 6)
    how = ActivationQuantization("static", "int8", 0.03125, 3)
    graph = Graph((ValueInfo("x", "float32", ("N", 6)),), (ValueInfo("y", "float32", ("N", 4)),), (Node("MatMul", ("x", "w"), ("y",)),),
                  {"w": EncodedTensor((6, 4), "float32", values, axis=1)}, quantized={"x": how})
    model = agrees(graph, {"x": RNG.standard_normal((5, 6)).astype(np.float32)})
    assert {item.data_type for item in model.graph.initializer if list(item.dims) == [6, 4]} == {dtype}


def test_unsigned_dynamic_activations(tmp_path: Path) -> None:
    nodes = [node("DynamicQuantizeLinear", ["x"], ["q", "s", "z"]), node("MatMulInteger", ["q", "w", "z"], ["i"]), node("Cast", ["i"], ["f"], to=1),
             node("Mul", ["s", "ws"], ["m"]), node("Mul", ["f", "m"], ["y"])]
    weights = [numpy_helper.from_array(RNG.integers(-127, 128, (6, 4)).astype(np.int8), "w"), numpy_helper.from_array(np.float32(0.01), "ws")]
    graph = importers.load(saved(model_of(nodes, [value("x", "N", 6)], [value("y", "N", 4)], weights), tmp_path))
    assert graph.quantized
    agrees(graph, {"x": RNG.standard_normal((5, 6)).astype(np.float32)}, 1e-4)


@pytest.mark.parametrize(("model", "feeds"), [
    (subgraphs.BRANCHES, {"x": RNG.standard_normal((3, 64)).astype(np.float32), "flag": np.array(True)}),
    (subgraphs.BRANCHES, {"x": RNG.standard_normal((3, 64)).astype(np.float32), "flag": np.array(False)}),
    (subgraphs.LOOP, {"x": RNG.standard_normal((3, 64)).astype(np.float32), "trips": np.array(4), "go": np.array(True)}),
    (subgraphs.SCAN, {"h": RNG.standard_normal((2, 64)).astype(np.float32), "x": RNG.standard_normal((5, 2, 64)).astype(np.float32),
                      "z": RNG.standard_normal((2, 5)).astype(np.float32)}),
    (structures.conditional(), {"x": RNG.standard_normal((2, 3)).astype(np.float32), "flag": np.array(True)}),
], ids=["then", "else", "loop", "scan", "shadows"])
def test_subgraphs(model: onnx.ModelProto, feeds: dict[str, np.ndarray]) -> None:
    for name in ("dense", "codebook-4"):
        agrees(pipeline.compress(convert(model, "model", {}), recipe.load(name)), feeds)


@pytest.mark.parametrize(("op", "gates"), [("LSTM", 4), ("GRU", 3), ("RNN", 1)])
def test_recurrent_operators(op: str, gates: int, tmp_path: Path) -> None:
    states = ["h", "c"] if op == "LSTM" else ["h"]
    item = node(op, ["x", "w", "r", "b", "", *states], ["y", *(f"{name}_out" for name in states)], hidden_size=5, direction="bidirectional")
    infos = [value("x", "T", "N", 3), *(value(name, 2, "N", 5) for name in states)]
    outputs = [value("y", "T", 2, "N", 5), *(value(f"{name}_out", 2, "N", 5) for name in states)]
    weights = [weight("w", 2, gates * 5, 3), weight("r", 2, gates * 5, 5), weight("b", 2, 2 * gates * 5)]
    graph = importers.load(saved(model_of([item], infos, outputs, weights), tmp_path))
    feeds = {"x": RNG.standard_normal((7, 2, 3)).astype(np.float32), **{s: RNG.standard_normal((2, 2, 5)).astype(np.float32) for s in states}}
    agrees(pipeline.compress(graph, recipe.load("dense")), feeds)


def test_newer_operators_raise_the_opset(tmp_path: Path) -> None:
    model = model_of([node("Swish", ["x"], ["y"])], [value("x", 2, 3)], [value("y", 2, 3)], [], 24)
    assert to_onnx(importers.load(saved(model, tmp_path))).opset_import[0].version == 24
    model = model_of([node("ReduceSum", ["x", "a"], ["y"])], [value("x", 2, 3)], [value("y", 2, 1)], [ints("a", 1)], 13)
    assert to_onnx(importers.load(saved(model, tmp_path))).opset_import[0].version == 22


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    thin, target = tmp_path / "model.thin", tmp_path / "plain.onnx"
    writer.write(pipeline.compress(importers.load(saved(cnn(17), tmp_path)), recipe.load("codebook-4")), thin)
    assert cli.execute(["convert", str(thin), "-o", str(target), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["file"] == str(target)
    feeds = image()
    np.testing.assert_allclose(by_onnxruntime(onnx.load(target), feeds)[0], runtime.load(thin).run(None, feeds)[0], rtol=1e-4, atol=1e-6)
    assert cli.execute(["convert", str(thin), "-o", str(thin)]) == 2
    assert "is the packed file itself" in capsys.readouterr().err
    assert cli.execute(["convert", str(tmp_path / "gone.thin")]) == 2
    assert all(info.type.tensor_type.elem_type == TensorProto.FLOAT for info in onnx.load(target).graph.output)
