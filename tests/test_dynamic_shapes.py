"""Symbolic lengths: plans per concrete shape, bounded memory over many of them, and shapes that only running tells."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper, parser
from thinfer import runtime
from thinfer.formats import reader, writer
from thinfer.formats.errors import BlobChecksumError
from thinfer.kernels import isa
from thinfer.kernels.ops._op import OpError
from thinfer.runtime.session import MOST_PLANS
from thinfer.toolchain.importers.onnx import convert

LENGTHS = 200


def model(text: str, **weights: np.ndarray) -> onnx.ModelProto:
    found = parser.parse_model('<ir_version: 10, opset_import: ["": 21]>\n' + text)
    found.graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in weights.items())
    onnx.checker.check_model(found)
    return found


def normal(*shape: int) -> np.ndarray:
    return (np.random.default_rng(sum(shape)).standard_normal(shape) / np.sqrt(shape[-1])).astype(np.float32)


def recurrent() -> onnx.ModelProto:
    """Conv over a line of any length, LSTM, and a layer on every place: 3.5 MB of weights."""
    return model("""g (float[1, 64, N] x) => (float[N, 1024] y) {
        h = Conv <pads = [2, 2]> (x, c)
        a = Relu (h)
        t = Transpose <perm = [2, 0, 1]> (a)
        s = LSTM <hidden_size = 256> (t, l, r)
        shape = Shape (s)
        n = Gather (shape, zero)
        n1 = Unsqueeze (n, axes)
        target = Concat <axis = 0> (n1, rest)
        f = Reshape (s, target)
        g1 = MatMul (f, m)
        y = Add (g1, b)
    }""", c=normal(256, 64, 5), l=normal(1, 1024, 256), r=normal(1, 1024, 256), m=normal(256, 1024), b=normal(1024), zero=np.array(0),
                 axes=np.array([0]), rest=np.array([256]))


def resident() -> int:
    """Bytes of this process that lie in RAM."""
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * 4096


def feed_many_lengths(backend: str, path: str) -> None:
    """Runs in a process of its own; prints what the test looks at."""
    session = runtime.load(path, backend=backend)
    lengths = np.random.default_rng(0).permutation(np.arange(20, 20 + LENGTHS))
    feeds = {int(n): normal(1, 64, int(n)) for n in lengths}
    session.run({"x": feeds[19 + LENGTHS]})
    before, memory = resident(), session.weight_memory()
    sums = [float(np.abs(session.run({"x": feeds[int(n)]})["y"]).sum()) for n in lengths]
    print(json.dumps({"grown": resident() - before, "same": memory == session.weight_memory(), "plans": len(session._plans),
                      "finite": bool(np.isfinite(sums).all())}))


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.parametrize("backend", ["numpy", "native"])
def test_two_hundred_lengths_keep_their_ram(backend: str, tmp_path: Path) -> None:
    """Without sharing, 200 plans would hold 200 × 3.5 MB of packed weights; with an arena for each of them, 200 × 0.2 to 1 MB."""
    path = str(tmp_path / "net.thin")
    writer.write(convert(recurrent(), "net", {}), path)
    assert reader.read(path).inputs[0].shape == (1, 64, "N")
    code = f"import test_dynamic_shapes as t; t.feed_many_lengths({backend!r}, {path!r})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=Path(__file__).parent)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["same"]
    assert found["finite"]
    assert found["plans"] <= MOST_PLANS
    assert found["grown"] < 12e6


@pytest.mark.skipif(isa.native() is None, reason="no compiled kernels")
@pytest.mark.parametrize("threads", [1, 2])
def test_plans_share_one_working_memory(threads: int) -> None:
    """However many lengths there were, a session holds one block, as large as the largest of them needed; as many as there were runs at once."""
    session = runtime.load(convert(recurrent(), "net", {}), threads=threads)
    arenas, needed = session._target.arenas, 0
    for n in np.random.default_rng(0).permutation(np.arange(20, 220)):
        found = session.run({"x": normal(1, 64, int(n))})["y"]
        assert np.isfinite(found).all()
        program = session._plan(((1, 64, int(n)),)).stages[0].program  # type: ignore[union-attr]
        needed = max(needed, program.arena_bytes + threads * (program.scratch_bytes + 64) + 64)
        assert arenas.blocks == 1
        assert arenas.nbytes <= needed + (2 << 20) * (needed >= 4 << 20)  # large ones are whole huge pages
    lengths = [30, 40, 50, 60]
    feeds = [{"x": normal(1, 64, n)} for n in lengths]
    expected = [session.run(fed)["y"] for fed in feeds]
    wrong: list[int] = []

    def work(i: int) -> None:
        for _ in range(10):
            if not np.array_equal(session.run(feeds[i])["y"], expected[i]):
                wrong.append(i)

    workers = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not wrong
    assert arenas.blocks <= 4


@pytest.mark.parametrize("backend", ["numpy", "native"])
def test_every_length_is_right(backend: str) -> None:
    proto = recurrent()
    other = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    session = runtime.load(convert(proto, "net", {}), backend=backend)
    for n in (1, 2, 7, 64, 3, 2):
        x = normal(1, 64, n)
        np.testing.assert_allclose(session.run(None, {"x": x})[0], other.run(None, {"x": x})[0], rtol=1e-4, atol=1e-4)


def test_planning_a_new_length_takes_milliseconds() -> None:
    session = runtime.load(convert(recurrent(), "net", {}))
    start = time.perf_counter()
    for n in range(100, 110):
        session._plan(((1, 64, n),))
    assert (time.perf_counter() - start) / 10 < 0.1  # 10 ms where nothing else runs; a recurrent net's steps are as many as its input's


def test_lengths_that_cannot_be_one_are_planned_by_the_first_run(tmp_path: Path) -> None:
    """The weights are looked at when the file is loaded all the same."""
    proto = model("g (float[1, 4, N] x) => (float[1, 8, M] y) { y = Conv (x, w) }", w=normal(8, 4, 5))
    path = tmp_path / "net.thin"
    writer.write(convert(proto, "net", {}), path)
    assert runtime.load(path).run({"x": normal(1, 4, 9)})["y"].shape == (1, 8, 5)
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)
    with pytest.raises(BlobChecksumError, match="weight 'w'"):
        runtime.load(path)


CHOSEN = """g (float[N, 8] x) => (float[M, 4] y, float[K, 4] all, int64[M] places) {
    h = MatMul (x, w)
    first = Gather <axis = 1> (h, zero)
    positive = Greater (first, limit)
    found = NonZero (positive)
    places = Squeeze (found, zeros)
    rows = Gather (h, places)
    y = MatMul (rows, v)
    z = MatMul (h, v)
    all = Concat <axis = 0> (z, y)
}"""
"""Rows that data choose, in the middle of a net."""


@pytest.mark.parametrize("backend", ["numpy", "native"])
def test_shapes_that_depend_on_data(backend: str) -> None:
    proto = model(CHOSEN, w=normal(8, 8), v=normal(8, 4), zero=np.array(0), zeros=np.array([0]), limit=np.array(0.0, np.float32))
    other = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    session = runtime.load(convert(proto, "net", {}), backend=backend)
    for seed, rows in enumerate((1, 5, 5, 40, 5)):
        x = np.random.default_rng(seed).standard_normal((rows, 8)).astype(np.float32)
        for found, wanted in zip(session.run(None, {"x": x}), other.run(None, {"x": x})):
            assert found.shape == wanted.shape
            np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("backend", ["numpy", "native"])
def test_shapes_that_do_not_fit_are_told_when_they_are_there(backend: str) -> None:
    proto = model("""g (float[N, 12] x, int64[K] shape) => (float[A, 8] y) {
        r = Reshape (x, shape)
        y = MatMul (r, w)
    }""", w=normal(12, 8))
    session = runtime.load(convert(proto, "net", {}), backend=backend)
    x = normal(4, 12)
    assert session.run({"x": x, "shape": np.array([2, 2, 12])})["y"].shape == (2, 2, 8)
    for shape, said in (([5, 5], "Reshape node 'r' reshapes 4x12 to"), ([3, 16], "MatMul node 'y' multiplies 3x16")):
        with pytest.raises(OpError, match=said):
            session.run({"x": x, "shape": np.array(shape)})


@pytest.mark.parametrize("backend", ["numpy", "native"])
def test_a_reshape_to_fed_lengths(backend: str) -> None:
    """What follows a value of unknown shape runs, and what does not depend on it is planned as ever."""
    proto = model("""g (float[N, 12] x, int64[K] shape) => (float[A, B] y, float[N, 8] z) {
        r = Reshape (x, shape)
        s = Softmax (r)
        t = Tanh (s)
        y = Flatten (t)
        h = MatMul (x, w)
        z = Relu (h)
    }""", w=normal(12, 8))
    session = runtime.load(convert(proto, "net", {}), backend=backend)
    other = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    x = normal(4, 12)
    for shape in ([2, 2, 12], [3, 16], [-1], [48, 1, 1, 1]):
        for found, wanted in zip(session.run(None, {"x": x, "shape": np.array(shape)}), other.run(None, {"x": x, "shape": np.array(shape)})):
            assert found.shape == wanted.shape
            np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)
