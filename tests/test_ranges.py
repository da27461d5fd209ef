"""Ranges by the error at the outputs: the same data get other ranges where a net looks at other things."""

from __future__ import annotations

import numpy as np
import pytest
from thinfer.formats.graph import Graph, Node, ValueInfo
from thinfer.formats.tensor import EncodedTensor
from thinfer.runtime import load
from thinfer.toolchain import recipe as recipes
from thinfer.toolchain.passes import _ranges, _suffix
from thinfer.toolchain.passes._histogram import Histogram
from thinfer.toolchain.passes._ranges import PERCENTILES, error, rounded
from thinfer.toolchain.passes.quantize_activations import grid
from thinfer.toolchain.pipeline import compress

F = np.float32
FEATURES, SAMPLES = 64, 256


def data(outliers: int) -> np.ndarray:
    """Normal numbers; so many samples have a 90 as their first feature."""
    x = np.random.default_rng(1).normal(size=(SAMPLES, FEATURES)).astype(F)
    x[np.arange(outliers) * 8, 0] = 90  # among the samples that are looked at
    return x


def net(first: float) -> Graph:
    """A product; ``first`` times the first feature is part of it."""
    w = np.random.default_rng(2).normal(size=(FEATURES, 8)).astype(F)
    w[0] *= first
    return Graph((ValueInfo("x", "float32", ("N", FEATURES)),), (ValueInfo("y", "float32", ("N", 8)),), (Node("MatMul", ("x", "w"), ("y",)),),
                 {"w": EncodedTensor.dense(w, axis=1)})


def lost(graph: Graph, x: np.ndarray, low: float, high: float) -> float:
    """What the output loses where x is quantized to 256 codes over the range, by samples, in float64."""
    how, w = grid(low, high, "int8"), graph.weights["w"].decode().astype(np.float64)
    seen = (np.clip(np.rint(x / F(how.scale)) + how.zero_point, -128, 127) - how.zero_point) * how.scale
    return float((((seen @ w - x @ w) ** 2).sum(1) / ((x @ w) ** 2).sum(1)).sum())


@pytest.mark.parametrize("outliers", [3, 0])
@pytest.mark.parametrize("first", [0.0, 1.0])
def test_the_range_is_the_best_one_tried(first: float, outliers: int) -> None:
    graph, x = net(first), data(outliers)
    histogram = Histogram()
    histogram.add(x)
    plan = recipes.parse("values: {kind: affine, bits: 8}\nactivations: {kind: static, calibration: output}")
    (how,) = compress(graph, plan, calibration={"x": x}).quantized.values()
    looked_at = x[np.unique(np.linspace(0, SAMPLES - 1, 32).astype(int))]
    judged = {grid(*histogram.percentile(percent), "int8"): lost(graph, looked_at, *histogram.percentile(percent)) for percent in PERCENTILES}
    assert judged[how] <= min(judged.values()) * 1.1
    assert (how.scale > 0.3) == bool(first and outliers)


def test_what_is_not_finite_is_worst() -> None:
    right = np.array([3, 4], F)
    assert error({"y": right, "z": right}, {"y": right + F(0.5)}) == pytest.approx(0.5 / 25)
    for wrong in (np.nan, np.inf):
        assert error({"y": right, "z": right}, {"y": right, "z": np.array([3, wrong], F)}) == np.inf
    assert rounded(0.1) == pytest.approx(0.1, rel=1 / 16) == rounded(0.1001)
    assert rounded(np.inf) == np.inf


def branches() -> Graph:
    """Two products beside each other and one behind them; a shape is computed on the way, and a value is read past the products."""
    rng = np.random.default_rng(3)
    weights = {name: EncodedTensor.dense(rng.normal(size=shape).astype(F), axis=1)
               for name, shape in {"a": (FEATURES, 16), "b": (FEATURES, 16), "c": (16, FEATURES)}.items()}
    nodes = (Node("Abs", ("x",), ("size",)), Node("MatMul", ("size", "a"), ("left",)), Node("MatMul", ("x", "b"), ("right",)),
             Node("Shape", ("right",), ("shape",)), Node("Reshape", ("left", "shape"), ("shaped",)), Node("Mul", ("shaped", "right"), ("both",)),
             Node("MatMul", ("both", "c"), ("back",)), Node("Add", ("back", "size"), ("y",)))
    return Graph((ValueInfo("x", "float32", ("N", FEATURES)),), (ValueInfo("y", "float32", ("N", FEATURES)),), nodes, weights)


def test_what_comes_after_a_value_gives_the_outputs_of_the_whole() -> None:
    graph, runs = branches(), [{"x": data(3)[at:at + 1]} for at in range(4)]
    held = _suffix.Held(graph, runs)
    for product, doubled in zip((graph.nodes[1], graph.nodes[2], graph.nodes[6]), ("size", "x", "both")):
        part = _suffix.suffix(graph, [product], lambda x: 2 * x)
        held.make(part.needs)
        held.keep(part.needs)
        assert set(held.runs[0]) == {"x", *part.needs}
        assert doubled in part.needs
        changed = tuple(Node("Add", (doubled, doubled), ("twice",)) if node is None else node for before in graph.nodes
                        for node in ([None, product.with_inputs(("twice", product.inputs[1]))] if before is product else [before]))
        whole = load(Graph(graph.inputs, graph.outputs, changed, graph.weights))
        session = load(held.part(part.nodes, part.needs, part.outputs))
        for feeds, values in zip(runs, held.runs):
            found = session.run({info.name: values[info.name] for info in session.inputs})["y"]
            np.testing.assert_allclose(found, whole.run(feeds)["y"], rtol=1e-4, atol=1e-4)


def test_runs_are_left_out_where_values_would_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_suffix, "MOST_HELD", 3 * (FEATURES + 16) * 4)
    held = _suffix.Held(branches(), [{"x": data(0)[at:at + 1]} for at in range(9)])
    held.make(["right"])
    assert held.places == [0, 4, 8]
    assert all(values["right"].shape == (1, 16) for values in held.runs)


@pytest.mark.parametrize("outliers", [3, 0])
def test_few_runs_decide_as_all_do(outliers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = recipes.parse("values: {kind: affine, bits: 8}\nactivations: {kind: static, calibration: output}")
    found = compress(branches(), plan, calibration={"x": data(outliers)}).quantized
    monkeypatch.setattr(_ranges, "TELLING", 32)
    assert compress(branches(), plan, calibration={"x": data(outliers)}).quantized == found
    assert len(found) == 3


def test_all_samples_are_asked_where_few_do_not_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of samples a hundred times as quiet as others a wide range leaves little, which the few that stand for them may not tell: judged by twelve
    alone, a quarter of these searches ended elsewhere."""
    plan = recipes.parse("values: {kind: affine, bits: 8}\nactivations: {kind: static, calibration: output}")
    loudness = [np.exp(np.random.default_rng(seed).normal(size=(SAMPLES, 1)) * 1.5).astype(F) for seed in range(20)]

    def chosen() -> list[float]:
        return [how.scale for loud in loudness for how in compress(net(1.0), plan, calibration={"x": data(0) * loud}).quantized.values()]

    found = chosen()
    monkeypatch.setattr(_ranges, "TELLING", 32)
    assert sum(one != other for one, other in zip(found, chosen())) <= 2
