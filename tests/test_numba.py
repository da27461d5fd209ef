"""The Numba backend: what test_backends.py and others, which run on every backend, do not ask."""

from __future__ import annotations

import importlib.util
import time
from pathlib import Path

import numpy as np
import pytest
from graphs import encode
from thinfer import runtime
from thinfer.formats.graph import Graph, Node, ValueInfo

numba = pytest.importorskip("numba")

SLOWER_AT_MOST = 5.0


def layer(encoding: str, outputs: int = 24, inputs: int = 40) -> Graph:
    weights = {"w": encode(np.random.default_rng(0).standard_normal((outputs, inputs)).astype(np.float32), encoding)}
    return Graph((ValueInfo("x", "float32", ("n", inputs)),), (ValueInfo("y", "float32", ("n", outputs)),),
                 (Node("Gemm", ("x", "w"), ("y",), {"transB": 1}),), weights)


@pytest.mark.parametrize(("encoding", "most"), [("codebook4", 0.5), ("binary", 0.125), ("sparse codebook2", 1.0), ("4:16 fp16", 1.5),
                                               ("affine4-block", 0.5)])
def test_weights_stay_encoded(encoding: str, most: float) -> None:
    """Bytes per weight in RAM, with tables small beside them."""
    graph = layer(encoding, 256, 1024)
    held = runtime.load(graph, backend="numba").weight_memory()["w"]
    assert held["layout"].startswith("rows ")
    assert held["nbytes"] <= most * 256 * 1024 + 16 * 1024 + graph.weights["w"].values.nbytes_tables


@pytest.mark.parametrize("rows", [1, 2, 8, 9, 513])
def test_any_number_of_rows(rows: int) -> None:
    graph, x = layer("codebook3"), np.random.default_rng(1).standard_normal((rows, 40)).astype(np.float32)
    expected = x.astype(np.float64) @ graph.weights["w"].decode().astype(np.float64).T
    for threads in (1, 64):  # Numba has fewer; it takes as many as it has
        got = runtime.load(graph, backend="numba", threads=threads).run({"x": x})["y"]
        np.testing.assert_allclose(got, expected, atol=1e-5 * np.abs(expected).max())


def test_inputs_that_cannot_be_written_or_lie_apart() -> None:
    graph, x = layer("fp32"), np.random.default_rng(1).standard_normal((6, 80)).astype(np.float32)[:, ::2]
    x.flags.writeable = False
    got = runtime.load(graph, backend="numba").run({"x": x})["y"]
    np.testing.assert_allclose(got, x.astype(np.float64) @ graph.weights["w"].decode().T, rtol=1e-5, atol=1e-5)


def test_missing_numba_is_said_in_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(runtime.session.BackendError, match=r"needs the package numba.*pip install 'thinfer\[numba\]'"):
        runtime.load(layer("fp32"), backend="numba")


@pytest.mark.slow
def test_within_five_times_of_native_at_avx2(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from thinfer.benchmarks import networks

    monkeypatch.setenv("THINFER_ISA", "avx2")
    path = networks.packed("efficientnet-lite0", "dense", tmp_path)
    sessions = [runtime.load(path, backend=backend) for backend in ("native", "numba")]
    x = {sessions[0].inputs[0].name: np.random.default_rng(0).standard_normal((1, 3, 224, 224)).astype(np.float32)}
    reference, got = (next(iter(session.run(x).values())) for session in sessions)
    assert np.abs(got - reference).max() <= 1e-5 * np.abs(reference).max()
    times: list[list[float]] = [[], []]
    for _ in range(10):
        for session, found in zip(sessions, times):
            for _ in range(5):
                start = time.perf_counter()
                session.run(x)
                found.append(time.perf_counter() - start)
    native, compiled = (min(found) for found in times)
    print(f"EfficientNet-Lite0: native avx2 {native * 1e3:.1f} ms, numba {compiled * 1e3:.1f} ms, {compiled / native:.2f} times")
    assert compiled <= SLOWER_AT_MOST * native
