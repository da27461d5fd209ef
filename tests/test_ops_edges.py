"""Maths at edges: exact results for special values, casts against Python's integers, and what is refused in which words."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from ops_cases import run
from test_ops_errors import infer_wrongly, ints
from thinfer.formats.graph import DTYPES
from thinfer.kernels import ops
from thinfer.kernels.ops._cast import CODE_OF_DTYPE, cast
from thinfer.kernels.ops._op import OpError

Attrs = Mapping[str, Any]
NAN, INF = math.nan, math.inf
LEAST = {name: np.iinfo(name).min for name in ("int8", "int32", "int64")}
MOST = {name: np.iinfo(name).max for name in ("int8", "int32", "int64")}

EDGES: list[tuple[str, str, list[Any], Attrs, list[Any]]] = [
    # operator, dtype, inputs, attributes, expected
    ("Abs", "int8", [[-128, -1, 5]], {}, [-128, 1, 5]),
    ("Neg", "int8", [[-128, 127]], {}, [-128, -127]),
    ("Sign", "float32", [[-2, -0.0, 0, NAN, INF]], {}, [-1, 0, 0, NAN, 1]),
    ("Round", "float32", [[0.5, 1.5, 2.5, -0.5, -1.5, NAN, INF]], {}, [0, 2, 2, -0.0, -2, NAN, INF]),
    ("Ceil", "float32", [[-0.5, 1.25, INF]], {}, [-0.0, 2, INF]),
    ("Sqrt", "float32", [[-1, 0, -0.0, INF]], {}, [NAN, 0, -0.0, INF]),
    ("Log", "float32", [[0, -1, INF]], {}, [-INF, NAN, INF]),
    ("Reciprocal", "float32", [[0, -0.0, INF]], {}, [INF, -INF, 0]),
    ("Atanh", "float32", [[1, -1, 2]], {}, [INF, -INF, NAN]),
    ("Relu", "float32", [[NAN, -0.0, -INF]], {}, [NAN, 0, 0]),
    ("LeakyRelu", "float32", [[NAN, -INF, -8]], {"alpha": 0.25}, [NAN, -INF, -2]),
    ("ThresholdedRelu", "float32", [[NAN, 1, 1.5]], {}, [0, 0, 1.5]),
    ("Softplus", "float32", [[NAN, 1000, -1000]], {}, [NAN, 1000, 0]),
    ("Elu", "float32", [[NAN, -INF, INF]], {"alpha": 2.0}, [NAN, -2, INF]),
    ("Shrink", "int32", [[-3, -2, 0, 2, 3]], {"bias": 1.5, "lambd": 1.75}, [-2, -1, 0, 1, 2]),
    ("Add", "uint8", [[250], [10]], {}, [4]),
    ("Sub", "uint32", [[3], [5]], {}, [2**32 - 2]),
    ("Mul", "int8", [[100], [3]], {}, [44]),
    ("Div", "int32", [[7, -7, 7, -7], [2, 2, -2, -2]], {}, [3, -3, -3, 3]),
    ("Div", "int8", [[-128, -128], [3, 1]], {}, [-42, -128]),
    ("Mod", "int32", [[7, -7, 7, -7], [3, 3, -3, -3]], {}, [1, 2, -2, -1]),
    ("Mod", "int32", [[7, -7, 7, -7], [3, 3, -3, -3]], {"fmod": 1}, [1, -1, 1, -1]),
    ("Mod", "float32", [[0.0, -0.0, INF, 5, 5, -5, 3, NAN], [-3, 3, 2, 0, INF, INF, -INF, 1]], {}, [-0.0, 0.0, NAN, NAN, 5, INF, -INF, NAN]),
    ("Mod", "float32", [[INF, 5, 5, -5, 7.5], [2, 0, INF, INF, -2]], {"fmod": 1}, [NAN, NAN, 5, -5, 1.5]),
    ("BitShift", "int8", [[-128, -1, 5, 5, -5], [7, 9, -1, 8, -1]], {"direction": "RIGHT"}, [-1, -1, 0, 0, -1]),
    ("BitShift", "int8", [[-128, -1, 5, 65], [1, 9, -1, 1]], {"direction": "LEFT"}, [0, 0, 0, -126]),
    ("BitShift", "uint64", [[2**63, 1, 1], [63, 63, 64]], {"direction": "LEFT"}, [0, 2**63, 0]),
    ("Pow", "int32", [[3, 2, -1, 0, 1], [-1, 40, -3, 0, -5]], {}, [0, 0, -1, 1, 1]),
    ("Pow", "int64", [[3, -3, 7], [39, 39, 23]], {}, [3**39, -(3**39), (7**23 + 2**63) % 2**64 - 2**63]),
    ("Pow", "float32", [[-8, 0, 2, NAN], [1 / 3, 0, -INF, 0]], {}, [NAN, 1, 0, 1]),
    ("Pow", "float32", [[-INF, -0.0, 4], 0.5], {}, [INF, 0.0, 2]),
    ("Max", "float32", [[NAN, 1, -0.0], [1, NAN, -INF]], {}, [NAN, NAN, -0.0]),
    ("Min", "float32", [[NAN, 1], [1, NAN]], {}, [NAN, NAN]),
    ("Max", "uint64", [[2**63], [2**64 - 1]], {}, [2**64 - 1]),
    ("Equal", "float32", [[NAN, 0.0, INF], [NAN, -0.0, INF]], {}, [False, True, True]),
    ("GreaterOrEqual", "uint64", [[2**64 - 1, 0], [2**63, 1]], {}, [True, False]),
    ("ReduceSum", "int32", [[MOST["int32"], 1]], {"keepdims": 0}, LEAST["int32"]),
    ("ReduceProd", "int32", [[2**16, 2**16]], {"keepdims": 0}, 0),
    ("ReduceMean", "int32", [[-3, 0]], {"keepdims": 0}, -1),
    ("ReduceMean", "int64", [[2**60 + 3, 2**60 + 3, 2**60 + 4]], {"keepdims": 0}, 2**60 + 3),
    ("ReduceL2", "int32", [[3, 4, 1]], {"keepdims": 0}, 5),
    ("ReduceSumSquare", "int32", [[2**16, 3]], {"keepdims": 0}, 9),
    ("ReduceLogSumExp", "float32", [[1000, 1000]], {"keepdims": 0}, np.float32(1000 + math.log(2))),
    ("ReduceLogSumExp", "float32", [[-INF, -INF]], {"keepdims": 0}, -INF),
    ("ReduceLogSumExp", "float32", [[INF, 1]], {"keepdims": 0}, INF),
    ("ReduceMax", "float32", [[1, NAN, 2]], {"keepdims": 0}, NAN),
    ("ReduceMax", "bool", [[False, True]], {"keepdims": 0}, True),
    ("ReduceMin", "bool", [[False, True]], {"keepdims": 0}, False),
    ("ArgMax", "int32", [[3, 1, 3]], {"keepdims": 0, "select_last_index": 1}, 2),
    ("ArgMin", "float32", [[3, 1, 1]], {"keepdims": 0}, 1),
    ("Hardmax", "float32", [[1, 3, 3]], {}, [0, 1, 0]),
    ("IsInf", "float16", [[INF, -INF, 65504]], {"detect_negative": 0}, [True, False, False]),
]


@pytest.mark.parametrize(("name", "dtype", "inputs", "attrs", "expected"), EDGES, ids=[f"{k}-{row[0]}" for k, row in enumerate(EDGES)])
def test_edges(name: str, dtype: str, inputs: list[Any], attrs: Attrs, expected: Any) -> None:
    """Also signs of zeros; for Max and Min either may come out."""
    found = run(ops.get(name), [np.array(item, dtype) for item in inputs], attrs)[0]
    np.testing.assert_array_equal(found, np.array(expected, found.dtype))
    if found.dtype.kind == "f" and name != "Max":
        wanted = np.array(expected, found.dtype)
        np.testing.assert_array_equal(np.signbit(found)[wanted == 0], np.signbit(wanted)[wanted == 0])


@pytest.mark.parametrize(("name", "results"), [
    ("ReduceSum", {"float32": 0, "int32": 0}), ("ReduceProd", {"float32": 1, "uint64": 1}), ("ReduceL1", {"float64": 0}),
    ("ReduceL2", {"float16": 0}), ("ReduceSumSquare", {"int64": 0}), ("ReduceLogSum", {"float32": -INF}), ("ReduceLogSumExp", {"float32": -INF}),
    ("ReduceMax", {"float32": -INF, "float16": -INF, "int8": -128, "uint8": 0, "int64": LEAST["int64"], "bool": False}),
    ("ReduceMin", {"float32": INF, "float64": INF, "int8": 127, "uint8": 255, "int64": MOST["int64"], "bool": True}),
])
def test_reductions_of_nothing(name: str, results: dict[str, Any]) -> None:
    for dtype, expected in results.items():
        found = run(ops.get(name), [np.zeros((2, 0), dtype), ints(1)], {})[0]
        np.testing.assert_array_equal(found, np.full((2, 1), expected, dtype))


NUMBERS = (0.0, -0.75, 1.5, -1.0, 126.99, 200.0, -300.0, 65504.0, -65504.0, INF, -INF, NAN)


@pytest.mark.parametrize("target", DTYPES)
@pytest.mark.parametrize("source", ["float16", "float32", "float64"])
def test_casts_of_floats(source: str, target: str) -> None:
    """One by one with Python's integers: towards zero, and to the nearest number that the dtype has."""
    for number in (*NUMBERS, *((1e9, -1e9, 2.0**31, 2.0**63, -(2.0**63), 2.0**64, 1e30, -1e30) if source != "float16" else ())):
        value = np.array([number], source)
        with np.errstate(all="ignore"):
            found = cast(value, target)[0]
        if target == "bool":
            expected: Any = number != 0
        elif target.startswith("float"):
            with np.errstate(all="ignore"):
                expected = np.float64(value[0]).astype(target)
        else:
            limits = np.iinfo(target)
            exact = 0 if math.isnan(number) else number if math.isinf(number) else int(value[0])
            expected = int(min(max(exact, limits.min), limits.max))
        assert found.dtype == target
        assert (found == expected) or (np.isnan(found) and np.isnan(expected)), (number, found, expected)


@pytest.mark.parametrize("target", DTYPES)
@pytest.mark.parametrize("source", ["int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "bool"])
def test_casts_of_integers(source: str, target: str) -> None:
    """Integers lose their high bits, as two's complement has it."""
    limits = (0, 1) if source == "bool" else (np.iinfo(source).min, np.iinfo(source).max)
    for number in {limits[0], limits[1], 0, 1, limits[1] // 2}:
        with np.errstate(all="ignore"):
            found = cast(np.array([number], source), target)[0]
        if target == "bool":
            assert found == (number != 0)
        elif target.startswith("float"):
            largest = float(np.finfo(target).max)
            assert found == (np.array(number).astype(target) if abs(number) <= largest else math.copysign(INF, number))
        else:
            bits = np.iinfo(target).bits
            wrapped = number % 2**bits
            assert found == (wrapped - 2**bits if np.iinfo(target).min < 0 and wrapped >= 2**(bits - 1) else wrapped)


def test_bits_are_kept() -> None:
    x = np.array([1.0, -0.0, NAN, 1e-45], np.float32)
    found = run(ops.get("BitCast"), [x], {"to": CODE_OF_DTYPE["uint32"]})[0]
    assert found.tolist() == [int.from_bytes(item.tobytes(), "little") for item in x]
    assert run(ops.get("BitCast"), [np.array(True)], {"to": CODE_OF_DTYPE["int8"]})[0] == 1


WRONG: list[tuple[str, list[Any], dict[str, Any], tuple[str, ...]]] = [
    ("Gelu", [(3,)], {"approximate": "fast"}, ("approximate 'fast'", "'none', 'tanh'")),
    ("Mod", [(3,), (3,)], {"fmod": 2}, ("fmod 2", "0, 1")),
    ("BitShift", [((3,), "int32"), ((3,), "int32")], {"direction": "UP"}, ("direction 'UP'", "'LEFT', 'RIGHT'")),
    ("PRelu", [(2, 3), (4, 1, 1)], {}, ("slope of the shape 4x1x1", "2x3")),
    ("PRelu", [(2, 3), (2,)], {}, ("slope of the shape 2",)),
    ("SwiGLU", [(2, 3), (3,)], {}, ("2x3", "must be equal")),
    ("Pow", [((3,), "int8"), (3,)], {}, ("int8", "base")),
    ("Max", [(2, 3), (2,)], {}, ("do not broadcast",)),
    ("Sum", [(2,), None], {}, ("lacks its input 1",)),
    ("And", [(2,), (2,)], {}, ("float32", "bool")),
    ("BitCast", [(3,)], {"to": 11}, ("float32 as float64", "32 and 64 bits")),
    ("ReduceMax", [((2,), "int16")], {}, ("int16",)),
    ("ArgMax", [(0, 3)], {}, ("length 0",)),
    ("CumSum", [(2, 3), ints(2)], {}, ("axis 2",)),
    ("CumSum", [(2, 3), ints(0, 1)], {}, ("shape 2", "scalar")),
    ("NegativeLogLikelihoodLoss", [(2, 3), ((3,), "int64")], {}, ("labels of the shape 3", "want 2")),
    ("NegativeLogLikelihoodLoss", [(2, 3), ((2,), "int64"), (2,)], {}, ("takes 3 numbers",)),
    ("SoftmaxCrossEntropyLoss", [(2, 3), ((2,), "int64")], {"reduction": "max"}, ("reduction 'max'",)),
    ("Range", [np.array(0), np.array(3), np.array(0)], {}, ("no number of elements",)),
    ("Range", [np.array(0.0), np.array(1.0), np.array(1e-30)], {}, ("elements; it makes at most 1099511627776",)),
    ("Range", [ints(0, 1), ints(1), ints(1)], {}, ("shape 2", "scalars")),
    ("ConstantOfShape", [ints(2, -1)], {}, ("(2, -1)",)),
    ("ConstantOfShape", [ints(2)], {"value": np.zeros(2, np.float32)}, ("2 elements",)),
    ("EyeLike", [(2, 3, 4)], {}, ("takes 2",)),
    ("HannWindow", [ints(-1)], {}, ("-1 elements",)),
    ("HannWindow", [ints(5)], {"output_datatype": 9}, ("bool",)),
    ("Det", [(2, 3)], {}, ("2x3", "square")),
    ("Dropout", [(3,), np.array(0.25, np.float32), np.array(True)], {}, ("drops 0.25", "only inference")),
]


@pytest.mark.parametrize(("name", "inputs", "attrs", "parts"), WRONG, ids=[f"{k}-{row[0]}" for k, row in enumerate(WRONG)])
def test_messages(name: str, inputs: list[Any], attrs: dict[str, Any], parts: tuple[str, ...]) -> None:
    message = infer_wrongly(name, inputs, attrs)
    assert f"{name} node 'block.7'" in message
    for part in parts:
        assert part in message


@pytest.mark.parametrize("name", ["NegativeLogLikelihoodLoss", "SoftmaxCrossEntropyLoss"])
def test_a_label_without_a_class_is_refused(name: str) -> None:
    for label in (3, -1):
        with pytest.raises(OpError, match=f"label {label}, but there are 3 classes"):
            run(ops.get(name), [np.zeros((2, 3), np.float32), np.array([0, label])], {"ignore_index": 7})
