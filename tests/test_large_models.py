"""Models whose weights lie in external data: mapped, packed tensor by tensor, never in memory twice."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from test_import_onnx import model_of, value
from thinfer import runtime

SCRIPT = """
import json, re, sys, threading, time

def status():
    text = open("/proc/self/status").read()
    return {key: int(re.search(rf"{key}:\\s+(\\d+)", text)[1]) * 1024 for key in ("VmRSS", "RssAnon")}

import onnx.checker, onnx.shape_inference
from thinfer.formats import writer
from thinfer.toolchain import importers, pipeline, recipe
import thinfer.toolchain.importers.onnx

before, peak, done = status(), {"VmRSS": 0, "RssAnon": 0}, threading.Event()

def watch():
    while not done.wait(0.005):
        for key, size in status().items():
            peak[key] = max(peak[key], size)

watcher = threading.Thread(target=watch)
watcher.start()
writer.write(pipeline.compress(importers.load(sys.argv[1]), recipe.load(sys.argv[3])), sys.argv[2])
done.set()
watcher.join()
print(json.dumps({key: peak[key] - before[key] for key in peak}))
"""


def with_large_weights(folder: Path, count: int, rows: int, columns: int, filled: int = 0) -> tuple[Path, int]:
    """A chain of ``count`` products; the first ``filled`` rows of each weight are 1, 2 … in every column, the file's rest is a hole.

    Returns the model and the bytes of its weights."""
    nbytes = rows * columns * 4
    with (folder / "weights.bin").open("wb") as file:
        file.truncate(count * nbytes)
        for place in range(count):
            file.seek(place * nbytes)
            file.write(np.repeat(np.arange(1, filled + 1, dtype=np.float32), columns).tobytes())
    tensors, nodes = [], []
    for place in range(count):
        entries = [("location", "weights.bin"), ("offset", str(place * nbytes)), ("length", str(nbytes))]
        tensors.append(TensorProto(name=f"w{place}", dims=[rows, columns], data_type=TensorProto.FLOAT, data_location=TensorProto.EXTERNAL,
                                   external_data=[onnx.StringStringEntryProto(key=key, value=text) for key, text in entries]))
        nodes += [helper.make_node("MatMul", ["x", f"w{place}"], [f"p{place}"]),
                  helper.make_node("Add", [f"p{place}", f"s{place - 1}" if place else "x0"], [f"s{place}"])]
    model = model_of(nodes, [value("x", 1, rows), value("x0", 1, columns)], [value(f"s{count - 1}", 1, columns)], tensors)
    path = folder / "model.onnx"
    path.write_bytes(model.SerializeToString())
    return path, count * nbytes


def packed(path: Path, name: str) -> tuple[Path, dict[str, int]]:
    """The file, and by how much memory grew at most while it was made: in all, and of that what is no file's."""
    target = path.with_suffix(".thin")
    done = subprocess.run([sys.executable, "-c", SCRIPT, str(path), str(target), name], capture_output=True, text=True, check=True)
    return target, json.loads(done.stdout)


def test_external_weights_are_in_memory_once(tmp_path: Path) -> None:
    path, nbytes = with_large_weights(tmp_path, 4, 4096, 2048, filled=2)
    assert nbytes == 128 << 20
    target, grown = packed(path, "dense")
    assert grown["RssAnon"] < nbytes / 4
    assert grown["VmRSS"] < 1.25 * nbytes
    session = runtime.load(target)
    x = np.zeros((1, 4096), np.float32)
    x[0, :3] = 1, 10, 100
    np.testing.assert_array_equal(session.run(None, {"x": x, "x0": np.zeros((1, 2048), np.float32)})[0], np.full((1, 2048), 4 * 21, np.float32))


@pytest.mark.slow
def test_more_than_two_gigabytes(tmp_path: Path) -> None:
    path, nbytes = with_large_weights(tmp_path, 5, 16384, 8192, filled=2)
    assert nbytes > 1 << 31
    target, grown = packed(path, "fp16")
    assert target.stat().st_size > nbytes // 2
    assert grown["RssAnon"] < 1.1 * nbytes // 2 + nbytes / 5  # what is written, and one weight on the way
    assert grown["VmRSS"] < 1.8 * nbytes
    target.unlink()
    target, grown = packed(path, "dense")
    assert target.stat().st_size > nbytes
    assert grown["RssAnon"] < nbytes / 5
    assert grown["VmRSS"] < 1.25 * nbytes
