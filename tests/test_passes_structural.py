"""Passes that change the form of a graph and not what it computes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from structural_nets import NETS, net
from thinfer.formats.graph import Dim, Graph, Node, ValueInfo, verify
from thinfer.formats.tensor import EncodedTensor
from thinfer.runtime.interpreter import evaluate
from thinfer.toolchain.passes import canonicalize, clean, dead_code, drop_identities, fold_batchnorm, fold_constants, merge_constants

RNG = np.random.default_rng(3)


def floats(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


def graph_of(nodes: Sequence[Node], inputs: Mapping[str, tuple[Dim, ...]], outputs: Mapping[str, tuple[Dim, ...]],
             weights: Mapping[str, Any] | None = None) -> Graph:
    """A graph of float32 inputs and outputs."""
    table = {name: EncodedTensor.dense(np.asarray(array)) for name, array in (weights or {}).items()}
    return verify(Graph(tuple(ValueInfo(n, "float32", s) for n, s in inputs.items()),
                        tuple(ValueInfo(n, "float32", s) for n, s in outputs.items()), tuple(nodes), table))


def ops_of(graph: Graph) -> list[str]:
    return [node.op for node in graph.nodes]


def assert_equivalent(before: Graph, after: Graph, batch: int = 3, rtol: float = 1e-4) -> None:
    verify(after)
    feeds = {info.name: floats(*(dim if isinstance(dim, int) else batch for dim in info.shape)) for info in before.inputs}
    old, new = evaluate(before, feeds), evaluate(after, feeds)
    for name in old:
        np.testing.assert_allclose(new[name], old[name], rtol=rtol, atol=1e-5)


def snapshot(graph: Graph) -> list[Any]:
    return [graph.nodes, [(dict(node.attrs), node.inputs) for node in graph.nodes], list(graph.weights),
            [(tensor.decode().tobytes(), tensor.axis) for tensor in graph.weights.values()]]


@pytest.mark.parametrize("apply", [canonicalize, clean, dead_code, drop_identities, fold_batchnorm, fold_constants])
@pytest.mark.parametrize("name", list(NETS))
def test_passes_keep_the_meaning_and_their_input(apply: Callable[[Graph], Graph], name: str) -> None:
    _, graph, _ = net(name)
    before = snapshot(graph)
    assert_equivalent(graph, apply(graph), rtol=1e-3)
    assert snapshot(graph) == before


@pytest.mark.parametrize("name", list(NETS))
def test_cleaning_is_done_after_one_round(name: str) -> None:
    _, graph, _ = net(name)
    assert snapshot(clean(graph))[1:] == snapshot(graph)[1:]


def test_dead_nodes_and_weights_go() -> None:
    graph = graph_of([Node("Relu", ("x",), ("y",)), Node("Add", ("x", "w"), ("z",)), Node("Relu", ("z",), ("zz",))],
                     {"x": (2,)}, {"y": (2,)}, {"w": floats(2), "unread": floats(3)})
    after = dead_code(graph)
    assert ops_of(after) == ["Relu"]
    assert not after.weights


def test_constants_are_folded_and_keep_the_name_of_their_source() -> None:
    graph = graph_of([Node("Transpose", ("fc.weight",), ("t",), {"perm": (1, 0)}), Node("MatMul", ("x", "t"), ("y",))],
                     {"x": ("N", 3, 4)}, {"y": ("N", 3, 5)}, {"fc.weight": floats(5, 4)})
    after = fold_constants(graph)
    assert ops_of(after) == ["MatMul"]
    assert list(after.weights) == ["fc.weight"]
    assert after.weights["fc.weight"].shape == (4, 5)
    assert after.weights["fc.weight"].axis == 1
    assert_equivalent(graph, after)


def test_a_constant_that_others_read_stays_beside_its_transpose() -> None:
    nodes = [Node("Transpose", ("w",), ("t",), {"perm": (1, 0)}), Node("MatMul", ("x", "t"), ("a",)), Node("MatMul", ("a", "w"), ("y",))]
    graph = graph_of(nodes, {"x": ("N", 4)}, {"y": ("N", 4)}, {"w": floats(5, 4)})
    after = fold_constants(graph)
    assert set(after.weights) == {"w", "t"}
    assert_equivalent(graph, after)


def test_chains_of_constants_are_folded() -> None:
    nodes = [Node("Add", ("a", "b"), ("c",)), Node("Mul", ("c", "c"), ("d",)), Node("Sub", ("x", "d"), ("y",))]
    graph = graph_of(nodes, {"x": (2, 3)}, {"y": (2, 3)}, {"a": floats(3), "b": floats(3)})
    after = fold_constants(graph)
    assert ops_of(after) == ["Sub"]
    assert_equivalent(graph, after)


def test_constants_that_would_grow_are_not_folded() -> None:
    graph = graph_of([Node("Add", ("a", "b"), ("c",)), Node("Mul", ("x", "c"), ("y",))], {"x": (1,)}, {"y": (600, 600)},
                     {"a": floats(600, 1), "b": floats(1, 600)})
    assert ops_of(fold_constants(graph)) == ["Add", "Mul"]


def test_constants_that_are_outputs_stay() -> None:
    graph = graph_of([Node("Relu", ("a",), ("y",))], {}, {"y": (3,)}, {"a": floats(3)})
    assert ops_of(fold_constants(graph)) == ["Relu"]


def norm(n: int) -> dict[str, np.ndarray]:
    return {"g": floats(n), "b": floats(n), "m": floats(n), "v": np.abs(floats(n)) + 0.5}


BN = ("g", "b", "m", "v")


@pytest.mark.parametrize(("op", "attrs", "x", "w", "bias"), [
    ("Conv", {}, ("N", 4, 5, 5), (6, 4, 3, 3), None),
    ("Conv", {"group": 2}, ("N", 4, 5, 5), (6, 2, 3, 3), (6,)),
    ("ConvTranspose", {"pads": (2, 2, 2, 2)}, ("N", 4, 5, 5), (4, 6, 3, 3), (6,)),
    ("Gemm", {}, ("N", 4), (4, 6), (6,)),
    ("Gemm", {"transB": 1, "alpha": 0.5, "beta": 2.0}, ("N", 4), (6, 4), (1, 6)),
    ("Gemm", {"beta": 0.5}, ("N", 4), (4, 6), ()),
    ("MatMul", {}, ("N", 4), (4, 6), None),
])
def test_batchnorm_is_folded(op: str, attrs: dict, x: tuple, w: tuple, bias: tuple | None) -> None:
    weights = {"w": floats(*w), **norm(6), **({} if bias is None else {"bias": floats(*bias)})}
    node = Node(op, ("x", "w", *(() if bias is None else ("bias",))), ("c",), attrs)
    graph = graph_of([node, Node("BatchNormalization", ("c", *BN), ("y",), {"epsilon": 1e-3})], {"x": x},
                     {"y": ("N", 6, 3, 3) if op.startswith("Conv") else ("N", 6)}, weights)
    after = fold_batchnorm(graph)
    assert ops_of(after) == ["Gemm" if op == "MatMul" else op]
    assert after.outputs[0].name == "y"
    assert_equivalent(graph, after)


@pytest.mark.parametrize("why", ["read elsewhere", "shared weight", "nothing before", "another operator before", "three dimensions"])
def test_batchnorm_stays_where_it_cannot_be_folded(why: str) -> None:
    conv, bn = Node("Conv", ("x", "w"), ("c",)), Node("BatchNormalization", ("c", *BN), ("n",))
    nodes = {"read elsewhere": [conv, bn, Node("Add", ("n", "c"), ("y",))],
             "shared weight": [conv, bn, Node("Conv", ("n", "w"), ("y",))],
             "nothing before": [Node("BatchNormalization", ("x", *BN), ("y",))],
             "another operator before": [Node("Relu", ("x",), ("c",)), Node("BatchNormalization", ("c", *BN), ("y",))],
             "three dimensions": [Node("MatMul", ("x", "w"), ("c",)), Node("BatchNormalization", ("c", *BN), ("y",))]}[why]
    x = ("N", 4, 5) if why == "three dimensions" else ("N", 4, 5, 5)
    w = floats(5, 5) if why == "three dimensions" else floats(4, 4, 1, 1)
    graph = graph_of(nodes, {"x": x}, {"y": x}, {"w": w, **norm(4)})
    after = fold_batchnorm(graph)
    assert "BatchNormalization" in ops_of(after)
    assert_equivalent(graph, after)


def test_a_shared_bias_is_not_changed_for_others() -> None:
    nodes = [Node("Conv", ("x", "w", "bias"), ("c",)), Node("BatchNormalization", ("c", *BN), ("n",)),
             Node("Conv", ("n", "w2", "bias"), ("y",))]
    graph = graph_of(nodes, {"x": ("N", 4, 5, 5)}, {"y": ("N", 4, 5, 5)},
                     {"w": floats(4, 4, 1, 1), "w2": floats(4, 4, 1, 1), "bias": floats(4), **norm(4)})
    after = fold_batchnorm(graph)
    assert ops_of(after) == ["Conv", "Conv"]
    assert_equivalent(graph, after)


@pytest.mark.parametrize(("shape", "target", "expected"), [
    (("N", 4, 2, 3), (-1, 24), "Flatten"), (("N", 4, 2, 3), (0, -1), "Flatten"), ((2, 4, 2, 3), (2, 24), "Flatten"),
    (("N", 4, 2, 3), (1, -1), "Flatten"), (("N", 4, 2, 3), (-1, 12), "Reshape"), (("N", 4, 2, 3), (0, 8, 3), "Reshape"),
    (("N", 4), (-1, 4), None), (("N", 4), (4, -1), "Reshape"),
])
def test_reshape_becomes_flatten(shape: tuple, target: tuple, expected: str | None) -> None:
    out = np.zeros([3 if dim == "N" else dim for dim in shape]).reshape([3 if dim == 0 else dim for dim in target]).ndim
    graph = graph_of([Node("Reshape", ("x", "t"), ("r",)), Node("Relu", ("r",), ("y",))], {"x": shape},
                     {"y": tuple(f"d{i}" for i in range(out))}, {"t": np.array(target, np.int64)})
    after = canonicalize(graph)
    assert ops_of(after) == ([expected] if expected else []) + ["Relu"]
    assert_equivalent(graph, after)
    assert_equivalent(graph, after, batch=1)


def test_chains_of_shape_arithmetic_become_flatten() -> None:
    nodes = [Node("Shape", ("x",), ("s",)), Node("Gather", ("s", "zero"), ("n",)), Node("Unsqueeze", ("n", "zeros"), ("n1",)),
             Node("Concat", ("n1", "rest"), ("t",), {"axis": 0}), Node("Reshape", ("x", "t"), ("y",))]
    graph = graph_of(nodes, {"x": ("N", 4, "H", "W")}, {"y": ("N", "K")},
                     {"zero": np.int64(0), "zeros": np.array([0]), "rest": np.array([-1])})
    after = canonicalize(graph)
    assert ops_of(after) == ["Flatten"]
    assert not after.weights
    assert_equivalent(graph, after)


def test_what_is_a_flatten_at_one_length_only_stays() -> None:
    nodes = [Node("Shape", ("x",), ("s",), {"end": 1}), Node("Mul", ("s", "two"), ("n",)),
             Node("Concat", ("n", "rest"), ("t",), {"axis": 0}), Node("Reshape", ("x", "t"), ("y",))]
    graph = graph_of(nodes, {"x": ("N", 4, 2)}, {"y": ("M", 4)}, {"two": np.array([2]), "rest": np.array([4])})
    assert "Reshape" in ops_of(canonicalize(graph))


def test_mean_over_the_map_becomes_pooling() -> None:
    for keepdims, axes in ((0, (2, 3)), (1, (-1, -2))):
        out = ("N", 4, 1, 1) if keepdims else ("N", 4)
        graph = graph_of([Node("ReduceMean", ("x", "axes"), ("y",), {"keepdims": keepdims})], {"x": ("N", 4, 5, 5)}, {"y": out},
                         {"axes": np.array(axes, np.int64)})
        after = canonicalize(graph)
        assert ops_of(after) == ["GlobalAveragePool"] + ["Flatten"] * (1 - keepdims)
        assert_equivalent(graph, after)
    graph = graph_of([Node("ReduceMean", ("x", "axes"), ("y",))], {"x": ("N", 4, 5, 5)}, {"y": ("N", 1, 1, 5)}, {"axes": np.array([1, 2])})
    assert ops_of(canonicalize(graph)) == ["ReduceMean"]


def test_matmul_and_bias_become_gemm() -> None:
    weights = {"w": floats(4, 6), "b": floats(6)}
    for first, second in (("m", "b"), ("b", "m")):
        nodes = [Node("MatMul", ("x", "w"), ("m",)), Node("Add", (first, second), ("y",))]
        graph = graph_of(nodes, {"x": ("N", 4)}, {"y": ("N", 6)}, weights)
        assert ops_of(canonicalize(graph)) == ["Gemm"]
        assert_equivalent(graph, canonicalize(graph))
    deep = graph_of([Node("MatMul", ("x", "w"), ("m",)), Node("Add", ("m", "b"), ("y",))], {"x": ("N", 3, 4)}, {"y": ("N", 3, 6)}, weights)
    assert ops_of(canonicalize(deep)) == ["MatMul", "Add"]


def test_attributes_that_say_nothing_go() -> None:
    node = Node("Conv", ("x", "w"), ("y",), {"group": 1, "kernel_shape": (3, 3), "strides": (1, 1), "dilations": (1, 1),
                                             "pads": (0, 0, 0, 0), "auto_pad": "NOTSET"})
    graph = graph_of([node], {"x": ("N", 4, 5, 5)}, {"y": ("N", 2, 3, 3)}, {"w": floats(2, 4, 3, 3)})
    assert canonicalize(graph).nodes[0].attrs == {}
    told = graph_of([Node("Conv", ("x", "w"), ("y",), {"strides": (2, 1), "pads": (0, 1, 0, 1)})], {"x": ("N", 4, 5, 5)},
                    {"y": ("N", 2, 2, 5)}, {"w": floats(2, 4, 3, 3)})
    assert canonicalize(told).nodes[0].attrs == {"strides": (2, 1), "pads": (0, 1, 0, 1)}


def test_equal_bounds_are_one_weight_and_equal_biases_two() -> None:
    zeros = np.zeros(4, np.float32)
    before = graph_of([Node("Clip", ("x", "low1", "high1"), ("a",)), Node("Clip", ("a", "low2", "high2"), ("b",)),
                       Node("Add", ("b", "bias1"), ("c",)), Node("Add", ("c", "bias2"), ("y",))], {"x": (2, 4)}, {"y": (2, 4)},
                      {"low1": np.float32(0), "high1": np.float32(6), "low2": np.float32(0), "high2": np.float32(6),
                       "bias1": zeros, "bias2": zeros})
    after = merge_constants(before)
    assert set(after.weights) == {"low1", "high1", "bias1", "bias2"}
    assert_equivalent(before, after)


def test_identities_and_dropout_go_when_asked() -> None:
    weights = {"ratio": np.float32(0.5), "on": np.bool_(True), "off": np.bool_(False)}
    nodes = [Node("Identity", ("x",), ("a",)), Node("Dropout", ("a",), ("b",)), Node("Dropout", ("b", "ratio", "off"), ("c",)),
             Node("Relu", ("c",), ("d",)), Node("Identity", ("d",), ("y",))]
    graph = graph_of(nodes, {"x": ("N", 4)}, {"y": ("N", 4)}, weights)
    after = drop_identities(graph)
    assert ops_of(after) == ["Relu"]
    assert after.nodes[0].outputs == ("y",)
    assert not after.weights
    assert_equivalent(graph, after)
    assert ops_of(canonicalize(graph)) == ops_of(graph)
    training = graph_of([Node("Dropout", ("x", "ratio", "on"), ("y",))], {"x": ("N", 4)}, {"y": ("N", 4)}, weights)
    assert ops_of(drop_identities(training)) == ["Dropout"]


@pytest.mark.parametrize("nodes", [
    [Node("Identity", ("x",), ("y",))],
    [Node("Identity", ("x",), ("a",)), Node("Identity", ("a",), ("y",))],
    [Node("Relu", ("x",), ("y",)), Node("Identity", ("y",), ("z",))],
    [Node("Relu", ("x",), ("a",)), Node("Identity", ("a",), ("y",)), Node("Identity", ("a",), ("z",))],
])
def test_identities_between_inputs_and_outputs_stay(nodes: list[Node]) -> None:
    made = {name for node in nodes for name in node.outputs}
    graph = graph_of(nodes, {"x": ("N", 4)}, {name: ("N", 4) for name in ("y", "z") if name in made})
    assert_equivalent(graph, drop_identities(graph))
