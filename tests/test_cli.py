"""The command line, through the installed script where there is one: results on stdout, one sentence and exit code 2 for mistakes."""

from __future__ import annotations

import json
import os
import pty
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import onnx
import pytest
import scipy.stats
import torch
from onnx import TensorProto, helper, numpy_helper
from thinfer.formats import reader
from thinfer.formats.tensor import Codebook
from thinfer.kernels import isa

SCRIPT = Path(sys.executable).parent / "toolchain"
COMMAND = [str(SCRIPT)] if SCRIPT.exists() else [sys.executable, "-m", "thinfer.toolchain"]
ROOT = Path(__file__).resolve().parent.parent


def environment() -> dict[str, str]:
    """This process's, with the import path made absolute, since commands run elsewhere."""
    paths = os.environ.get("PYTHONPATH", "")
    return {**os.environ, "PYTHONPATH": os.pathsep.join(str(Path(p).resolve()) for p in paths.split(os.pathsep) if p), "OMP_NUM_THREADS": "1"}


def toolchain(*arguments: object, cwd: Path | None = None, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *map(str, arguments)], capture_output=True, text=True, cwd=cwd or "/", env={**environment(), **(env or {})})


def works(*arguments: object, cwd: Path | None = None) -> str:
    """stdout of a command that succeeds and says nothing on stderr."""
    found = toolchain(*arguments, cwd=cwd)
    assert found.returncode == 0, found.stderr
    assert found.stderr == ""
    return found.stdout


def fails(*arguments: object, cwd: Path | None = None, env: dict[str, str] | None = None) -> str:
    """The sentence of a command that fails as a user's mistake should."""
    found = toolchain(*arguments, cwd=cwd, env=env)
    assert found.returncode == 2, (found.returncode, found.stdout, found.stderr)
    assert found.stdout == ""
    lines = found.stderr.splitlines()
    assert len(lines) == 1, found.stderr
    assert lines[0].startswith("toolchain: ")
    return lines[0][len("toolchain: "):]


def small_net(folder: Path, seed: int = 0, channels: int = 32) -> Path:
    """Conv, Relu, GlobalAveragePool, Gemm as an ONNX file."""
    rng = np.random.default_rng(seed)
    arrays = {"conv.weight": rng.standard_normal((channels, 3, 3, 3)), "conv.bias": rng.standard_normal(channels),
              "fc.weight": rng.standard_normal((10, channels)), "fc.bias": rng.standard_normal(10)}
    nodes = [helper.make_node("Conv", ["image", "conv.weight", "conv.bias"], ["a"], "conv", pads=[1, 1, 1, 1]),
             helper.make_node("Relu", ["a"], ["b"], "relu"), helper.make_node("GlobalAveragePool", ["b"], ["c"], "pool"),
             helper.make_node("Flatten", ["c"], ["d"], "flat"), helper.make_node("Gemm", ["d", "fc.weight", "fc.bias"], ["scores"], "fc", transB=1)]
    graph = helper.make_graph(nodes, "net", [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 3, 16, 16])],
                              [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["N", 10])],
                              [numpy_helper.from_array(array.astype(np.float32), name) for name, array in arrays.items()])
    path = folder / f"net{seed}_{channels}.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_net(tmp_path_factory.mktemp("nets"))


@pytest.fixture(scope="module")
def thin(net: Path) -> Path:
    path = net.with_name("packed.thin")
    recipe = net.with_name("packed.yaml")
    recipe.write_text("prune_weights: {quality: 0.8}\nvalues: {kind: codebook, bits: 4}\ncoder: huffman\nbiases: {values: fp16}\n")
    works("pack", net, "-o", path, "--recipe", recipe)
    return path


@pytest.fixture(scope="module")
def images(net: Path) -> Path:
    path = net.with_name("images.npz")
    np.savez(path, image=np.random.default_rng(5).standard_normal((40, 3, 16, 16), dtype=np.float32))
    return path


# ---------------------------------------------------------------- what works


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


def test_inspect_adds_up(thin: Path) -> None:
    found = json.loads(works("inspect", thin, "--json"))
    weights = [w for node in found["nodes"] for w in node["weights"]]
    total = found["total"]
    assert total["nbytes_file"] == thin.stat().st_size
    assert total["nbytes_header"] + sum(w["nbytes_file"] for w in weights) == total["nbytes_file"]
    assert total["nbytes_dense"] == sum(w["nbytes_dense"] for w in weights) == 4 * (32 * 27 + 32 + 320 + 10)
    assert total["nbytes_ram"] == sum(w["nbytes_ram"] for w in weights) > 0
    assert total["ratio"] == pytest.approx(total["nbytes_dense"] / total["nbytes_file"])
    conv = weights[0]
    assert (conv["structure"], conv["values"], conv["coder"]) == ("sparse", "codebook-4", "huffman")
    assert 0.3 < conv["sparsity"] < 0.9


def test_inspect_compares_bits_with_the_entropy_of_mask_and_indices(net: Path, tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text("{prune_weights: {quality: 0.7}, values: {kind: codebook, bits: 4}, coder: smallest}")
    thin = tmp_path / "x.thin"
    works("pack", net, "-o", thin, "--recipe", tmp_path / "r.yaml")
    weights = {w["name"]: w for node in json.loads(works("inspect", thin, "--json"))["nodes"] for w in node["weights"]}
    table = reader.read(thin).weights
    for name, row in weights.items():
        tensor = table[name]
        assert row["coder"] == tensor.coder != "smallest"
        assert row["bits_per_weight"] == pytest.approx(8 * row["nbytes_file"] / tensor.size)
        if isinstance(tensor.values, Codebook):
            streams = [tensor.kept(), tensor.values.indices]
            bits = sum(x.size * scipy.stats.entropy(np.unique(x, return_counts=True)[1], base=2) for x in streams)
            as_it_is = 8 * (3 + tensor.values.entries.nbytes)
            assert row["entropy_per_weight"] == pytest.approx((bits + as_it_is) / tensor.size, abs=8 * 4 / tensor.size)


def test_inspect_says_what_nodes_and_codebooks_are(net: Path, thin: Path, tmp_path: Path) -> None:
    found = json.loads(works("inspect", thin, "--json"))
    conv, gemm = found["nodes"][0], found["nodes"][-1]
    assert conv["inputs"] == ["image", "conv.weight", "conv.bias"]
    assert conv["attributes"] == {"pads": [1, 1, 1, 1]}
    assert gemm["attributes"] == {"transB": 1}
    assert gemm["outputs"] == ["scores"]
    assert conv["outputs"] == found["nodes"][1]["inputs"]
    weight, bias = conv["weights"]
    assert (weight["bits"], weight["entries"], weight["groups"]) == (4, "float32", 1)
    assert (bias["bits"], bias["entries"], bias["groups"]) == (None, None, None)
    assert found["backend"] == ("numpy" if isa.native() is None else "native")
    assert found["isa"] == (None if isa.native() is None else isa.selected())
    assert f"in RAM for the backend {found['backend']}, ISA level {found['isa'] or '–'}; " in works("inspect", thin)
    (tmp_path / "r.yaml").write_text("values: {kind: codebook, bits: 2, groups: 4, entries: int8}")
    works("pack", net, "-o", tmp_path / "x.thin", "--recipe", tmp_path / "r.yaml")
    weight = json.loads(works("inspect", tmp_path / "x.thin", "--json"))["nodes"][0]["weights"][0]
    assert (weight["bits"], weight["entries"], weight["groups"]) == (2, "int8", 4)


def test_inspect_for_people(thin: Path) -> None:
    lines = works("inspect", thin).splitlines()
    assert re.split(" {2,}", lines[0]) == ["node", "op", "shape", "encoding", "sparsity", "dense", "RAM", "file", "bits", "entropy", "ratio",
                                           "layout in RAM", "activations"]
    assert lines[2].startswith("conv")
    assert "sparse codebook-4 huffman" in lines[2]
    assert any(line.startswith("total") and f"{thin.stat().st_size:,}" in line for line in lines)


@pytest.mark.parametrize("backend", ["numpy", None])
def test_run_writes_the_outputs(thin: Path, images: Path, tmp_path: Path, backend: str | None) -> None:
    chosen = ["--backend", backend] if backend else []
    assert works("run", thin, "--input", images, "-o", tmp_path / "y.npz", "--threads", 2, *chosen) == ""
    from thinfer import runtime

    expected = runtime.load(thin, backend="numpy").run(dict(np.load(images)))
    with np.load(tmp_path / "y.npz") as found:
        assert found.files == ["scores"]
        np.testing.assert_allclose(found["scores"], expected["scores"], rtol=1e-4, atol=1e-5)


def test_run_without_a_file_to_write_says_what_came_out(thin: Path, images: Path) -> None:
    lines = works("run", thin, "--input", images).splitlines()
    assert lines[2].split()[:4] == ["scores", "float32", "[40,", "10]"]


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


def test_help_and_version() -> None:
    for arguments in ((), ("--help",), ("pack", "--help")):
        assert works(*arguments).startswith("Usage: toolchain")


# ---------------------------------------------------------------- mistakes


def test_usage_mistakes(net: Path, thin: Path) -> None:
    known = "explain, pack, inspect, run, verify, bench, tune, convert, demo"
    assert fails("squeeze") == f"there is no command 'squeeze'; the commands are {known} (see toolchain --help)"
    assert fails("pack") == "missing argument 'MODEL' (see toolchain pack --help)"
    assert "no such option" in fails("inspect", thin, "--xml").lower()
    assert "'--input'" in fails("run", thin)
    assert "'--against'" in fails("verify", thin)
    for number in ("0", "257", "x", "1.5", "9" * 5000):
        assert f"'--threads': '{number}' is not a whole number from 1 to 256" in fails("bench", thin, "--threads", number)


def test_models_that_cannot_be_read(tmp_path: Path, net: Path) -> None:
    assert fails("pack", tmp_path / "none.onnx") == f"there is no file {tmp_path / 'none.onnx'}"
    assert "is a directory" in fails("pack", tmp_path, "-o", tmp_path / "x.thin")
    empty, cut, text = tmp_path / "empty.onnx", tmp_path / "cut.onnx", tmp_path / "text.onnx"
    empty.touch()
    cut.write_bytes(net.read_bytes()[:3000])
    text.write_text("hello")
    for path in (empty, cut, text):
        assert str(path) in fails("pack", path)
        assert not path.with_suffix(".thin").exists()


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


def wide(length: int, path: Path) -> Path:
    value = helper.make_tensor_value_info
    graph = helper.make_graph([helper.make_node("ReduceMean", ["x"], ["y"], keepdims=0)], "g", [value("x", TensorProto.FLOAT, [length, 4])],
                              [value("y", TensorProto.FLOAT, [])])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


@pytest.mark.parametrize("length", [2**29, 2**40])
def test_inputs_too_large_to_be_made_up(length: int, tmp_path: Path) -> None:
    path = wide(length, tmp_path / "wide.onnx")
    works("pack", path)
    for command in (("bench", path.with_suffix(".thin")), ("verify", path.with_suffix(".thin"), "--against", path)):
        said = fails(*command)
        assert "at most 268,435,456 are made up" in said or said == "there is not enough memory for this model"


def test_inputs_larger_than_any_memory_are_refused_at_once(tmp_path: Path) -> None:
    assert fails("pack", wide(2**62, tmp_path / "wide.onnx")) == f"input 'x' has the shape {2**62}x4, which is larger than any memory"


def test_wrong_recipes(net: Path, tmp_path: Path) -> None:
    assert "the presets are affine-4, binary, codebook-2" in fails("pack", net, "--recipe", "tiny")
    recipe = tmp_path / "r.yaml"
    recipe.write_text("overrides:\n- {match: fc, bits: 3}\n")
    assert "there is no key 'bits' in overrides[0]; the valid keys are" in fails("pack", net, "--recipe", recipe)
    recipe.write_text("overrides:\n- {match: encoder*, values: fp16}\n")
    assert "overrides[0].match 'encoder*' matches nothing; the model has conv.weight, conv, " in fails("pack", net, "--recipe", recipe)
    recipe.write_text("prune_channels: {fraction: 0.5, importance: apoz}")
    assert "calibration data" in fails("pack", net, "--recipe", recipe)


def test_places_that_cannot_be_written(net: Path, thin: Path, images: Path, tmp_path: Path) -> None:
    assert "is the model itself" in fails("pack", net, "-o", net)
    assert "there is no folder" in fails("pack", net, "-o", tmp_path / "no" / "x.thin")
    assert "is a folder" in fails("pack", net, "-o", tmp_path)
    assert "there is no folder" in fails("run", thin, "--input", images, "-o", tmp_path / "no" / "y.npz")
    os.mkfifo(tmp_path / "pipe")
    for place in (tmp_path / "pipe", tmp_path, Path(os.devnull)):
        reason = "a folder" if place is tmp_path else "no regular file"
        assert fails("pack", net, "-o", place) == f"cannot write '{place}': it is {reason}"
        assert fails("run", thin, "--input", images, "-o", place) == f"cannot write '{place}': it is {reason}"
    assert os.listdir(tmp_path) == ["pipe"]


def test_no_file_that_is_read_is_overwritten(net: Path, images: Path, tmp_path: Path) -> None:
    recipe, data, model = tmp_path / "r.yaml", tmp_path / "x.npz", tmp_path / "ext.onnx"
    recipe.write_text("values: fp16")
    shutil.copy(images, data)
    onnx.save(onnx.load(net), model, save_as_external_data=True, location="w.bin", size_threshold=0)
    packed = tmp_path / "o.thin"
    works("pack", model, "-o", packed, "-q")
    (tmp_path / "link").symlink_to("w.bin")
    os.link(data, tmp_path / "twin")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    refused = {
        "the model": [("pack", model, "-o", model)],
        "the model's external data": [("pack", model, "-o", tmp_path / name) for name in ("w.bin", "link")],
        "the recipe": [("pack", model, "--recipe", recipe, "-o", recipe)],
        "the calibration data": [("pack", model, "--data", data, "-o", tmp_path / name) for name in ("x.npz", "twin")],
        "the packed file": [("run", packed, "--input", data, "-o", packed), ("convert", packed, "-o", packed)],
        "the input data": [("run", packed, "--input", data, "-o", data), ("run", packed, "--input", tmp_path / "twin", "-o", data)],
    }
    for what, commands in refused.items():
        for arguments in commands:
            assert fails(*arguments) == f"the output {arguments[-1]} is {what} itself; give another file with -o"
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    (tmp_path / "dense").write_bytes(b"a file called like a preset, which is not read")
    works("pack", model, "--recipe", "dense", "-o", tmp_path / "dense", "-q")


def test_links_to_files_are_followed(net: Path, thin: Path, images: Path, tmp_path: Path) -> None:
    (tmp_path / "x.thin").symlink_to("real.thin")
    (tmp_path / "y.npz").symlink_to("real.npz")
    works("pack", net, "-o", tmp_path / "x.thin")
    works("run", thin, "--input", images, "-o", tmp_path / "y.npz")
    assert (tmp_path / "x.thin").is_symlink()
    assert (tmp_path / "y.npz").is_symlink()
    assert sorted(os.listdir(tmp_path)) == ["real.npz", "real.thin", "x.thin", "y.npz"]


def test_files_that_are_no_thin_files(net: Path, thin: Path, images: Path, tmp_path: Path) -> None:
    assert "none.thin" in fails("inspect", tmp_path / "none.thin")
    assert "begins with" in fails("inspect", net)
    cut = tmp_path / "cut.thin"
    cut.write_bytes(thin.read_bytes()[:-7])
    for arguments in (("inspect", cut), ("run", cut, "--input", images), ("verify", cut, "--against", net), ("bench", cut)):
        assert "ends too early" in fails(*arguments)


def test_wrong_data(net: Path, thin: Path, images: Path, tmp_path: Path) -> None:
    bad, single, pickled = tmp_path / "bad.npz", tmp_path / "single.npy", tmp_path / "pickled.npz"
    bad.write_bytes(images.read_bytes()[:200])
    np.save(single, np.zeros(3))
    np.savez(pickled, image=np.array([{}], object))
    assert "there is no file" in fails("run", thin, "--input", tmp_path / "none.npz")
    assert "is not an .npz file" in fails("run", thin, "--input", bad)
    assert "one array without a name" in fails("run", thin, "--input", single)
    assert "is not an .npz file" in fails("run", thin, "--input", pickled)
    assert "is not an .npz file" in fails("pack", net, "--data", bad, "-o", tmp_path / "x.thin")
    np.savez(bad, picture=np.zeros((1, 3, 16, 16), np.float32))
    assert "there is no input 'picture'; the model takes image: float32[N, 3, 16, 16]" in fails("run", thin, "--input", bad)
    np.savez(bad, image=np.zeros((1, 3, 16, 16)))
    assert "has dtype float64; the model takes float32" in fails("run", thin, "--input", bad)
    np.savez(bad, image=np.zeros((1, 4, 16, 16), np.float32))
    assert "has shape (1, 4, 16, 16)" in fails("verify", thin, "--against", net, "--data", bad)


def test_archives_of_another_kind_are_no_data(net: Path, thin: Path, tmp_path: Path) -> None:
    torch.save({"image": torch.zeros(1, 3, 16, 16)}, tmp_path / "state.pt")
    np.savez(tmp_path / "objects.npz", image=np.array([{}], object))
    (tmp_path / "pickle.npz").write_bytes(b"\x80\x04}.")
    for name in ("state.pt", "objects.npz", "pickle.npz"):
        for command in (("pack", net, "-o", tmp_path / "x.thin", "--data"), ("run", thin, "--input"), ("verify", thin, "--against", net, "--data")):
            said = fails(*command, tmp_path / name)
            assert "is not an .npz file of arrays" in said
            assert "allow_pickle" not in said


@pytest.mark.parametrize(("arrays", "reason"), [
    ({"picture": np.zeros((2, 3, 16, 16), np.float32)}, "there is no input 'picture'"),
    ({}, "the input 'image' is missing"),
    ({"image": np.zeros((2, 3, 16, 16))}, "has dtype float64"),
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


def test_an_empty_batch_gives_empty_outputs(net: Path, thin: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", image=np.zeros((0, 3, 16, 16), np.float32))
    for backend in ("numpy", *(["native"] if isa.native() is not None else [])):
        works("run", thin, "--input", tmp_path / "x.npz", "-o", tmp_path / "y.npz", "--backend", backend)
        with np.load(tmp_path / "y.npz") as found:
            assert found["scores"].shape == (0, 10)
    (output,) = json.loads(works("verify", thin, "--against", net, "--data", tmp_path / "x.npz", "--json"))["outputs"]
    assert (output["shape"], output["error"], output["top1"]) == ([0, 10], 0, None)


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


def test_wrong_backends(thin: Path, images: Path) -> None:
    assert "there is no backend 'cuda'" in fails("run", thin, "--input", images, "--backend", "cuda")
    assert "THINFER_ISA is 'z80'" in fails("inspect", thin, env={"THINFER_ISA": "z80"})


def test_models_that_do_not_correspond(thin: Path, tmp_path: Path) -> None:
    assert "there is no file" in fails("verify", thin, "--against", tmp_path / "none.onnx")
    assert "cannot load" in fails("verify", thin, "--against", thin)
    other = tmp_path / "other.onnx"
    value = helper.make_tensor_value_info
    graph = helper.make_graph([helper.make_node("Relu", ["q"], ["y"])], "g", [value("q", TensorProto.FLOAT, [1, 7])],
                              [value("y", TensorProto.FLOAT, [1, 7])])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), other)
    assert f"{other} cannot be run on image float32[8, 3, 16, 16]" in fails("verify", thin, "--against", other)
    assert "image" in fails("bench", thin, "--against", other)


def test_pickles_need_trust_and_state_dicts_an_architecture(tmp_path: Path) -> None:
    module = torch.nn.Sequential(torch.nn.Linear(6, 4))
    torch.save(module, tmp_path / "m.pt")
    torch.save(module.state_dict(), tmp_path / "s.pt")
    (tmp_path / "mine.py").write_text("import torch\ndef make():\n    return torch.nn.Sequential(torch.nn.Linear(6, 4))\n")
    shape = ("--input-shape", "input:N,6")
    assert "--trust-pickle" in fails("pack", tmp_path / "m.pt", *shape)
    assert "--arch" in fails("pack", tmp_path / "s.pt", *shape)
    assert "--input-shape input:N,6 " in fails("pack", tmp_path / "m.pt", "--trust-pickle")
    works("pack", tmp_path / "m.pt", "--trust-pickle", *shape)
    works("pack", tmp_path / "s.pt", "--arch", "mine:make", *shape, cwd=tmp_path)
    assert (tmp_path / "m.thin").read_bytes() == (tmp_path / "s.thin").read_bytes()
    found = json.loads(works("verify", tmp_path / "s.thin", "--against", tmp_path / "s.pt", "--arch", "mine:make", "--json", cwd=tmp_path))
    assert found["outputs"][0]["error"] < 1e-5
    assert found["reference"].startswith("torch")
    assert "--trust-pickle" in fails("verify", tmp_path / "m.thin", "--against", tmp_path / "m.pt")


@pytest.mark.parametrize("content", [
    b"\x80\x04}.", b"\x80\x02cos\nsystem\n.", b"PK\x03\x04damaged", b"\x80\x05" + bytes(50)])
def test_what_is_no_torch_file_is_said_in_our_own_words(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "m.pt").write_bytes(content)
    said = fails("pack", tmp_path / "m.pt", "--input-shape", "input:N,6")
    assert str(tmp_path / "m.pt") in said
    assert all(word not in said for word in ("weights_only", "enforce fail", "Weights only"))


def test_a_cut_torch_file_is_said_in_our_own_words(tmp_path: Path) -> None:
    torch.save({"w": torch.zeros(4000)}, tmp_path / "whole.pt")
    content = (tmp_path / "whole.pt").read_bytes()
    with zipfile.ZipFile(tmp_path / "whole.pt") as whole, zipfile.ZipFile(tmp_path / "lacking.pt", "w") as lacking:
        for name in whole.namelist():
            if not name.endswith("data.pkl"):
                lacking.writestr(name, whole.read(name))
    (tmp_path / "cut.pt").write_bytes(content[:-2000])
    for name in ("lacking.pt", "cut.pt"):
        said = fails("pack", tmp_path / name, "--input-shape", "input:N,6")
        assert "damaged" in said
        assert "enforce fail" not in said


def test_code_of_a_model_that_exits_is_an_error_like_any_other(tmp_path: Path) -> None:
    torch.save({"0.weight": torch.zeros(4, 6), "0.bias": torch.zeros(4)}, tmp_path / "s.pt")
    (tmp_path / "quits.py").write_text("""
import sys, torch
def make():
    sys.exit(0)
class Late(torch.nn.Sequential):
    def forward(self, input):
        sys.exit(0)
def late():
    return Late(torch.nn.Linear(6, 4))
""")
    for factory in ("make", "late"):
        assert "SystemExit" in fails("pack", tmp_path / "s.pt", "--arch", f"quits:{factory}", "--input-shape", "input:N,6", cwd=tmp_path)


@pytest.mark.parametrize(("module", "command"), [("onnx", "pack"), ("click", "pack"), ("yaml", "pack")])
def test_missing_packages_name_the_extra(net: Path, module: str, command: str, tmp_path: Path) -> None:
    """As on a board, where only NumPy is: a stand-in on the path behaves like a package that is not installed."""
    (tmp_path / f"{module}.py").write_text(f"raise ModuleNotFoundError('it is not here', name={module!r})")
    path = os.pathsep.join([str(tmp_path), environment()["PYTHONPATH"]])
    said = fails(command, net, "-o", tmp_path / "x.thin", env={"PYTHONPATH": path})
    assert said.startswith(f"{module} is not installed")
    assert said.endswith('pip install "thinfer[toolchain]"')


# ---------------------------------------------------------------- behaviour of a good citizen


def test_a_closed_pipe_is_no_error(thin: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    process = subprocess.run([*COMMAND, "inspect", str(thin)], stdout=write, stderr=subprocess.PIPE, env=environment(), cwd="/")
    os.close(write)
    assert process.stderr == b""
    assert process.returncode == 141


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is full")
def test_a_full_device_is_one_sentence(thin: Path) -> None:
    for arguments in (["inspect", thin], ["inspect", thin, "--json"], ["--help"]):
        with open("/dev/full", "w") as full:
            found = subprocess.run([*COMMAND, *map(str, arguments)], stdout=full, stderr=subprocess.PIPE, text=True, env=environment(), cwd="/")
        assert (found.returncode, found.stderr) == (2, "toolchain: the output cannot be written: No space left on device\n")


def test_closed_streams(net: Path, thin: Path, tmp_path: Path) -> None:
    def closed(which: str, *arguments: object) -> subprocess.CompletedProcess[str]:
        line = shlex.join([*COMMAND, *map(str, arguments)])
        return subprocess.run(["sh", "-c", f"{line} {which}"], capture_output=True, text=True, env=environment(), cwd="/")

    found = closed(">&-", "inspect", thin)
    assert (found.returncode, found.stdout, found.stderr) == (2, "", "toolchain: the output cannot be written: Bad file descriptor\n")
    found = closed(">&-", "pack", net, "-q", "-o", tmp_path / "x.thin")
    assert (found.returncode, found.stderr) == (0, "")
    found = closed("2>&-", "inspect", tmp_path / "none.thin")
    assert (found.returncode, found.stdout) == (2, "")


@pytest.mark.parametrize("error", ["KeyError('x')", "SystemExit(7)", "RecursionError()"])
def test_a_bug_is_one_sentence_too(error: str, thin: Path) -> None:
    """A defect put into a command's module, with the whole command line around it."""
    code = f"""
import sys
from thinfer.toolchain.cli import inspect
def broken(path):
    raise {error}
inspect.file_report = broken
from thinfer.toolchain.__main__ import main
main()
"""
    arguments = [sys.executable, "-c", code, "inspect", str(thin)]
    found = subprocess.run(arguments, capture_output=True, text=True, env=environment(), cwd="/")
    assert (found.returncode, found.stdout) == (2, "")
    assert re.fullmatch(rf"toolchain: this is a bug in Thinfer: {error.partition('(')[0]}.*; set THINFER_TRACEBACK=1 to see where\n", found.stderr)
    found = subprocess.run(arguments, capture_output=True, text=True, env={**environment(), "THINFER_TRACEBACK": "1"}, cwd="/")
    assert found.returncode == (7 if "Exit" in error else 1)


def test_several_commands_in_one_process(thin: Path, images: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from thinfer.toolchain.__main__ import main

    for _ in range(2):
        monkeypatch.setattr(sys, "argv", ["toolchain", "run", str(thin), "--input", str(images)])
        with pytest.raises(SystemExit, match=r"^0$"):
            main()
        assert capsys.readouterr().out.startswith("output")


def test_an_interrupt_is_quiet(thin: Path) -> None:
    process = subprocess.Popen([*COMMAND, "bench", str(thin)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(), cwd="/")
    time.sleep(2.5)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    if process.returncode != 0:  # it may have been done by then
        assert (process.returncode, out, err) == (130, b"", b"")


def on_a_terminal(*arguments: object) -> str:
    """What a command writes to stderr where that is a terminal."""
    main, side = pty.openpty()
    process = subprocess.Popen([*COMMAND, *map(str, arguments)], stdout=subprocess.DEVNULL, stderr=side, env={**environment(), "TERM": "xterm"})
    os.close(side)
    shown = b""
    while True:
        try:
            part = os.read(main, 65536)
        except OSError:  # closed by the process's end
            break
        if not part:
            break
        shown += part
    os.close(main)
    assert process.wait() == 0
    return shown.decode()


def test_progress_is_shown_on_a_terminal_alone(net: Path, tmp_path: Path) -> None:
    arguments = ("pack", net, "-o", tmp_path / "x.thin", "--recipe", "codebook-8")
    assert "reading" in on_a_terminal(*arguments)
    assert on_a_terminal(*arguments, "-q") == ""


# ---------------------------------------------------------------- demo


def test_demo_elsewhere_says_where_the_files_are_missing(tmp_path: Path) -> None:
    """The installed package knows no checkout; a copy of it stands for that here."""
    import thinfer.toolchain

    source = Path(thinfer.toolchain.__path__[0]).resolve().parent
    for top in ("formats", "kernels", "runtime", "toolchain"):
        (tmp_path / "site" / "thinfer").mkdir(parents=True, exist_ok=True)
        subprocess.run(["cp", "-r", str(source / top), str(tmp_path / "site" / "thinfer" / top)], check=True)
    found = subprocess.run([sys.executable, "-m", "thinfer.toolchain", "demo"], capture_output=True, text=True, cwd=tmp_path,
                           env={**environment(), "PYTHONPATH": str(tmp_path / "site")})
    assert found.returncode == 2
    assert found.stdout == ""
    assert found.stderr.startswith("toolchain: the demo needs lenet5.pt2 and digits.npz, which are not in ")
    assert str(tmp_path / "examples" / "lenet") in found.stderr


def test_demo(tmp_path: Path) -> None:
    """15 times smaller, at most 0.3 points of accuracy lost."""
    found = json.loads(works("demo", "--json", cwd=ROOT))
    thin, dense = found["models"]
    assert found["digits"] == 1000
    assert dense["accuracy"] >= 0.985
    assert thin["accuracy"] >= dense["accuracy"] - 0.003
    assert dense["file_ratio"] >= 15
    assert dense["ram_ratio"] > 2
    lines = works("demo", cwd=ROOT).splitlines()
    assert lines[0].split() == ["dense", "deep-compression", "ratio"]
    assert [line.split()[0] for line in lines[2:6]] == ["accuracy", "file", "weights", "latency,"]
