"""RNN, LSTM and GRU on the native engine: every encoding of W and R, still encoded, at every ISA level; states, layouts, threads."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from graphs import ENCODINGS, encode, error, graph_of, reference
from thinfer import runtime
from thinfer.formats.graph import Graph, Node, ValueInfo
from thinfer.formats.tensor import EncodedTensor
from thinfer.kernels import isa, ops
from thinfer.kernels.ops._op import Case
from thinfer.kernels.ops._recurrence_cases import case
from thinfer.kernels.recurrent import walk
from thinfer.kernels.recurrent.slices import Slice
from thinfer.runtime.partition import NativeSegment

SHAPES = {"RNN": (1, 1), "LSTM": (4, 2), "GRU": (3, 1)}
SIZES = (3, 2, 64, 32)
"""Steps, batch, inputs, hidden."""
PRODUCTS = SIZES[2] + SIZES[3]
TOLERANCE = 1e-5
"""fp32 against float64: gates are sums of 96 products of up to 1, whose rounding (some 1e-6) the next step multiplies by R once more.
Rounding of sums grows with the square root of their length (NumPy's own of 527 products is 8e-6)."""


def encoded(name: str, use: Case, encoding: str) -> tuple[Graph, dict[str, np.ndarray]]:
    """The case with W and R encoded."""
    graph, feeds = graph_of(ops.get(name), use)
    weights = dict(graph.weights)
    for place, key in enumerate(("in1", "in2")):
        weights[key] = encode(weights[key].decode(), encoding, 1, seed=place)
    return replace(graph, weights=weights), feeds


def run(graph: Graph, feeds: dict[str, np.ndarray], threads: int = 1) -> dict[str, np.ndarray]:
    session = runtime.load(graph, backend="native", threads=threads)
    got = session.run(feeds)
    assert all(isinstance(segment, NativeSegment) for plan in session._plans.values() for segment in plan.segments)
    return got


def check(graph: Graph, feeds: dict[str, np.ndarray], level: str, monkeypatch: pytest.MonkeyPatch, products: int = PRODUCTS) -> None:
    monkeypatch.setenv("THINFER_ISA", level)
    got = run(graph, feeds)
    for key, expected in reference(graph, feeds).items():
        assert error(got[key], expected) <= TOLERANCE * max(1, products / PRODUCTS) ** 0.5, key


@pytest.mark.parametrize("level", isa.levels())
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_every_encoding(encoding: str, level: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, (gates, states) in SHAPES.items():
        for attrs in ({}, {"direction": "bidirectional", "initial": True}):
            for own in ({"linear_before_reset": 1},) if name == "GRU" else ({},):
                check(*encoded(name, case("", gates, states, sizes=SIZES, **attrs, **own), encoding), level, monkeypatch)


@pytest.mark.parametrize("level", isa.levels())
@pytest.mark.parametrize("encoding", ["fp32", "codebook4", "affine4-block", "sparse binary", "4:16 ternary"])
def test_reset_before_the_product(encoding: str, level: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rows of the gate h are a matrix of their own."""
    for attrs in ({}, {"direction": "bidirectional", "layout": 1, "initial": True}):
        check(*encoded("GRU", case("", 3, 1, sizes=SIZES, **attrs), encoding), level, monkeypatch)


@pytest.mark.parametrize("level", isa.levels())
@pytest.mark.parametrize("encoding", ["fp32", "codebook8"])
@pytest.mark.parametrize("hidden", [19, 130, 520])
def test_one_sequence(encoding: str, hidden: int, level: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Matrix-vector products, every other one from the last row on."""
    graph, feeds = encoded("LSTM", case("", 4, 2, sizes=(5, 1, 7, hidden)), encoding)
    check(graph, feeds, level, monkeypatch, 7 + hidden)
    one, three = run(graph, feeds), run(graph, feeds, 3)
    for key in one:
        np.testing.assert_array_equal(one[key], three[key])


@pytest.mark.parametrize("level", isa.levels())
@pytest.mark.parametrize("encoding", ["fp32", "fp16"])
@pytest.mark.parametrize("hidden", [1, 15, 16, 17, 33, 67])
def test_steps_of_one_sequence_are_one_kernel(hidden: int, encoding: str, level: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of float weights, with all that cells have; whether or not units fill a work item, and forwards and backwards through them."""
    for name, (gates, states) in SHAPES.items():
        own = {"linear_before_reset": 1} if name == "GRU" else {}
        for attrs in ({}, {"direction": "bidirectional", "layout": 1, "initial": True, "clip": 0.7}):
            peepholes = {"peepholes": True} if name == "LSTM" and attrs else {}
            graph, feeds = encoded(name, case("", gates, states, sizes=(4, 1, 5, hidden), **attrs, **own, **peepholes), encoding)
            check(graph, feeds, level, monkeypatch)
            assert f"{name.lower()}_step" in runtime.load(graph, backend="native").profile(feeds)[0].kernels
            one, three = run(graph, feeds), run(graph, feeds, 3)
            for key in one:
                np.testing.assert_array_equal(one[key], three[key])


@pytest.mark.parametrize("level", [level for level in isa.levels() if level.startswith("avx512")])
@pytest.mark.parametrize(("length", "inputs", "hidden"), [(12, 5, 17), (13, 1, 16), (24, 7, 33), (29, 40, 5), (31, 3, 67), (17, 130, 19)])
def test_inputs_of_later_steps(length: int, inputs: int, hidden: int, level: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """W times those is done in steps before, whether there are many or few rows of R for it; all but that of the first steps."""
    monkeypatch.setattr(walk, "FAR", 0)
    for name, (gates, states) in SHAPES.items():
        own = {"linear_before_reset": 1} if name == "GRU" else {}
        for attrs in ({}, {"direction": "reverse", "layout": 1, "initial": True, "clip": 0.7}, {"direction": "bidirectional"}):
            graph, feeds = graph_of(ops.get(name), case("", gates, states, sizes=(length, 1, inputs, hidden), **attrs, **own))
            check(graph, feeds, level, monkeypatch)
            kernels = runtime.load(graph, backend="native").profile(feeds)[0].kernels
            assert len(kernels) - kernels.count(f"{name.lower()}_step") == (2 if attrs.get("direction") == "bidirectional" else 1)
            one = run(graph, feeds)
            for threads in (2, 3):
                many = run(graph, feeds, threads)
                for key in one:
                    np.testing.assert_array_equal(one[key], many[key])


@pytest.mark.parametrize("threads", [2, 3])
def test_threads_do_not_change_results(threads: int) -> None:
    for name, (gates, states) in SHAPES.items():
        graph, feeds = encoded(name, case("", gates, states, sizes=(6, 3, 33, 130), direction="bidirectional"), "codebook4")
        one, many = (run(graph, feeds, count) for count in (1, threads))
        for key in one:
            np.testing.assert_array_equal(one[key], many[key])


def lanes_of(graph: Graph, feeds: dict[str, np.ndarray], threads: int) -> list[set[int | None]]:
    """The lanes of the steps of each node with steps."""
    session = runtime.load(graph, backend="native", threads=threads)
    session.run(feeds)
    (plan,) = session._plans.values()
    (stage,) = plan.stages
    found: dict[int, set[int | None]] = {}
    for step in stage.program.steps:  # type: ignore[union-attr]
        found.setdefault(step.unit, set()).add(step.lane)
    return list(found.values())


def two_layers(hidden: int) -> tuple[Graph, dict[str, np.ndarray]]:
    """One direction, then both."""
    rng = np.random.default_rng(0)
    shapes = {"w": (1, 4 * hidden, 8), "r": (1, 4 * hidden, hidden), "v": (2, 4 * hidden, hidden), "s": (2, 4 * hidden, hidden)}
    weights = {name: EncodedTensor.dense(rng.uniform(-0.2, 0.2, shape).astype(np.float32)) for name, shape in shapes.items()}
    nodes = (Node("LSTM", ("x", "w", "r"), ("a",), {"hidden_size": hidden}), Node("Squeeze", ("a", "axis"), ("b",)),
             Node("LSTM", ("b", "v", "s"), ("y",), {"hidden_size": hidden, "direction": "bidirectional"}))
    graph = Graph((ValueInfo("x", "float32", (30, 1, 8)),), (ValueInfo("y", "float32", (30, 2, 1, hidden)),), nodes,
                  {**weights, "axis": EncodedTensor.dense(np.array([1]))})
    return graph, {"x": rng.normal(size=(30, 1, 8)).astype(np.float32)}


def test_small_nets_do_not_wait_in_each_step() -> None:
    """One thread walks a direction, several directions go side by side; a layer waits for the one before."""
    graph, feeds = two_layers(24)
    assert lanes_of(graph, feeds, 2) == [{None, 0}, {0, 1}]
    assert lanes_of(graph, feeds, 1) == [{None}, {None}]
    session, expected = runtime.load(graph, backend="native", threads=2), run(graph, feeds)["y"]
    for _ in range(200):
        np.testing.assert_array_equal(session.run(feeds)["y"], expected)


def test_large_nets_share_each_step() -> None:
    graph, feeds = encoded("LSTM", case("", 4, 2, sizes=(2, 1, 64, 512)), "fp32")
    assert lanes_of(graph, feeds, 2) == [{None}]


@pytest.mark.parametrize("block", [1, 3, 4])
@pytest.mark.parametrize("attrs", [{}, {"direction": "bidirectional"}, {"layout": 1, "direction": "reverse"}], ids=str)
def test_blocks_of_steps(block: int, attrs: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight steps, of which so many are multiplied with W at a time; one sequence, and several."""
    monkeypatch.setattr(walk, "BLOCK", block)
    for batch in (1, 2):
        graph, feeds = graph_of(ops.get("GRU"), case("", 3, 1, sizes=(8, batch, 6, 5), **attrs))
        got, expected = run(graph, feeds), reference(graph, feeds)
        for key in got:
            assert error(got[key], expected[key]) <= TOLERANCE


def test_weights_stay_encoded() -> None:
    """4-bit indices take half a byte of RAM per weight, and a panel's padding, whatever the number of steps."""
    graph, feeds = encoded("LSTM", case("", 4, 2, sizes=(20, 1, 128, 64), direction="bidirectional"), "codebook4")
    session = runtime.load(graph, backend="native")
    session.run(feeds)
    memory: dict[str, dict[str, Any]] = session.weight_memory()
    for key in ("in1", "in2"):
        assert memory[key]["nbytes"] <= 0.5 * graph.weights[key].size + 2 * (64 + 16 * 4)


@pytest.mark.parametrize("direction", ["forward", "bidirectional"])
@pytest.mark.parametrize(("encoding", "kernel"), [("4:16 codebook4", "sparse_window_codebook"), ("1:32 fp32", "sparse_window_f32"),
                                                  ("sparse fp16", "sparse_window_f16"), ("sparse codebook4", "sparse_window_codebook")])
def test_steps_take_the_kernels_of_one_row(encoding: str, kernel: str, direction: str) -> None:
    """Windows and masks are looked up, not decoded into tiles step by step, also where a direction is half of the weight."""
    graph, feeds = encoded("LSTM", case("", 4, 2, sizes=(4, 1, 64, 64), direction=direction), encoding)
    if isa.selected() in isa.ARM_LEVELS and encoding.startswith("sparse"):
        kernel = kernel.replace("window", "gemv")  # no look-up finds floats there (kernels/sparse/README.md)
    (row,) = runtime.load(graph, backend="native").profile(feeds)
    assert row.kernels.count("lstm_cell") <= row.kernels.count(kernel)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_slices_are_the_rows(encoding: str) -> None:
    array = np.random.default_rng(0).normal(size=(2, 12, 32)).astype(np.float32)
    tensor = encode(array, encoding, 1)
    for part in (Slice(0, 0, 12), Slice(1, 0, 12), Slice(1, 4, 12)):
        if part.outline(tensor) is not None:
            np.testing.assert_array_equal(part.of(tensor).decode(), tensor.decode()[part.direction, part.first:part.last])
