"""Every operator × case × encoding × backend × ISA level against the operators' NumPy implementations in float64."""

from __future__ import annotations

import os
from importlib.util import find_spec

import numpy as np
import pytest
from graphs import DENSE_VALUES, ENCODINGS, OTHER_STRUCTURES, error, graph_of, magnitude, reference, weight_cases
from thinfer import runtime
from thinfer.kernels import isa, ops
from thinfer.kernels.ops._op import Case

LEVELS = [f"native-{level}" for level in isa.levels()]
COMPILED = [*(["numba"] if find_spec("numba") else []), *LEVELS]
TARGETS = ["numpy", *COMPILED]
LARGE = os.environ.get("THINFER_LARGE", "1") != "0"
"""Whether layers of the size that benchmarks time are among the cases: references in float64 take minutes of them under qemu."""
CASES = [(name, case) for name in ops.names() for case in ops.get(name).cases if LARGE or not case.bench]
ENCODED = [(name, case) for name in ("Conv", "Gemm", "MatMul") for case in weight_cases(ops.get(name)) if LARGE or not case.bench]
QUICK = ENCODINGS[len(DENSE_VALUES):]
"""Encodings that large cases are left out for: ``test_native_tiles`` has some."""
SELL = ("sparse fp32", "sparse codebook4", "sparse binary")
IN_NUMPY = ("transposed_both", "transposed_first", "vector_second", "vectors", "batch_times_vector", "weight_first")
"""Cases that no kernel but native ones of ``SELL`` runs; in NumPy, what is absent is zero."""
TOLERANCE = 2e-6
"""fp32 against float64, error = max|Δ| / max|reference|: sums of at most a few thousand products."""


def session_on(target: str, graph: object, monkeypatch: pytest.MonkeyPatch, threads: int = 1) -> runtime.Session:
    backend, _, level = target.partition("-")
    if level:
        monkeypatch.setenv("THINFER_ISA", level)
    session = runtime.load(graph, backend=backend, threads=threads)  # type: ignore[arg-type]
    assert session.isa == (level or None)
    return session


def check(name: str, case: Case, encoding: str | None, target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    graph, feeds = graph_of(ops.get(name), case, encoding)
    expected = reference(graph, feeds)
    got = session_on(target, graph, monkeypatch).run(feeds)
    sums = magnitude(graph, feeds) if encoding is not None else 0.0
    for key, array in got.items():
        assert array.dtype == next(info.dtype for info in graph.outputs if info.name == key)
        assert error(array, expected[key], sums) <= (TOLERANCE if array.dtype != np.float16 else 2e-3), key


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(("name", "case"), CASES, ids=[f"{name}-{case.name}" for name, case in CASES])
def test_operator(name: str, case: Case, target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    check(name, case, None, target, monkeypatch)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("name", ["Conv", "Gemm", "MatMul"])
def test_encoded_weights(name: str, encoding: str, target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for other, case in ENCODED:
        if other == name and not (case.bench and encoding in QUICK):
            check(name, case, encoding, target, monkeypatch)


@pytest.mark.parametrize("target", COMPILED)
@pytest.mark.parametrize("encoding", ["fp32", "codebook4", "sparse fp32", "4:16 affine4-block", "4x1 ternary", "binary"])
@pytest.mark.parametrize("name", ["Conv", "Gemm", "MatMul"])
def test_threads_do_not_change_results(name: str, encoding: str, target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for other, case in ENCODED:
        if other == name:
            graph, feeds = graph_of(ops.get(name), case, encoding)
            one = session_on(target, graph, monkeypatch, threads=1).run(feeds)
            three = session_on(target, graph, monkeypatch, threads=3).run(feeds)
            for key in one:
                np.testing.assert_array_equal(one[key], three[key])


@pytest.mark.parametrize("target", COMPILED)
@pytest.mark.parametrize("encoding", [*(f"{structure} fp32" for structure in OTHER_STRUCTURES), "sparse codebook4",
                                      "sparse binary", "4:16 affine4-block", "4x1 codebook4", "sparse affine4-block", "1x4 fp16"])
@pytest.mark.parametrize("name", ["Conv", "Gemm", "MatMul"])
def test_absent_weights_are_never_multiplied(name: str, encoding: str, target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With Inf in the activations, an output is finite where none of the weights that read it is present."""
    for other, case in ENCODED:
        if other != name or (case.name in IN_NUMPY and (encoding not in SELL or target == "numba")):
            continue
        graph, feeds = graph_of(ops.get(name), case, encoding)
        feeds = {key: array.copy() for key, array in feeds.items()}
        for array in feeds.values():
            array.flat[:: max(array.size // 3, 1)] = np.inf
        expected = by_present_weights(graph, feeds)
        got = session_on(target, graph, monkeypatch).run(feeds)["out0"]
        np.testing.assert_array_equal(np.isfinite(got), expected, err_msg=case.name)


def by_present_weights(graph, feeds: dict[str, np.ndarray]) -> np.ndarray:  # type: ignore[no-untyped-def]
    """bool of the output's shape: True where no present weight meets an Inf (the node run on 0/1 arrays: Inf inputs × present weights)."""
    from dataclasses import replace

    from thinfer.formats.tensor import Dense, EncodedTensor

    encoded = next(name for name, tensor in graph.weights.items() if not isinstance(tensor.structure, Dense))
    tensor = graph.weights[encoded]
    present = EncodedTensor.dense(tensor.kept().reshape(tensor.shape).astype(np.float32))
    others = {key: EncodedTensor.dense(np.zeros_like(value.decode())) for key, value in graph.weights.items() if key != encoded}
    counting = replace(graph, weights={encoded: present, **others})
    return reference(counting, {key: np.isinf(array).astype(np.float32) for key, array in feeds.items()})["out0"] == 0
