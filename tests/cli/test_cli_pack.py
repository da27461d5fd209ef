"""pack: what it says, which shapes, recipes, data and models it takes, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from command_line import fails, small_net, wide, works
from onnx import TensorProto, helper, numpy_helper


def test_pack_says_what_it_gained(net: Path, tmp_path: Path) -> None:
    target = tmp_path / "out.thin"
    before = 4 * (32 * 27 + 32 + 320 + 10)
    said = works("pack", net, "-o", target, "--recipe", "codebook-4")
    assert said.startswith(f"{target}: {before:,} bytes of weights packed into a file of {target.stat().st_size:,} bytes, ratio ")
    assert works("pack", net, "-o", target, "-q") == ""
    found = json.loads(works("pack", net, "-o", target, "--recipe", "codebook-4", "--json"))
    assert found["nbytes_before"] == before
    assert found["nbytes"] == target.stat().st_size
    assert found["ratio"] == pytest.approx(before / found["nbytes"])


def test_pack_writes_beside_the_model_by_default(tmp_path: Path) -> None:
    model = small_net(tmp_path)
    works("pack", model)
    assert model.with_suffix(".thin").read_bytes()[:4] == b"THIN"


def test_pack_takes_shapes_and_a_recipe_from_a_file(net: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("overrides: [{match: fc, values: fp16}]")
    works("pack", net, "-o", "x.thin", "--recipe", "mine.yaml", "--input-shape", "image:4,3,16,16", cwd=tmp_path)
    found = json.loads(works("inspect", tmp_path / "x.thin", "--json"))
    assert found["inputs"] == [{"name": "image", "dtype": "float32", "shape": [4, 3, 16, 16]}]
    assert [w["values"] for node in found["nodes"] for w in node["weights"]] == ["fp32", "fp32", "fp16", "fp16"]


def test_pack_prunes_channels_on_calibration_data(net: Path, images: Path, tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text("prune_channels: {fraction: 0.5, scope: layer, importance: apoz}")
    works("pack", net, "-o", tmp_path / "x.thin", "--recipe", tmp_path / "r.yaml", "--data", images)
    found = json.loads(works("inspect", tmp_path / "x.thin", "--json"))
    assert found["nodes"][0]["weights"][0]["shape"] == [16, 3, 3, 3]
    assert found["source"]["parameters"] == 32 * 27 + 32 + 320 + 10


def test_all_unsupported_operators_at_once(tmp_path: Path) -> None:
    nodes = [helper.make_node("Multinomial", ["x"], ["a"], "first"), helper.make_node("RandomNormalLike", ["a"], ["b"], "second"),
             helper.make_node("Multinomial", ["b"], ["y"], "third")]
    graph = helper.make_graph(nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2])],
                              [helper.make_tensor_value_info("y", TensorProto.FLOAT, [2])])
    path = tmp_path / "odd.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    said = fails("pack", path)
    assert all(word in said for word in ("Multinomial", "RandomNormalLike", "first", "second", "third"))


def test_wrong_input_shapes(net: Path) -> None:
    assert "'nobody'" in fails("pack", net, "--input-shape", "nobody:1,3,16,16")
    assert fails("pack", net, "--input-shape", "1,3,16,16") == "the input shape '1,3,16,16' has no name; write NAME:1,3,224,224"
    assert fails("pack", net, "--input-shape", "image:1,3,-1,16").startswith("the input shape 'image:1,3,-1,16' has the dimension '-1'")
    assert fails("pack", net, "--input-shape", "image:1,0,2").startswith("the input shape 'image:1,0,2' has the dimension '0'")
    assert fails("pack", net, "--input-shape", "image:1,3,16,16", "--input-shape", "image:2,3,16,16") == "the input 'image' is given two shapes"
    assert "shape Nx3x16x16, which 1x5x16x16 does not fit" in fails("pack", net, "--input-shape", "image:1,5,16,16")


@pytest.mark.parametrize("shape", [f"{2**31}", f"{10**18}", "9" * 5000, f"{2**27},2,2", "N,M,K,P,Q,R,S,T,300000"])
def test_absurd_input_shapes(net: Path, tmp_path: Path, shape: str) -> None:
    """Of an ONNX model and of torch modules; whatever is asked for, memory is not."""
    (tmp_path / "mine.py").write_text("import torch\ndef make():\n    return torch.nn.Sequential(torch.nn.Linear(6, 4))\n")
    module = torch.nn.Sequential(torch.nn.Linear(6, 4))
    torch.save(module.state_dict(), tmp_path / "s.pt")
    torch.export.save(torch.export.export(module, (torch.zeros(2, 6),)), tmp_path / "p.pt2")
    for arguments in ((net, "--input-shape", f"image:{shape}"), (tmp_path / "p.pt2", "--input-shape", f"input:{shape}"),
                      (tmp_path / "s.pt", "--arch", "mine:make", "--input-shape", f"input:{shape}")):
        said = fails("pack", *arguments, "-o", tmp_path / "x.thin", cwd=tmp_path)
        assert "too large" in said or "does not fit" in said, said
    assert len(said) < 300


def test_inputs_larger_than_any_memory_are_refused_at_once(tmp_path: Path) -> None:
    assert fails("pack", wide(2**62, tmp_path / "wide.onnx")) == f"input 'x' has the shape {2**62}x4, which is larger than any memory"


def test_wrong_recipes(net: Path, tmp_path: Path) -> None:
    assert "the presets are affine-4, binary, codebook-2" in fails("pack", net, "--recipe", "tiny")
    assert fails("pack", net, "--recipe", "Codebook4").endswith("; did you mean 'codebook-4'?")
    assert fails("pack", net, "--recipe", net) == f"the recipe {net} is no text, so it is no YAML"
    recipe = tmp_path / "r.yaml"
    recipe.write_text("overrides:\n- {match: fc, bits: 3}\n")
    assert "there is no key 'bits' in overrides[0]; the valid keys are" in fails("pack", net, "--recipe", recipe)
    recipe.write_text("overrides:\n- {match: encoder*, values: fp16}\n")
    said = fails("pack", net, "--recipe", recipe)
    assert said.startswith(f"recipe {recipe}: overrides[0].match 'encoder*' matches nothing; the model has conv.weight, conv, ")
    recipe.write_text("costs=3")
    assert "a recipe is 'costs=3'; it must be a mapping with keys of activations, " in fails("pack", net, "--recipe", recipe)
    recipe.write_text("values: [\n")
    assert fails("pack", net, "--recipe", recipe) == (f"recipe {recipe} is not YAML: expected the node content, but found '<stream end>' "
                                                      "(line 2, column 1)")
    recipe.write_text("prune_channels: {fraction: 0.5, importance: apoz}")
    assert "calibration data" in fails("pack", net, "--recipe", recipe)


@pytest.mark.parametrize(("arrays", "reason"), [
    ({"picture": np.zeros((2, 3, 16, 16), np.float32)}, "there is no input 'picture'"),
    ({}, "the input 'image' is missing"),
    ({"image": np.zeros((2, 3, 16, 16))}, "has dtype float64"),
    ({"image": np.full((2, 3, 16, 16), "a")}, "has dtype <U1; the model takes float32"),
    ({"image": np.zeros((2, 4, 16, 16), np.float32)}, "has shape (2, 4, 16, 16)"),
    ({"image": np.float32(1)}, "has shape ()"),
    ({"image": np.zeros((0, 3, 16, 16), np.float32)}, "is empty"),
    ({"image": np.full((2, 3, 16, 16), np.nan, np.float32)}, "infinite or no numbers"),
])
def test_calibration_data_is_checked_whatever_the_recipe(net: Path, tmp_path: Path, arrays: dict[str, np.ndarray], reason: str) -> None:
    np.savez(tmp_path / "c.npz", **arrays)
    (tmp_path / "apoz.yaml").write_text("prune_channels: {fraction: 0.5, importance: apoz}")
    for recipe in ("dense", tmp_path / "apoz.yaml"):
        said = fails("pack", net, "-o", tmp_path / "x.thin", "--data", tmp_path / "c.npz", "--recipe", recipe)
        assert said.startswith(f"the data in {tmp_path / 'c.npz'} cannot be used: ")
        assert reason in said


def test_data_that_nothing_depends_on_are_told(net: Path, images: Path, tmp_path: Path) -> None:
    said = works("pack", net, "-o", tmp_path / "x.thin", "--data", images).splitlines()
    assert said[1] == f"{images} changed nothing: nothing in this recipe depends on calibration data"
    assert "changed nothing" not in works("pack", net, "-o", tmp_path / "x.thin", "--data", images, "--recipe", "codebook-2-int8")


def test_calibration_of_a_model_that_takes_one_number(tmp_path: Path) -> None:
    value = helper.make_tensor_value_info
    weight = numpy_helper.from_array(np.ones((3, 5), np.float32), "w")
    rows = numpy_helper.from_array(np.ones((2, 3), np.float32), "rows")
    nodes = [helper.make_node("Mul", ["rows", "x"], ["a"]), helper.make_node("MatMul", ["a", "w"], ["b"]), helper.make_node("Relu", ["b"], ["c"]),
             helper.make_node("MatMul", ["c", "v"], ["y"])]
    graph = helper.make_graph(nodes, "g", [value("x", TensorProto.FLOAT, [])], [value("y", TensorProto.FLOAT, [2, 4])],
                              [rows, weight, numpy_helper.from_array(np.ones((5, 4), np.float32), "v")])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), tmp_path / "m.onnx")
    np.savez(tmp_path / "c.npz", x=np.float32(1))
    (tmp_path / "apoz.yaml").write_text("prune_channels: {fraction: 0.5, importance: apoz}")
    said = fails("pack", tmp_path / "m.onnx", "--data", tmp_path / "c.npz", "--recipe", tmp_path / "apoz.yaml")
    assert said == "the calibration data for 'x' is one number; importance 'apoz' needs arrays with samples first"


def test_calibration_of_a_fixed_batch_takes_any_number_of_samples(net: Path, images: Path, tmp_path: Path) -> None:
    (tmp_path / "apoz.yaml").write_text("prune_channels: {fraction: 0.5, scope: layer, importance: apoz}")
    works("pack", net, "-o", tmp_path / "x.thin", "--data", images, "--recipe", tmp_path / "apoz.yaml", "--input-shape", "image:4,3,16,16")
