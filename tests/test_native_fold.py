"""ConvTranspose on the native engine: every encoding of its weight, still encoded, at every ISA level; fused activations; threads."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from graphs import ENCODINGS, encode, error, graph_of, magnitude, reference
from thinfer import runtime
from thinfer.formats.graph import Graph, Node
from thinfer.formats.tensor import EncodedTensor
from thinfer.kernels import isa, ops
from thinfer.kernels.fold.matrix import Unfolded
from thinfer.kernels.ops._op import Case
from thinfer.runtime.partition import NativeSegment

CASES = [case for case in ops.get("ConvTranspose").cases if case.name in ("plain", "pads", "groups", "depthwise", "line", "volume")]


def encoded(case: Case, encoding: str) -> tuple[Graph, dict[str, np.ndarray]]:
    graph, feeds = graph_of(ops.get("ConvTranspose"), case)
    return replace(graph, weights={**graph.weights, "in1": encode(graph.weights["in1"].decode(), encoding, 1)}), feeds


def is_native(session: runtime.Session) -> bool:
    return all(isinstance(segment, NativeSegment) for plan in session._plans.values() for segment in plan.segments)


@pytest.mark.parametrize("level", isa.levels())
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_every_encoding(encoding: str, level: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THINFER_ISA", level)
    for case in CASES:
        graph, feeds = encoded(case, encoding)
        session = runtime.load(graph, backend="native")
        got = session.run(feeds)["out0"]
        if Unfolded(graph.weights["in1"].shape, case.attrs.get("group", 1)).outline(graph.weights["in1"]) is not None:
            assert is_native(session)
        assert error(got, reference(graph, feeds)["out0"], magnitude(graph, feeds)) <= 2e-6, case.name


def test_a_following_clip_is_fused_behind_the_sums() -> None:
    graph, feeds = encoded(CASES[1], "codebook4")
    bounds = {name: EncodedTensor.dense(np.array(value, np.float32)) for name, value in (("low", -0.25), ("high", 0.5))}
    nodes = (replace(graph.nodes[0], outputs=("sum",)), Node("Clip", ("sum", "low", "high"), ("out0",)))
    fused = replace(graph, nodes=nodes, weights={**graph.weights, **bounds})
    session = runtime.load(fused, backend="native")
    got = session.run(feeds)["out0"]
    assert is_native(session)
    np.testing.assert_allclose(got, np.clip(reference(graph, feeds)["out0"], -0.25, 0.5), atol=1e-5)


@pytest.mark.parametrize("encoding", ["fp32", "codebook4"])
def test_threads_do_not_change_results(encoding: str) -> None:
    for case in CASES:
        graph, feeds = encoded(case, encoding)
        one, three = (runtime.load(graph, backend="native", threads=threads).run(feeds)["out0"] for threads in (1, 3))
        np.testing.assert_array_equal(one, three)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_the_matrix_is_the_weight(encoding: str) -> None:
    weight = np.random.default_rng(0).normal(size=(6, 4, 3, 2)).astype(np.float32)
    tensor, unfolded = encode(weight, encoding, 1), Unfolded(weight.shape, 3)
    if unfolded.outline(tensor) is not None:
        found = unfolded.of(tensor).decode().reshape(2, 3, 6, 4)
        np.testing.assert_array_equal(found.transpose(1, 0, 3, 2).reshape(weight.shape), tensor.decode())
