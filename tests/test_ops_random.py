"""Operators that move and select elements, on random arguments, against onnxruntime: in NumPy and, between native nodes, natively."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnxruntime
import pytest
from onnx import helper, numpy_helper
from thinfer import runtime
from thinfer.formats.graph import Graph, Node, ValueInfo
from thinfer.formats.tensor import EncodedTensor
from thinfer.kernels import isa

ROUNDS = 60
BACKENDS = ["numpy", *(["native"] if isa.native() is not None else [])]
Drawn = tuple[np.ndarray, list[np.ndarray], dict[str, Any], int]
"""(data, constant inputs after it, attributes, number of outputs)."""


def by_onnxruntime(op: str, x: np.ndarray, constants: Sequence[np.ndarray], attrs: dict[str, Any], outputs: int) -> list[np.ndarray]:
    names = [f"c{k}" for k in range(len(constants))]
    made = [f"y{k}" for k in range(outputs)]
    infos = [helper.make_empty_tensor_value_info(name) for name in made]
    graph = helper.make_graph([helper.make_node(op, ["x", *names], made, **attrs)], "drawn", [helper.make_tensor_value_info("x", 1, x.shape)],
                              infos, [numpy_helper.from_array(array, name) for array, name in zip(constants, names)])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)
    return onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"]).run(None, {"x": x})


def by_thinfer(backend: str, op: str, x: np.ndarray, constants: Sequence[np.ndarray], attrs: dict[str, Any], outputs: int) -> list[np.ndarray]:
    """After a node of its own, so that the data is a value of the plan: relu(x) - relu(-x)."""
    names = tuple(f"c{k}" for k in range(len(constants)))
    made = tuple(f"y{k}" for k in range(outputs))
    nodes = (Node("Relu", ("x",), ("above",)), Node("Neg", ("x",), ("turned",)), Node("Relu", ("turned",), ("below",)),
             Node("Sub", ("above", "below"), ("again",)), Node(op, ("again", *names), made, attrs))
    graph = Graph((ValueInfo("x", "float32", x.shape),), tuple(ValueInfo(name, "float32", ("any",)) for name in made), nodes,
                  {name: EncodedTensor.dense(array) for name, array in zip(names, constants)})
    found = runtime.load(graph, backend=backend).run({"x": x})  # type: ignore[arg-type]
    return [found[name] for name in made]


def data(rng: np.random.Generator) -> np.ndarray:
    return rng.standard_normal(rng.integers(1, 7, rng.integers(1, 6))).astype(np.float32)


def a_slice(rng: np.random.Generator) -> Drawn:
    x = data(rng)
    count = int(rng.integers(1, x.ndim + 1))
    axes = rng.permutation(x.ndim)[:count]
    signs = np.where(rng.random(count) < 0.5, axes, axes - x.ndim)
    return x, [rng.integers(-8, 9, count), rng.integers(-8, 9, count), signs, rng.choice([-3, -2, -1, 1, 2, 3], count)], {}, 1


def a_tile(rng: np.random.Generator) -> Drawn:
    x = data(rng)
    return x, [rng.integers(1, 4, x.ndim)], {}, 1


def an_expansion(rng: np.random.Generator) -> Drawn:
    shape = rng.integers(1, 6, rng.integers(1, 6))
    x = rng.standard_normal(np.where(rng.random(shape.size) < 0.4, 1, shape)[rng.integers(0, shape.size):]).astype(np.float32)
    return x, [shape], {}, 1


def a_split(rng: np.random.Generator) -> Drawn:
    x = data(rng)
    axis = int(rng.integers(-x.ndim, x.ndim))
    parts = int(rng.integers(1, x.shape[axis] + 1))
    bounds = np.sort(rng.choice(np.arange(1, x.shape[axis]), parts - 1, replace=False))
    return x, [np.diff(np.concatenate([[0], bounds, x.shape[axis:][:1]])).astype(np.int64)], {"axis": axis}, parts


def a_choice(rng: np.random.Generator) -> Drawn:
    x = data(rng)
    axis = int(rng.integers(-x.ndim, x.ndim))
    return x, [np.asarray(rng.integers(-x.shape[axis], x.shape[axis], rng.integers(1, 4, rng.integers(0, 3))))], {"axis": axis}, 1


def a_choice_of_elements(rng: np.random.Generator) -> Drawn:
    x = data(rng)
    axis = int(rng.integers(0, x.ndim))
    shape = [int(rng.integers(1, 5 if k == axis else length + 1)) for k, length in enumerate(x.shape)]
    return x, [rng.integers(-x.shape[axis], x.shape[axis], shape)], {"axis": axis}, 1


def a_scattering(rng: np.random.Generator) -> Drawn:
    x, (indices,), attrs, _ = a_choice_of_elements(rng)
    reduction = str(rng.choice(["add", "mul", "min", "max"]))
    return x, [indices, rng.standard_normal(indices.shape).astype(np.float32)], {**attrs, "reduction": reduction}, 1


def blocks(rng: np.random.Generator) -> Drawn:
    x = data(rng)
    batch = int(rng.integers(0, x.ndim))
    count = int(rng.integers(1, x.ndim - batch + 1))
    lead = (*x.shape[:batch], *rng.integers(1, 4, rng.integers(0 if batch else 1, 3)))
    return x, [np.stack([rng.integers(-n, n, lead) for n in x.shape[batch:batch + count]], -1)], {"batch_dims": batch}, 1


def scattered_blocks(rng: np.random.Generator) -> Drawn:
    x = data(rng)
    count = int(rng.integers(1, x.ndim + 1))
    indices = np.stack([rng.integers(-n, n, 4) for n in x.shape[:count]], -1)
    reduction = str(rng.choice(["add", "mul", "min", "max"]))
    return x, [indices, rng.standard_normal((4, *x.shape[count:])).astype(np.float32)], {"reduction": reduction}, 1


def padding(rng: np.random.Generator) -> Drawn:
    x = data(rng)
    mode = str(rng.choice(["constant", "reflect", "edge", "wrap"]))
    most = np.array(x.shape * 2) - (mode == "reflect")
    return x, [np.where(rng.random(2 * x.ndim) < 0.4, 0, np.minimum(rng.integers(0, 3, 2 * x.ndim), most))], {"mode": mode}, 1


def largest(rng: np.random.Generator) -> Drawn:
    x = np.round(data(rng))
    axis = int(rng.integers(-x.ndim, x.ndim))
    return x, [rng.integers(1, x.shape[axis] + 1, 1)], {"axis": axis, "largest": int(rng.integers(0, 2))}, 2


def a_triangle(rng: np.random.Generator) -> Drawn:
    x = rng.standard_normal(rng.integers(1, 6, rng.integers(2, 5))).astype(np.float32)
    return x, [np.array(rng.integers(-4, 5))], {"upper": int(rng.integers(0, 2))}, 1


DRAWS: dict[str, Callable[[np.random.Generator], Drawn]] = {
    "Slice": a_slice, "Tile": a_tile, "Expand": an_expansion, "Split": a_split, "Gather": a_choice, "GatherElements": a_choice_of_elements,
    "ScatterElements": a_scattering, "GatherND": blocks, "ScatterND": scattered_blocks, "Pad": padding, "TopK": largest, "Trilu": a_triangle}


@pytest.mark.parametrize("op", DRAWS)
def test_equals_onnxruntime(op: str) -> None:
    rng = np.random.default_rng(11)
    for _ in range(ROUNDS):
        x, constants, attrs, outputs = DRAWS[op](rng)
        expected = by_onnxruntime(op, x, constants, attrs, outputs)
        for backend in BACKENDS:
            for found, wanted in zip(by_thinfer(backend, op, x, constants, attrs, outputs), expected):
                assert found.shape == wanted.shape
                np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=1e-6, err_msg=f"{backend} {x.shape} {constants} {attrs}")
