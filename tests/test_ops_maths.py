"""Element-wise maths, casts, reductions, losses and generators: against torch, scipy and math, at edges, and in every dtype of the spec."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnx
import pytest
import torch
import torch.nn.functional as F
from ops_cases import Arrays, all_cases, infer, named, node_of, run, widened
from scipy import signal, special
from test_ops_errors import infer_wrongly, ints
from thinfer.formats.graph import DTYPES, Graph, Node, ValueInfo
from thinfer.formats.tensor import EncodedTensor
from thinfer.kernels import ops
from thinfer.kernels.ops._cast import CODE_OF_DTYPE, cast
from thinfer.kernels.ops._erf import erf, erfc
from thinfer.kernels.ops._op import Case, Op, OpError, Type
from thinfer.runtime import shapes

Attrs = Mapping[str, Any]
NAN, INF = math.nan, math.inf
SLOPE = float(np.float32(0.01))


def tensors(arrays: Arrays) -> list[torch.Tensor]:
    return [torch.from_numpy(np.array(array)) for array in arrays if array is not None]


def of(function: Callable[..., torch.Tensor]) -> Callable[[Arrays, Attrs], torch.Tensor]:
    """A function of the inputs; attributes that are numbers go by their ONNX names."""
    return lambda arrays, attrs: function(*tensors(arrays), **attrs)


def torch_prelu(x: torch.Tensor, slope: torch.Tensor) -> torch.Tensor | None:
    if x.dtype.is_floating_point and x.ndim > 1 and slope.numel() in (1, x.shape[1]) and slope.shape != x.shape[-1:]:
        return F.prelu(x, slope.reshape(-1))
    return torch.where(x < 0, slope * x, x)


def torch_loss(function: Callable[..., torch.Tensor]) -> Callable[[Arrays, Attrs], torch.Tensor]:
    def compute(arrays: Arrays, attrs: Attrs) -> torch.Tensor:
        logs, labels, *weight = tensors(arrays)
        return function(logs, labels.long(), *weight, ignore_index=attrs.get("ignore_index", -100), reduction=attrs.get("reduction", "mean"))
    return compute


IN_TORCH: dict[str, Callable[[Arrays, Attrs], torch.Tensor | None]] = {
    "Celu": of(lambda x, alpha=1.0: F.celu(x, alpha)),
    "Det": of(torch.linalg.det),
    "Elu": of(lambda x, alpha=1.0: F.elu(x, alpha)),
    "Erf": of(torch.erf),
    "Gelu": of(lambda x, approximate="none": F.gelu(x, approximate=approximate)),
    "LeakyRelu": of(lambda x, alpha=SLOPE: F.leaky_relu(x, alpha)),
    "LogSoftmax": of(lambda x, axis=-1: torch.log_softmax(x, axis)),
    "Mean": of(lambda *xs: sum(xs[1:], xs[0]) / len(xs)),
    "Mish": of(F.mish),
    "NegativeLogLikelihoodLoss": torch_loss(F.nll_loss),
    "PRelu": of(torch_prelu),
    "SoftmaxCrossEntropyLoss": torch_loss(F.cross_entropy),
    "Softplus": of(lambda x: F.softplus(x, threshold=1e9)),
    "Softsign": of(F.softsign),
    "SwiGLU": of(lambda a, b, alpha=1.0: a * torch.sigmoid(alpha * a) * b),
    "Swish": of(lambda x, alpha=1.0: x * torch.sigmoid(alpha * x)),
    "ThresholdedRelu": of(lambda x, alpha=1.0: F.threshold(x, alpha, 0)),
}


@pytest.mark.parametrize("pair", [pair for pair in all_cases(bench=False) if pair[0].name in IN_TORCH], ids=named)
def test_equals_torch(pair: tuple[Op, Case]) -> None:
    op, case = pair
    arrays = widened(case.arrays())
    expected = IN_TORCH[op.name](arrays, case.attrs)
    assert expected is not None
    found = run(op, arrays, case.attrs)[0]
    assert found.shape == tuple(expected.shape)
    np.testing.assert_allclose(found, expected.numpy(), rtol=1e-12, atol=1e-12)


def test_the_error_function_is_accurate() -> None:
    x = np.concatenate([np.linspace(-30, 30, 60_001), np.logspace(-300, 1.4, 20_000), [0.46875, 4.0, -0.46875, -4.0]])
    for ours, reference in ((erf, math.erf), (erfc, math.erfc)):
        expected = np.array([reference(item) for item in x.tolist()])
        normal = np.abs(expected) > 1e-300
        assert np.max(np.abs(ours(x) - expected)[normal] / np.abs(expected)[normal]) < 1e-15
    ends = np.array([INF, -INF, NAN, 0.0, -0.0])
    np.testing.assert_array_equal(erf(ends), [1, -1, NAN, 0, -0.0])
    assert np.signbit(erf(ends)[4])
    np.testing.assert_array_equal(erfc(ends), [0, 2, NAN, 1, 1])


def test_gelu_keeps_its_digits_where_it_is_small() -> None:
    x = np.linspace(-12, -4, 1001)
    np.testing.assert_allclose(run(ops.get("Gelu"), [x], {})[0], x * special.ndtr(x), rtol=1e-12)


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


ELEMENTWISE = ("Abs", "Neg", "Sign", "Ceil", "Floor", "Round", "Sqrt", "Reciprocal", "Exp", "Log", "Sin", "Cos", "Tan", "Asin", "Acos", "Atan",
               "Sinh", "Cosh", "Asinh", "Acosh", "Atanh", "Erf", "IsInf", "IsNaN", "Not", "BitwiseNot", "Identity", "LeakyRelu", "Elu", "Selu",
               "Celu", "PRelu", "ThresholdedRelu", "Softplus", "Softsign", "Mish", "Swish", "SwiGLU", "Gelu", "HardSigmoid", "HardSwish", "Relu",
               "Sigmoid", "Tanh", "LogSoftmax", "Hardmax", "Softmax", "Shrink", "Pow", "Mod", "BitShift", "Min", "Max", "Mean", "Sum", "And", "Or",
               "Xor", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "BitwiseAnd", "BitwiseOr", "BitwiseXor", "Add", "Sub", "Mul",
               "Div", "Clip", "ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1", "ReduceL2", "ReduceLogSum",
               "ReduceLogSumExp", "ReduceSumSquare", "ArgMax", "ArgMin", "CumSum", "CumProd", "Det", "Dropout", "Range",
               "BatchNormalization", "NegativeLogLikelihoodLoss", "SoftmaxCrossEntropyLoss", "EyeLike", "Cast", "CastLike")


OF_OTHER_DTYPES = ("Cast", "CastLike", "EyeLike")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ELEMENTWISE)
def test_dtypes_are_those_of_the_spec(name: str, dtype: str) -> None:
    """Every dtype that ONNX gives the first input, and no other; the result has the dtype that ONNX gives it then."""
    op, schema = ops.get(name), onnx.defs.get_schema(name, 28)
    case = op.cases[0]
    variable = schema.inputs[0].type_str
    valid = next(kind.allowed_type_strs for kind in schema.type_constraints if kind.type_param_str == variable)
    places = [min(place, len(schema.inputs) - 1) for place in range(len(case.args))]
    with np.errstate(invalid="ignore"):
        arrays = [array.astype(dtype) if array is not None and schema.inputs[place].type_str == variable else array
                  for place, array in zip(places, case.arrays())]
    if name == "BitShift":
        arrays[1] = np.ones_like(arrays[1])  # type: ignore[arg-type]
    spelled = {"float32": "float", "float64": "double"}.get(dtype, dtype)
    if f"tensor({spelled})" not in valid:
        with pytest.raises(OpError, match=dtype):
            infer(op, arrays, case.attrs, [True] * len(arrays))
        return
    results = run(op, arrays, case.attrs)
    (kind, *_) = infer(op, arrays, case.attrs, [arg.constant for arg in case.args])
    wanted = {variable: dtype, "tensor(int64)": "int64"}.get(schema.outputs[0].type_str, results[0].dtype.name if name in OF_OTHER_DTYPES else "bool")
    assert kind is not None
    assert results[0].dtype.name == kind.dtype == wanted


@pytest.mark.parametrize(("name", "window"), [("HannWindow", "hann"), ("HammingWindow", ("general_hamming", 25 / 46)),
                                              ("BlackmanWindow", "blackman")])
def test_windows_equal_scipy(name: str, window: Any) -> None:
    """But for a periodic window of one element, which ONNX takes from its formula and scipy makes 1."""
    for periodic in (0, 1):
        for size in (1 + periodic, 3, 16, 33):
            found = run(ops.get(name), [np.array(size)], {"periodic": periodic, "output_datatype": CODE_OF_DTYPE["float64"]})[0]
            np.testing.assert_allclose(found, signal.get_window(window, size, fftbins=bool(periodic)), atol=1e-15)


@pytest.mark.parametrize("dtype", ["float32", "float64", "int16", "int32", "int64"])
def test_ranges_equal_numpy(dtype: str) -> None:
    for start, limit, delta in ((0, 7, 2), (7, 0, -2), (3, 3, 1), (5, 2, 1), (-4, 9, 3)):
        ends = [np.array(end, dtype) for end in (start, limit, delta)]
        found = run(ops.get("Range"), ends, {})[0]
        np.testing.assert_array_equal(found, np.arange(start, limit, delta, dtype))
        assert found.dtype == dtype


def test_a_long_range_of_halves_is_computed_as_float32() -> None:
    ends = [np.array(end, np.float16) for end in (0, 2048, 0.75)]
    found = run(ops.get("Range"), ends, {})[0]
    np.testing.assert_array_equal(found, (np.arange(2731) * np.float32(0.75)).astype(np.float16))


def test_shape_arithmetic_resolves() -> None:
    """What exporters make of padding a length to a multiple, of masks and of sequences of positions."""
    def constant(*values: int, dtype: str = "int64") -> EncodedTensor:
        return EncodedTensor.dense(np.array(values, dtype))

    nodes = (
        Node("Shape", ("x",), ("shape",)),                                # 2, 10
        Node("Cast", ("shape",), ("wide",), {"to": CODE_OF_DTYPE["float32"]}),
        Node("Div", ("wide", "eights"), ("parts",)),
        Node("Ceil", ("parts",), ("up",)),                                # 1, 2
        Node("Mul", ("up", "eights"), ("padded",)),                       # 8, 16
        Node("Cast", ("padded",), ("lengths",), {"to": CODE_OF_DTYPE["int64"]}),
        Node("Max", ("lengths", "shape"), ("most",)),
        Node("Mod", ("most", "five"), ("rest",)),                         # 3, 1
        Node("Add", ("rest", "one"), ("more",)),                          # 4, 2
        Node("ReduceProd", ("more",), ("count",), {"keepdims": 0}),       # 8
        Node("Range", ("zero", "count", "step"), ("places",)),            # 0 … 7
        Node("ConstantOfShape", ("more",), ("ones",), {"value": np.array([1], np.int64)}),
        Node("ReduceSum", ("ones",), ("total",)),                         # 8
        Node("Equal", ("total", "count"), ("same",)),
    )
    weights = {"eights": constant(8, dtype="float32"), "five": constant(5), "one": constant(1),
               "zero": EncodedTensor.dense(np.array(0)), "step": EncodedTensor.dense(np.array(1))}
    graph = Graph((ValueInfo("x", "float32", (2, "n")),), (ValueInfo("same", "bool", (1, 1)),), nodes, weights)
    kinds = shapes.infer(graph, {"x": (2, 10)})
    assert isinstance(kinds["same"], Type)
    assert kinds["same"].value is not None
    assert kinds["same"].value.tolist() == [[True]]
    assert kinds["places"] is not None
    assert kinds["places"].shape == (8,)


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


def test_any_number_of_operands() -> None:
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal((3, 1) if k % 2 else (4,)) for k in range(9)]
    for name, function in (("Sum", np.sum), ("Mean", np.mean), ("Max", np.max), ("Min", np.min)):
        op = ops.get(name)
        expected = function(np.stack(np.broadcast_arrays(*arrays)), axis=0)
        np.testing.assert_allclose(run(op, arrays, {})[0], expected, rtol=1e-14)
        op.checked_inputs("n", len(node_of(op, arrays, {}).inputs))
