"""Commands as people type them, through the installed script where there is one: results on stdout, one sentence and exit code 2 for mistakes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

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


def wide(length: int, path: Path) -> Path:
    value = helper.make_tensor_value_info
    graph = helper.make_graph([helper.make_node("ReduceMean", ["x"], ["y"], keepdims=0)], "g", [value("x", TensorProto.FLOAT, [length, 4])],
                              [value("y", TensorProto.FLOAT, [])])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path
