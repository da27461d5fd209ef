"""The graph itself: what ``verify`` finds, how nodes are labelled, who makes and reads a value."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from format_samples import CODERS, STRUCTURES, VALUES, everything, lenet5, weight
from thinfer.formats.errors import GraphError
from thinfer.formats.graph import ActivationQuantization, Graph, Node, ValueInfo, problems, structure_problems, verify
from thinfer.formats.tensor import Affine, Binary, Codebook, EncodedTensor, Plain, Sparse, Ternary

X, Y = ValueInfo("x", "float32", ("N", 3)), ValueInfo("y", "float32", ("N", 3))
RELU = Node("Relu", ("x",), ("y",))
GOOD = Graph((X,), (Y,), (RELU,), {"w": EncodedTensor.dense(np.ones((2, 3), np.float32))})
INNER = Graph((), (ValueInfo("z", "float32", ()),), (Node("Relu", ("x",), ("z",)),))


def changed(**fields: Any) -> Graph:
    return replace(GOOD, **fields)


def with_weight(**fields: Any) -> Graph:
    return changed(weights={"w": replace(GOOD.weights["w"], **fields)})


def codebook(indices: list[int], bits: int, shape: tuple[int, ...], **fields: Any) -> Graph:
    return with_weight(values=Codebook(np.array(indices, np.uint8), bits, np.zeros(shape, np.float32), **fields))


SIX = [0, 1, 0, 1, 0, 1]

WRONG = [
    (changed(inputs=(X, X)), "'x' stands twice"),
    (changed(inputs=(X, ValueInfo("w", "float32", ()))), "input 'w' has the name of another"),
    (changed(inputs=(ValueInfo("", "float32", ()), X)), "has no name"),
    (changed(inputs=(replace(X, dtype="float8"),)), "dtype 'float8'"),
    (changed(inputs=(replace(X, shape=(-1,)),)), "dimension -1"),
    (changed(inputs=(replace(X, shape=("",)),)), "dimension ''"),
    (changed(outputs=(Y, ValueInfo("q", "float32", ()))), "output 'q' is made by nothing"),
    (changed(nodes=(RELU, Node("Relu", ("q",), ("z",)))), "reads 'q', which does not exist"),
    (changed(nodes=(Node("Relu", ("y",), ("z",)), RELU)), "reads 'y', which is made only by a later node"),
    (changed(nodes=(Node("Relu", ("y",), ("y",)),)), "or by itself"),
    (changed(nodes=(RELU, RELU)), "makes 'y', which another value already has"),
    (changed(nodes=(RELU, Node("Relu", ("x",), ("w",)))), "makes 'w', which another value already has"),
    (changed(nodes=(RELU, Node("Relu", ("x",), ("",)))), "node 1 (Relu) has no output"),
    (changed(quantized={"q": ActivationQuantization("dynamic")}), "quantization of 'q' belongs to no input"),
    (changed(quantized={"w": ActivationQuantization("dynamic")}), "quantization of 'w' belongs to no input"),
    (changed(quantized={"x": ActivationQuantization("dynamic", scale=2.0)}), "is dynamic, but has a scale"),
    (changed(quantized={"x": ActivationQuantization("static", scale=float("nan"))}), "scale nan"),
    (changed(quantized={"x": ActivationQuantization("static", "int8", 0.5, 128)}), "zero point 128, which is no int8"),
    (changed(quantized={"x": ActivationQuantization("static", granularity="row")}), "static per row"),
    (changed(quantized={"x": ActivationQuantization("static", "int4")}), "static int4 per tensor; it should be"),  # type: ignore[arg-type]
    (changed(nodes=(RELU, Node("If", ("x",), ("v",), {"then_branch": GOOD}))), "weight table of its own"),
    (changed(nodes=(RELU, Node("If", ("x",), ("v",), {"then_branch": INNER}), Node("Relu", ("z",), ("u",)))), "reads 'z'"),
    (changed(nodes=(RELU, Node("If", ("x",), ("v",), {"then_branch": replace(INNER, outputs=(replace(Y, name="v"),))}))), "output 'v'"),
    (changed(weights={"": GOOD.weights["w"]}), "a weight has no name"),
    (with_weight(dtype="complex64"), "dtype 'complex64'"),
    (with_weight(shape=(2, -3)), "shape (2, -3)"),
    (with_weight(axis=2), "axis 2"),
    (with_weight(coder="zip"), "coder 'zip'"),
    (with_weight(shape=(2, 4)), "holds 6 values, but its structure has room for 8"),
    (with_weight(structure=Sparse(np.zeros(2, np.uint8))), "mask of 2 bytes for 6"),
    (with_weight(structure=Sparse(np.array([255], np.uint8))), "past its last position"),
    (with_weight(structure=Sparse(np.array([1], np.uint8))), "room for 1"),
    (with_weight(values=Plain(np.zeros((2, 3), np.float32))), "one-dimensional"),
    (codebook(SIX, 9, (1, 2)), "9-bit"),
    (codebook(SIX, 1, (1, 3)), "shape (1, 3) for 1-bit"),
    (codebook([0, 1, 2, 0, 0, 0], 2, (1, 2)), "symbol 2 among its indices, which must be below 2"),
    (codebook(SIX, 1, (3, 2)), "3 codebook groups for 2 channels"),
    (codebook(SIX, 1, (1, 2), scale=np.ones(3, np.float32)), "3 scales for 2"),
    (codebook(SIX, 1, (1, 2), scale=np.ones(2)), "scales of dtype float64"),
    (with_weight(values=Codebook(np.zeros(6, np.uint8), 1, np.zeros((1, 2)))), "codebook of float64"),
    (with_weight(values=Binary(np.full(6, 2, np.uint8), np.ones(2, np.float32))), "symbol 2 among its signs, which must be below 2"),
    (with_weight(values=Binary(np.zeros(6, np.uint8), np.ones(1, np.float32))), "1 scales for 2"),
]


@pytest.mark.parametrize(("graph", "text"), WRONG, ids=[text for _, text in WRONG])
def test_verify_names_the_problem(graph: Graph, text: str) -> None:
    with pytest.raises(GraphError) as caught:
        verify(graph)
    assert text in str(caught.value)


def test_verify_returns_what_is_sound() -> None:
    for graph in (GOOD, everything(), lenet5(EncodedTensor.dense)):
        assert verify(graph) is graph
        assert structure_problems(graph) == problems(graph) == []


def test_every_problem_is_listed() -> None:
    graph = changed(outputs=(ValueInfo("q", "float32", ()),), quantized={"r": ActivationQuantization("dynamic")},
                    weights={"w": replace(GOOD.weights["w"], axis=7)})
    assert len(problems(graph)) == 3


def test_two_branches_may_use_the_same_names() -> None:
    node = Node("If", ("x",), ("v",), {"then_branch": INNER, "else_branch": INNER})
    assert problems(changed(nodes=(RELU, node))) == []


def test_verify_takes_time_in_proportion() -> None:
    nodes = tuple(Node("Relu", (f"v{i}",), (f"v{i + 1}",), {"body": Graph((), (), ())}) for i in range(30000))
    begin = time.perf_counter()
    assert problems(Graph((ValueInfo("v0", "float32", ()),), (), nodes)) == []
    assert time.perf_counter() - begin < 10, "a fraction of a second is usual"


def test_producers_consumers_and_labels() -> None:
    graph = lenet5(EncodedTensor.dense)
    first, relu = graph.nodes[0], graph.nodes[1]
    assert graph.producers()["value0"] is first
    assert graph.consumers()["value0"] == [relu]
    assert graph.consumers()["fc1.weight"] == [graph.nodes[7]]
    assert graph.label(first) == "conv1"
    assert graph.label(relu) == "Relu_1"
    assert graph.label(replace(first, name="the first")) == "the first"
    twice = Node("Add", ("x", "x"), ("y",))
    assert changed(nodes=(twice,)).consumers()["x"] == [twice]


@pytest.mark.parametrize("values", VALUES)
@pytest.mark.parametrize("structure", STRUCTURES)
def test_decode_of_every_encoding(structure: str, values: str) -> None:
    """Position by position, from the definitions."""
    rng = np.random.default_rng(1)
    for axis in range(3):
        tensor = weight(rng, (4, 5, 3), structure, values, CODERS[0], axis=axis, groups=2)
        assert verify(changed(weights={"w": tensor}))
        decoded, held = tensor.decode(), 0
        v: Any = tensor.values
        for place, index in enumerate(np.ndindex(tensor.shape)):
            expected = np.float32(0)
            if tensor.kept()[place]:
                channel = index[axis]
                if isinstance(v, Plain):
                    expected = np.float32(v.data[held])
                elif isinstance(v, Binary):
                    expected = v.scale[channel] if v.signs[held] else -v.scale[channel]
                elif isinstance(v, Ternary):
                    expected = (np.float32(v.trits[held]) - 1) * v.scale[channel]
                elif isinstance(v, Affine):
                    others = [other for other in range(3) if other != axis]
                    column = int(np.ravel_multi_index([index[other] for other in others], [tensor.shape[other] for other in others]))
                    cell = (channel if len(v.scale) > 1 else 0, column // v.block if v.scale.shape[1] > 1 else 0)
                    zero = 2 ** (v.bits - 1) if v.zero_point is None else int(v.zero_point[cell])
                    expected = np.float32(int(v.codes[held]) - zero) * v.scale[cell]
                else:
                    group = channel // -(-tensor.channels // v.entries.shape[0])
                    expected = np.float32(v.entries[group, v.indices[held]]) * (1 if v.scale is None else v.scale[channel])
                held += 1
            assert decoded[index] == expected
        assert held == tensor.held
        assert tensor.sparsity == 1 - np.count_nonzero(decoded) / tensor.size
