"""verify: what was lost, measured against the source."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from command_line import fails, works
from onnx import TensorProto, helper


def test_verify_against_onnx(net: Path, images: Path, tmp_path: Path) -> None:
    works("pack", net, "-o", tmp_path / "x.thin")
    for data in ([], ["--data", images]):
        found = json.loads(works("verify", tmp_path / "x.thin", "--against", net, "--json", *data))
        (output,) = found["outputs"]
        assert output["output"] == "scores"
        assert output["shape"] == [40 if data else 8, 10]
        assert output["error"] < 1e-5
        assert output["cosine"] == pytest.approx(1)
        assert output["top1"] == 1
        assert "onnx" in found["reference"]
    assert "100.0 %" in works("verify", tmp_path / "x.thin", "--against", net)


def test_verify_measures_what_was_lost(net: Path, tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text("values: {kind: codebook, bits: 2}")
    works("pack", net, "-o", tmp_path / "x.thin", "--recipe", "binary")
    works("pack", net, "-o", tmp_path / "y.thin", "--recipe", tmp_path / "r.yaml")
    exact, lossy = (json.loads(works("verify", tmp_path / name, "--against", net, "--json"))["outputs"][0] for name in ("x.thin", "y.thin"))
    assert exact["error"] < 1e-5  # the first and last layer are all there is, and exempt
    assert 0.01 < lossy["error"] < 1
    assert lossy["cosine"] < 0.9999


def test_verify_splits_data_for_a_fixed_batch(net: Path, images: Path, tmp_path: Path) -> None:
    works("pack", net, "-o", tmp_path / "x.thin", "--input-shape", "image:4,3,16,16")
    found = json.loads(works("verify", tmp_path / "x.thin", "--against", net, "--data", images, "--json"))
    assert found["outputs"][0]["shape"] == [40, 10]
    assert found["outputs"][0]["error"] < 1e-5
    assert json.loads(works("verify", tmp_path / "x.thin", "--against", net, "--json"))["outputs"][0]["shape"] == [8, 10]


def test_what_is_not_finite_never_agrees(net: Path, tmp_path: Path) -> None:
    x = np.random.default_rng(3).standard_normal((4, 3, 16, 16), dtype=np.float32)
    x[1] = np.nan
    np.savez(tmp_path / "x.npz", image=x)
    works("pack", net, "-o", tmp_path / "x.thin")
    arguments = ("verify", tmp_path / "x.thin", "--against", net, "--data", tmp_path / "x.npz")
    (output,) = json.loads(works(*arguments, "--json"))["outputs"]
    assert output["nonfinite"] == output["reference_nonfinite"] == 10
    assert output["top1"] == 0.75
    assert "scores: 10 elements are not finite, and 10 of the reference" in works(*arguments)


def test_models_that_do_not_correspond(thin: Path, tmp_path: Path) -> None:
    assert "there is no file" in fails("verify", thin, "--against", tmp_path / "none.onnx")
    packed = f"{thin} is a packed file, which inspect, run, verify, bench, tune and convert take; give the model that it was made from"
    for command in ("verify", "bench"):
        assert fails(command, thin, "--against", thin) == packed
    assert fails("pack", thin, "-o", tmp_path / "x.thin") == fails("pack", thin) == fails("explain", thin) == packed
    other = tmp_path / "other.onnx"
    value = helper.make_tensor_value_info
    graph = helper.make_graph([helper.make_node("Relu", ["q"], ["y"])], "g", [value("q", TensorProto.FLOAT, [1, 7])],
                              [value("y", TensorProto.FLOAT, [1, 7])])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), other)
    assert f"{other} cannot be run on image float32[8, 3, 16, 16]" in fails("verify", thin, "--against", other)
    assert "image" in fails("bench", thin, "--against", other)
