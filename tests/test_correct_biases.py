"""Biases that make up for compressed weights: the mean of every product is again what it was."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from thinfer.formats.graph import Graph, Node, ValueInfo
from thinfer.formats.tensor import EncodedTensor, Plain
from thinfer.runtime.interpreter import evaluate
from thinfer.toolchain import recipe as recipes
from thinfer.toolchain.passes.correct_biases import correct_biases
from thinfer.toolchain.pipeline import compress

F = np.float32
BINARY = "values: binary\ncorrect_biases: true\n"


def one_product(op: str, x: tuple[int, ...], w: tuple[int, ...], bias: bool, **attrs: Any) -> Graph:
    rng = np.random.default_rng(4)
    weights = {"n.weight": EncodedTensor.dense(rng.normal(0.3, 1, w).astype(F))}
    if bias:
        weights["n.bias"] = EncodedTensor.dense(rng.normal(size=w[0]).astype(F))
    out = (w[0],) if op == "Gemm" else (w[0], *x[1:])
    return Graph((ValueInfo("x", "float32", ("N", *x)),), (ValueInfo("y", "float32", ("N", *out)),),
                 (Node(op, ("x", *weights), ("y",), attrs),), weights)


NETS = {
    "conv": one_product("Conv", (6, 5, 5), (4, 6, 1, 1), True),
    "groups": one_product("Conv", (6, 5, 5), (4, 3, 1, 1), True, group=2),
    "depthwise": one_product("Conv", (6, 5, 5), (12, 1, 1, 1), True, group=6),
    "no_bias": one_product("Conv", (6, 5, 5), (4, 6, 1, 1), False),
    "linear": one_product("Gemm", (6,), (5, 6), True, transB=1),
}


@pytest.mark.parametrize("name", NETS)
def test_means_are_what_they_were(name: str) -> None:
    graph = NETS[name]
    x = np.random.default_rng(1).normal(1, 1, (30, *graph.inputs[0].shape[1:])).astype(F)  # type: ignore[arg-type]
    coarse = "values: {kind: affine, bits: 2, scale: tensor}\n"
    plain, corrected = (compress(graph, recipes.parse(text), calibration={"x": x}) for text in (coarse, coarse + "correct_biases: true\n"))
    axes = (0, *range(2, len(graph.outputs[0].shape)))
    means = [evaluate(g, {"x": x.astype(np.float64)})["y"].mean(axis=axes) for g in (graph, plain, corrected)]
    assert np.abs(means[1] - means[0]).max() > 0.1
    np.testing.assert_allclose(means[2], means[0], atol=np.abs(means[1] - means[0]).max() * 2 ** -8)


def test_without_data_nothing_happens() -> None:
    graph = compress(NETS["conv"], recipes.parse(BINARY))
    np.testing.assert_array_equal(graph.weights["n.bias"].decode(), NETS["conv"].weights["n.bias"].decode())


def test_a_bias_that_two_nodes_add_is_not_shared_any_more() -> None:
    base = NETS["linear"]
    rng = np.random.default_rng(2)
    weights = {**base.weights, "m.weight": EncodedTensor.dense(rng.normal(size=(5, 6)).astype(F))}
    graph = Graph(base.inputs, (*base.outputs, ValueInfo("z", "float32", ("N", 5))),
                  (*base.nodes, Node("Gemm", ("x", "m.weight", "n.bias"), ("z",), {"transB": 1})), weights)
    found = compress(graph, recipes.parse(BINARY), calibration={"x": rng.normal(1, 1, (9, 6)).astype(F)})
    assert len({node.inputs[2] for node in found.nodes}) == 2


def test_what_is_not_compressed_or_compressed_itself_stays() -> None:
    x = {"x": np.ones((4, 6, 5, 5), F)}
    dense = compress(NETS["conv"], recipes.parse(""))
    assert correct_biases(dense, dense, x) is dense
    coded = compress(NETS["conv"], recipes.parse(BINARY + "biases: {values: fp16}\n"), calibration=x)
    bias = coded.weights["n.bias"].values
    assert isinstance(bias, Plain)
    np.testing.assert_array_equal(bias.data, NETS["conv"].weights["n.bias"].decode().astype(np.float16))
