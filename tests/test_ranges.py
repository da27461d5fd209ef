"""Ranges by the error at the outputs: the same data get other ranges where a net looks at other things."""

from __future__ import annotations

import numpy as np
import pytest
from thinfer.formats.graph import Graph, Node, ValueInfo
from thinfer.formats.tensor import EncodedTensor
from thinfer.toolchain import recipe as recipes
from thinfer.toolchain.passes._histogram import Histogram
from thinfer.toolchain.passes._ranges import PERCENTILES, _error
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


def error(graph: Graph, x: np.ndarray, low: float, high: float) -> float:
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
    judged = {grid(*histogram.percentile(percent), "int8"): error(graph, looked_at, *histogram.percentile(percent)) for percent in PERCENTILES}
    assert judged[how] <= min(judged.values()) * 1.1
    assert (how.scale > 0.3) == bool(first and outliers)


def test_what_is_not_finite_is_worst() -> None:
    right = np.array([3, 4], F)
    assert _error([[right]], [[right + F(0.5)]]) == pytest.approx(0.5 / 25, rel=1 / 16)
    for wrong in (np.nan, np.inf):
        assert _error([[right], [right]], [[right], [np.array([3, wrong], F)]]) == np.inf
