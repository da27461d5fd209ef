"""``toolchain explain``: costs, estimated sizes against real ones, and everything that is in the way at once."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from test_import_onnx import cnn, model_of, saved, value, weight
from thinfer.formats import writer
from thinfer.toolchain import cli, importers, pipeline, recipe
from thinfer.toolchain.estimate import estimates
from thinfer.toolchain.explain import costs, explain
from thinfer.toolchain.importers._obstacles import scan

EXAMPLES = Path(__file__).parents[1] / "examples" / "lenet"
LENET = EXAMPLES / "lenet5.pt2"
LOOSE = {"deep-compression": 0.25}
"""Recipes whose sizes hang on how much of each channel is pruned, which a sample of channels tells less well."""


def test_estimated_sizes_are_near_real_ones() -> None:
    found = explain(LENET)
    assert [row.recipe for row in found.recipes] == recipe.presets()
    graph = importers.load(LENET)
    for row in found.recipes:
        exact = len(writer.to_bytes(pipeline.compress(graph, recipe.load(row.recipe))))
        assert row.nbytes is not None
        assert abs(row.nbytes / exact - 1) < LOOSE.get(row.recipe, 0.1), (row, exact)


def test_channels_that_training_emptied_count_as_often_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """LeNet-300-100 was trained with an L1 penalty: a third of its first layer's rows are close to zero, in no order."""
    monkeypatch.syspath_prepend(EXAMPLES.parents[1])
    graph = importers.load(EXAMPLES / "lenet300.pt", trust_pickle=True, arch="examples.lenet.models:lenet300",
                           input_shapes={"image": ("N", 1, 28, 28)})
    for row in estimates(graph):
        exact = len(writer.to_bytes(pipeline.compress(graph, recipe.load(row.recipe))))
        assert row.nbytes is not None
        assert abs(row.nbytes / exact - 1) < LOOSE.get(row.recipe, 0.1), (row, exact)


@pytest.mark.parametrize("axis", [0, 1])
def test_weights_that_are_integers_already_count_as_such(axis: int, tmp_path: Path) -> None:
    """Large enough to be sampled; left as they are they take a byte an element and a scale a channel, and recipes begin from them."""
    rng = np.random.default_rng(3)
    codes, scale = np.clip(np.rint(rng.normal(0, 30, (256, 256))), -127, 127).astype(np.int8), rng.uniform(0.01, 0.02, 256).astype(np.float32)
    nodes = [helper.make_node("DequantizeLinear", ["q", "s"], ["w"], axis=axis), helper.make_node("MatMul", ["x", "w"], ["y"])]
    tensors = [onnx.numpy_helper.from_array(codes, "q"), onnx.numpy_helper.from_array(scale, "s")]
    found = explain(saved(model_of(nodes, [value("x", 1, 256)], [value("y", 1, 256)], tensors), tmp_path))
    assert found.source.nbytes == codes.nbytes + scale.nbytes
    assert sum(row.nbytes for row in found.nodes) == codes.nbytes + scale.nbytes
    graph = importers.load(Path(found.model))
    rows = {row.recipe: row for row in found.recipes}
    for name in ("dense", "fp16", "int8", "affine-4", "codebook-4"):
        exact, about = len(writer.to_bytes(pipeline.compress(graph, recipe.load(name)))), rows[name].nbytes
        assert about is not None
        assert abs(about / exact - 1) < 0.05, (name, about, exact)


def test_a_recipe_that_refuses_the_model_has_a_row_that_says_why(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    array = np.full((64, 64), np.nan, np.float32)
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"])]
    path = saved(model_of(nodes, [value("x", 1, 64)], [value("y", 1, 64)], [onnx.numpy_helper.from_array(array, "w")]), tmp_path)
    rows = {row.recipe: row for row in explain(path).recipes}
    assert rows["dense"].nbytes == pytest.approx(len(writer.to_bytes(pipeline.compress(importers.load(path), recipe.load("dense")))), abs=32)
    assert (rows["codebook-4"].nbytes, rows["codebook-4"].ratio) == (None, None)
    assert rows["codebook-4"].problem.startswith("the weight 'w' holds NaN")
    assert cli.execute(["explain", str(path)]) == 0
    assert "–  – the weight 'w' holds NaN or infinite values, which only plain fp32 can represent" in capsys.readouterr().out


def test_costs_are_those_of_the_layers(tmp_path: Path) -> None:
    graph = importers.load(saved(cnn(17), tmp_path))
    rows = {row.label: row for row in costs(graph)}
    assert rows["conv"].macs == 6 * 3 * 9 * 8 * 8
    assert rows["conv"].parameters == 6 * 3 * 9 + 6
    assert rows["conv"].nbytes == 4 * (6 * 3 * 9 + 6)
    assert sum(row.macs or 0 for row in rows.values()) == graph.source.macs


def test_a_shared_weight_is_counted_once(tmp_path: Path) -> None:
    nodes = [helper.make_node("MatMul", ["x", "w"], ["h"]), helper.make_node("MatMul", ["h", "w"], ["y"])]
    graph = importers.load(saved(model_of(nodes, [value("x", 1, 4)], [value("y", 1, 4)], [weight("w", 4, 4)]), tmp_path))
    assert [row.nbytes for row in costs(graph)] == [64, 0]
    assert [row.macs for row in costs(graph)] == [16, 16]


def unsupported() -> onnx.ModelProto:
    """Operators without meaning here, in a branch too, and data types that are not supported."""
    inner = helper.make_graph([helper.make_node("RandomNormalLike", ["x"], ["r"], name="noise")], "then", [], [value("r", 2, 2)])
    plain = helper.make_graph([helper.make_node("Identity", ["x"], ["s"])], "else", [], [value("s", 2, 2)])
    nodes = [helper.make_node("If", ["flag"], ["a"], then_branch=inner, else_branch=plain),
             helper.make_node("FusedConv", ["a"], ["y"], name="fused", domain="com.acme"),
             helper.make_node("FusedConv", ["a"], ["z"], name="fused_again", domain="com.acme"),
             helper.make_node("Cast", ["half"], ["h"], to=TensorProto.FLOAT)]
    half = helper.make_tensor("half", TensorProto.BFLOAT16, [2], [1.0, 2.0])
    model = model_of(nodes, [value("x", 2, 2), value("flag", dtype=TensorProto.BOOL), value("words", 3, dtype=TensorProto.STRING)],
                     [value("y", 2, 2), value("z", 2, 2), value("h", 2)], [half])
    model.opset_import.append(helper.make_opsetid("com.acme", 1))
    return model


def test_everything_in_the_way_is_listed_at_once(tmp_path: Path) -> None:
    found = {obstacle.what: obstacle for obstacle in explain(saved(unsupported(), tmp_path)).obstacles}
    assert {what: obstacle.where for what, obstacle in found.items()} == {
        "data type bfloat16": ("half",), "data type string": ("words",), "operator RandomNormalLike": ("noise",),
        "operator com.acme::FusedConv": ("fused", "fused_again")}
    assert "another runtime's own" in found["operator com.acme::FusedConv"].advice
    assert "convert the model's bfloat16 to float32" in found["data type bfloat16"].advice


def test_what_can_be_imported_has_no_obstacles() -> None:
    assert scan(cnn(17)) == []


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = saved(cnn(17), tmp_path)
    assert cli.execute(["explain", str(path)]) == 0
    text = capsys.readouterr().out
    assert text.startswith(f"{path} is supported\ninput x: float32[N, 3, 8, 8]\noutput y: float32[N, 5]\n")
    assert "codebook-4" in text
    assert cli.execute(["explain", str(path), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["supported"] is True
    assert found["source"]["parameters"] == sum(row["parameters"] for row in found["nodes"]) - 12
    bad = saved(unsupported(), tmp_path, "bad.onnx")
    assert cli.execute(["explain", str(bad)]) == 1
    text = capsys.readouterr().out
    assert text.startswith(f"{bad} is not supported:\n")
    assert "com.acme::FusedConv  " in text
    assert cli.execute(["explain", str(tmp_path / "gone.onnx")]) == 2
    assert "there is no file" in capsys.readouterr().err


def test_costs_at_lengths_that_must_be_equal(tmp_path: Path) -> None:
    node = helper.make_node("MatMul", ["x", "h"], ["y"])
    path = saved(model_of([node], [value("x", "A", 2), value("h", 2, 3)], [value("y", "A", 3)], []), tmp_path)
    assert [row.macs for row in costs(importers.load(path))] == [6]
    path = saved(model_of([node], [value("x", 2, "A"), value("h", "B", 3)], [value("y", 2, 3)], []), tmp_path)
    assert [row.macs for row in costs(importers.load(path))] == [None]
    shapes = {"x": (2, 5), "h": (5, 3)}
    assert [row.macs for row in costs(importers.load(path, input_shapes=shapes))] == [30]


def test_no_figure_is_at_a_length_that_nobody_gave(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A convolution of images of any size: neither its multiply-accumulates nor, where no plan fits, its bytes in RAM can be told."""
    nodes = [helper.make_node("Conv", ["x", "w"], ["c"]), helper.make_node("GlobalAveragePool", ["c"], ["y"])]
    model = saved(model_of(nodes, [value("x", "N", 3, "H", "W")], [value("y", "N", 4, 1, 1)], [weight("w", 4, 3, 5, 5)]), tmp_path)

    def said(*arguments: object) -> str:
        assert cli.execute([str(argument) for argument in arguments]) == 0
        return capsys.readouterr().out

    hint = "give it with --input-shape x:N,3,H,W with numbers for names"
    text = said("explain", model)
    assert f"MACs need the length of H, W; {hint}" in text
    assert re.search(r"^total +– +300 +1,200$", text, re.MULTILINE)
    found = json.loads(said("explain", model, "--json"))
    assert (found["needed_lengths"], found["lengths"], [row["macs"] for row in found["nodes"]]) == (["H", "W"], {}, [None, None])
    text = said("explain", model, "--input-shape", "x:N,3,9,8")
    assert "MACs at N = 1" in text
    assert re.search(rf"^total +{300 * 5 * 4:,} ", text, re.MULTILINE)
    thin = tmp_path / "m.thin"
    said("pack", model, "-o", thin)
    text = said("inspect", thin)
    assert f"bytes in RAM need the length of N, H, W; {hint}" in text
    assert "multiply-accumulates that depend on its shapes" in text
    assert json.loads(said("inspect", thin, "--json"))["total"]["nbytes_ram"] is None
    shaped = ("inspect", thin, "--input-shape", "x:1,3,9,8")
    assert json.loads(said(*shaped, "--json"))["total"]["nbytes_ram"] >= 1200
    assert "length" not in said(*shaped)
