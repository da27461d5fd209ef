"""bench: what is compared, and inputs that are made up for it and for verify."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import onnx
import pytest
from command_line import fails, wide, works
from onnx import helper, numpy_helper


def test_bench_says_what_it_compares_with(net: Path, thin: Path) -> None:
    text = works("bench", thin)
    assert "this graph, expanded" in text
    found = json.loads(works("bench", thin, "--against", net, "--threads", 2, "--json"))
    own, dense = found["contenders"]
    assert found["threads"] == 2
    assert own["name"] == str(thin)
    assert dense["name"] == f"{net} packed dense"
    assert own["nbytes_file"] == thin.stat().st_size
    assert dense["nbytes_file"] > 4 * (32 * 27 + 320)
    assert dense["file_ratio"] == pytest.approx(dense["nbytes_file"] / own["nbytes_file"])
    assert 0 < own["seconds_min"] <= own["seconds_median"]
    assert dense["speedup"] == pytest.approx(dense["seconds_median"] / own["seconds_median"])
    assert 0 < dense["error"] < 1


def test_bench_profile_says_what_each_node_takes(thin: Path, net: Path) -> None:
    text = works("bench", thin, "--profile")
    assert "roofs at ISA level" in text or "no compiled kernels" in text
    assert "a whole run: min" in text
    found = json.loads(works("bench", thin, "--profile", "--threads", 2, "--json"))
    assert found["threads"] == 2
    assert abs(sum(node["share"] for node in found["nodes"]) - 1) < 1e-6
    assert any(node["macs"] for node in found["nodes"])
    assert all(node["seconds_min"] <= node["seconds_median"] for node in found["nodes"])
    if found["roofs"] is not None:
        assert all(node["roof"] > 0 for node in found["nodes"] if node["seconds_min"] > 0)
    assert "--profile looks at FILE alone" in fails("bench", thin, "--profile", "--against", net)


def test_bench_of_the_expanded_graph_finds_the_same_outputs(thin: Path) -> None:
    found = json.loads(works("bench", thin, "--json"))
    assert found["contenders"][1]["error"] < 1e-5


@pytest.fixture
def long_windows(tmp_path: Path) -> tuple[Path, Path]:
    """A model that wants more than 32 along a free dimension, and two free dimensions that are equal; and the same packed."""
    nodes = [helper.make_node("Pad", ["x", "pads"], ["p"], mode="reflect"), helper.make_node("ReduceSum", ["p", "axis"], ["r"], keepdims=0),
             helper.make_node("Add", ["r", "s"], ["y"])]
    constants = [numpy_helper.from_array(np.int64([0, 0, 0, 40]), "pads"), numpy_helper.from_array(np.int64([1]), "axis")]
    infos = [helper.make_tensor_value_info("x", 1, ["N", "T"]), helper.make_tensor_value_info("s", 1, [2, "M"])]
    graph = helper.make_graph(nodes, "long", infos, [helper.make_tensor_value_info("y", 1, [2, "N"])], constants)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 22)], ir_version=10), tmp_path / "long.onnx")
    works("pack", tmp_path / "long.onnx", "-o", tmp_path / "long.thin")
    return tmp_path / "long.onnx", tmp_path / "long.thin"


def test_free_dimensions_get_lengths_that_fit(long_windows: tuple[Path, Path], tmp_path: Path) -> None:
    model, thin = long_windows
    (output,) = json.loads(works("verify", thin, "--against", model, "--json"))["outputs"]
    assert output["shape"] == [2, 8]
    assert output["error"] < 1e-5
    works("bench", thin)
    shapes = ("--input-shape", "x:3,50", "--input-shape", "s:2,3")
    assert json.loads(works("verify", thin, "--against", model, "--json", *shapes))["outputs"][0]["shape"] == [2, 3]
    works("bench", thin, *shapes)
    np.savez(tmp_path / "x.npz", x=np.ones((3, 50), np.float32), s=np.ones((2, 3), np.float32))
    works("bench", thin, "--data", tmp_path / "x.npz")
    assert "--input-shape is for inputs that are made up" in fails("bench", thin, "--data", tmp_path / "x.npz", *shapes)


def test_no_length_fits(long_windows: tuple[Path, Path]) -> None:
    _, thin = long_windows
    assert re.search(r"no common lengths of T fit the model .*--data X.npz, or their shapes with --input-shape",
                     fails("bench", thin, "--input-shape", "x:3,T", "--input-shape", "s:2,5"))


@pytest.mark.parametrize("length", [2**29, 2**40])
def test_inputs_too_large_to_be_made_up(length: int, tmp_path: Path) -> None:
    path = wide(length, tmp_path / "wide.onnx")
    works("pack", path)
    for command in (("bench", path.with_suffix(".thin")), ("verify", path.with_suffix(".thin"), "--against", path)):
        said = fails(*command)
        assert "at most 268,435,456 are made up" in said or said == "there is not enough memory for this model"


def test_data_come_in_runs_as_for_pack(tmp_path: Path) -> None:
    nodes = [helper.make_node("ReduceSum", ["x", "axis"], ["r"], keepdims=0), helper.make_node("Add", ["r", "rate"], ["y"])]
    infos = [helper.make_tensor_value_info("x", 1, ["T", 4]), helper.make_tensor_value_info("rate", 1, [])]
    graph = helper.make_graph(nodes, "runs", infos, [helper.make_tensor_value_info("y", 1, [4])], [numpy_helper.from_array(np.int64([0]), "axis")])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 22)], ir_version=10), tmp_path / "m.onnx")
    data, thin = tmp_path / "x.npz", tmp_path / "m.thin"
    np.savez(data, x=np.ones((3, 7, 4), np.float32), rate=np.float32(2))
    works("pack", tmp_path / "m.onnx", "--recipe", "int8", "--data", data)
    assert json.loads(works("verify", thin, "--against", tmp_path / "m.onnx", "--data", data, "--json"))["outputs"][0]["shape"] == [12]
    found = json.loads(works("bench", thin, "--data", data, "--json"))
    assert found["lengths"] == {"T": 7}
    assert found["inputs"] == f"the first of {data}"
    assert f"inputs: the first of {data}, T = 7" in works("bench", thin, "--data", data, "--profile")
    assert "inputs: random, standard normal, seed 0, T = 1\n" in works("bench", thin, "--profile")
    assert "seed 0, T = 5\n" in works("verify", thin, "--against", tmp_path / "m.onnx", "--input-shape", "x:5,4")
    refused = {"there are no samples in it": {"x": np.ones((0, 7, 4), np.float32), "rate": np.float32(2)},
               "input 'x' has dtype float64; the model takes float32": {"x": np.ones((7, 4)), "rate": np.float32(2)},
               "arrays with one axis more than their inputs are samples, but they differ in number: 3 of 'x' and 2 of 'rate'":
               {"x": np.ones((3, 7, 4), np.float32), "rate": np.ones(2, np.float32)}}
    for said, arrays in refused.items():
        np.savez(data, **arrays)  # type: ignore[arg-type]
        for command in (("bench", thin), ("verify", thin, "--against", tmp_path / "m.onnx")):
            assert fails(*command, "--data", data) == f"the data in {data} cannot be used: {said}"


def test_outputs_without_numbers_have_no_error(net: Path, thin: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", image=np.full((1, 3, 16, 16), np.nan, np.float32))
    found = json.loads(works("bench", thin, "--data", tmp_path / "x.npz", "--json"))
    assert [row["error"] for row in found["contenders"]] == [None, None]
    assert [row["nonfinite"] for row in found["contenders"]] == [10, 10]


def test_options_for_reading_a_model_need_one(net: Path, thin: Path) -> None:
    assert "--arch says how to read MODEL" in fails("bench", thin, "--arch", "a:b")
    assert "--trust-pickle says how to read MODEL" in fails("bench", thin, "--profile", "--trust-pickle")
    said = f"--arch is for state dicts, but {net} is an ONNX model, which says itself what it computes; leave --arch out"
    for arguments in (("pack", net, "-q"), ("explain", net), ("verify", thin, "--against", net), ("bench", thin, "--against", net)):
        assert fails(*arguments, "--arch", "a:b") == said
