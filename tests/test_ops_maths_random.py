"""Element-wise maths, reductions and casts on random arguments, against onnxruntime: in NumPy and natively."""

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
from thinfer.kernels.ops._cast import CODE_OF_DTYPE

ROUNDS = 40
BACKENDS = ["numpy", *(["native"] if isa.native() is not None else [])]
Drawn = tuple[list[np.ndarray], list[np.ndarray], dict[str, Any]]
"""(inputs that are fed, constant inputs after them, attributes)."""


def by_onnxruntime(op: str, fed: Sequence[np.ndarray], constants: Sequence[np.ndarray], attrs: dict[str, Any]) -> np.ndarray:
    names, fixed = [f"x{k}" for k in range(len(fed))], [f"c{k}" for k in range(len(constants))]
    infos = [helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape) for name, array in zip(names, fed)]
    graph = helper.make_graph([helper.make_node(op, [*names, *fixed], ["y"], **attrs)], "drawn", infos, [helper.make_empty_tensor_value_info("y")],
                              [numpy_helper.from_array(array, name) for array, name in zip(constants, fixed)])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (found,) = session.run(None, dict(zip(names, fed)))
    return np.asarray(found)


def by_thinfer(backend: str, op: str, fed: Sequence[np.ndarray], constants: Sequence[np.ndarray], attrs: dict[str, Any],
               expected: np.ndarray) -> np.ndarray:
    names, fixed = [f"x{k}" for k in range(len(fed))], [f"c{k}" for k in range(len(constants))]
    inputs = tuple(ValueInfo(name, array.dtype.name, array.shape) for name, array in zip(names, fed))
    graph = Graph(inputs, (ValueInfo("y", expected.dtype.name, expected.shape),), (Node(op, (*names, *fixed), ("y",), attrs),),
                  {name: EncodedTensor.dense(array) for name, array in zip(fixed, constants)})
    return runtime.load(graph, backend=backend).run(dict(zip(names, fed)))["y"]  # type: ignore[arg-type]


def elements(rng: np.random.Generator, shape: Sequence[int], dtype: str, low: float = -4, high: float = 4) -> np.ndarray:
    if dtype == "bool":
        return np.asarray(rng.random(shape) < 0.5)
    if np.dtype(dtype).kind == "f":
        return np.asarray(rng.uniform(low, high, shape), dtype)
    return np.asarray(rng.integers(max(int(low), np.iinfo(dtype).min), int(high) + 1, shape), dtype)


def shape(rng: np.random.Generator) -> tuple[int, ...]:
    return tuple(rng.integers(1, 7, rng.integers(0, 5)).tolist())


def stretched(rng: np.random.Generator, whole: Sequence[int]) -> tuple[int, ...]:
    """Some of the last axes, some of them of length 1."""
    return tuple(1 if rng.random() < 0.3 else length for length in whole[rng.integers(0, len(whole) + 1):])


def mapped(dtypes: Sequence[str] = ("float32", "float64"), low: float = -4, high: float = 4, **attrs: Any) -> Callable[..., Drawn]:
    def draw(rng: np.random.Generator) -> Drawn:
        given = {key: float(np.float32(rng.uniform(*value))) if isinstance(value, tuple) else value for key, value in attrs.items()}
        return [elements(rng, shape(rng), str(rng.choice(dtypes)), low, high)], [], given
    return draw


def joined(dtypes: Sequence[str], low: float = -4, high: float = 4, count: tuple[int, int] = (2, 2), low_second: float | None = None,
           **attrs: Any) -> Callable[..., Drawn]:
    def draw(rng: np.random.Generator) -> Drawn:
        whole, dtype = shape(rng), str(rng.choice(dtypes))
        shapes = [stretched(rng, whole) for _ in range(rng.integers(count[0], count[1] + 1))]
        bounds = [low if low_second is None or k == 0 else low_second for k in range(len(shapes))]
        arrays = [elements(rng, one, dtype, least, high) for one, least in zip(shapes, bounds)]
        constants = 1 if len(arrays) > 1 and rng.random() < 0.3 else 0
        return arrays[:len(arrays) - constants], arrays[len(arrays) - constants:], attrs
    return draw


def reduced(dtypes: Sequence[str], low: float = -4) -> Callable[..., Drawn]:
    def draw(rng: np.random.Generator) -> Drawn:
        x = elements(rng, shape(rng), str(rng.choice(dtypes)), low)
        axes = rng.permutation(x.ndim)[:rng.integers(0, x.ndim + 1)]
        constants = [np.where(rng.random(axes.size) < 0.5, axes, axes - x.ndim)] if rng.random() < 0.8 else []
        return [x], constants, {"keepdims": int(rng.integers(2))}
    return draw


def along(dtypes: Sequence[str] = ("float32",), **attrs: tuple[int, ...]) -> Callable[..., Drawn]:
    """An operator with the attribute ``axis``; others are drawn from what is given."""
    def draw(rng: np.random.Generator) -> Drawn:
        x = elements(rng, (int(rng.integers(1, 6)), *shape(rng)), str(rng.choice(dtypes)))
        return [x], [], {"axis": int(rng.integers(-x.ndim, x.ndim)), **{key: int(rng.choice(values)) for key, values in attrs.items()}}
    return draw


def accumulated(rng: np.random.Generator) -> Drawn:
    x = elements(rng, (int(rng.integers(1, 6)), *shape(rng)), str(rng.choice(["float32", "float64", "int32", "int64"])))
    return [x], [np.array(rng.integers(-x.ndim, x.ndim))], {key: int(rng.integers(2)) for key in ("exclusive", "reverse")}


def a_power(rng: np.random.Generator) -> Drawn:
    x = elements(rng, shape(rng), str(rng.choice(["float32", "float64"])), 0.25, 3)
    return [x], [np.array(rng.choice([-2, -1, -0.5, 0.5, 1, 1.5, 2, 3, 0.3, 2.7]), rng.choice(["float32", "float64"]))], {}


def a_cast(rng: np.random.Generator) -> Drawn:
    """Between numbers that both can hold."""
    kinds = ["float32", "float64", "float16", "int8", "uint8", "int16", "int32", "int64", "bool"]
    source, target = (str(kind) for kind in rng.choice(kinds, 2))
    return [elements(rng, shape(rng), source, 0, 100)], [], {"to": CODE_OF_DTYPE[target]}


INTEGERS = ("int8", "uint8", "int16", "int32", "int64", "uint32", "uint64")
DRAWS: dict[str, Callable[..., Drawn]] = {
    **{op: mapped() for op in ("Abs", "Ceil", "Floor", "Exp", "Sigmoid", "Tanh", "Round", "Neg", "Sign")},
    **{op: mapped(("float32",)) for op in ("Elu", "Erf", "Gelu", "Softplus", "Softsign", "Selu", "Mish", "Sin", "Cos", "Atan", "Sinh", "Asinh")},
    "Sqrt": mapped(low=0), "Log": mapped(low=0.01), "Reciprocal": mapped(low=0.5), "Acos": mapped(("float32",), -1, 1),
    "LeakyRelu": mapped(("float32",), alpha=(0, 1)), "Celu": mapped(("float32",), alpha=(0.5, 2)),
    "ThresholdedRelu": mapped(("float32",), alpha=(-1, 1)), "HardSigmoid": mapped(("float32",), alpha=(0.1, 1), beta=(0, 1)),
    "Shrink": mapped(("float32", "int32", "int8"), bias=1.0, lambd=2.0),
    **{op: joined(("float32", "float64", "int32", "int64")) for op in ("Add", "Sub", "Mul")},
    "Div": joined(("float32", "float64", "int32", "int64"), low_second=1), "Mod": joined(("int32", "int64", "int8", "uint8"), low_second=1),
    "Equal": joined(("float32", "int32", "int64", "bool")), "Greater": joined(("float32", "float64", "int32", "int64")),
    "LessOrEqual": joined(("float32", "float64", "int32", "int64")), "And": joined(("bool",)), "Or": joined(("bool",)), "Xor": joined(("bool",)),
    **{op: joined(INTEGERS, -100, 100) for op in ("BitwiseAnd", "BitwiseOr", "BitwiseXor")},
    "BitShift": joined(("uint8", "uint32", "uint64"), 0, 7, direction="LEFT"),
    **{op: joined(("float32", "float64", "int32", "int64", "uint64"), count=(1, 4)) for op in ("Max", "Min")},
    "Sum": joined(("float32", "float64"), count=(1, 4)), "Mean": joined(("float32",), count=(1, 4)),
    **{op: reduced(("float32", "float64", "int32", "int64")) for op in ("ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd")},
    **{op: reduced(("float32", "int32")) for op in ("ReduceL1", "ReduceL2", "ReduceSumSquare")},
    "ReduceLogSum": reduced(("float32",), 0.1), "ReduceLogSumExp": reduced(("float32", "float64")),
    "ArgMax": along(("float32", "int32"), keepdims=(0, 1), select_last_index=(0, 1)),
    "ArgMin": along(("float32", "int32"), keepdims=(0, 1), select_last_index=(0, 1)),
    "Softmax": along(("float32", "float64")), "LogSoftmax": along(("float32", "float64")), "Hardmax": along(),
    "CumSum": accumulated, "Pow": a_power, "Cast": a_cast,
}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("op", DRAWS)
def test_equals_onnxruntime(op: str, backend: str) -> None:
    rng = np.random.default_rng(sum(map(ord, op)))
    for _ in range(ROUNDS):
        fed, constants, attrs = DRAWS[op](rng)
        expected = by_onnxruntime(op, fed, constants, attrs)
        found = by_thinfer(backend, op, fed, constants, attrs, expected)
        what = f"{[(array.dtype.name, array.shape) for array in (*fed, *constants)]} {attrs}"
        assert found.dtype == expected.dtype, what
        assert found.shape == expected.shape, what
        np.testing.assert_allclose(found, expected, rtol=2e-5, atol=2e-6, err_msg=what)
