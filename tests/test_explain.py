"""``toolchain explain``: costs, estimated sizes against real ones, and everything that is in the way at once."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from test_import_onnx import cnn, model_of, saved, value, weight
from thinfer.formats import writer
from thinfer.toolchain import cli, importers, pipeline, recipe
from thinfer.toolchain.explain import costs, explain
from thinfer.toolchain.importers._obstacles import scan

LENET = Path(__file__).parents[1] / "examples" / "lenet" / "lenet5.pt2"
LOOSE = {"deep-compression": 0.25}
"""Recipes whose sizes hang on how much of each channel is pruned, which a sample of channels tells less well."""


def test_estimated_sizes_are_near_real_ones() -> None:
    found = explain(LENET)
    assert [row.recipe for row in found.recipes] == recipe.presets()
    graph = importers.load(LENET)
    for row in found.recipes:
        exact = len(writer.to_bytes(pipeline.compress(graph, recipe.load(row.recipe))))
        assert abs(row.nbytes / exact - 1) < LOOSE.get(row.recipe, 0.1), (row, exact)


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
    graph = importers.load(saved(model_of([node], [value("x", 2, "A"), value("h", "B", 3)], [value("y", 2, 3)], []), tmp_path))
    assert [row.macs for row in costs(graph)] == [6]
    assert np.isfinite(graph.source.macs)
