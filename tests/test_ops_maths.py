"""Element-wise maths, reductions, losses and generators: against torch, scipy and math, and in every dtype of the spec."""

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
from thinfer.formats.graph import DTYPES, Graph, Node, ValueInfo
from thinfer.formats.tensor import EncodedTensor
from thinfer.kernels import ops
from thinfer.kernels.ops._cast import CODE_OF_DTYPE
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


def test_any_number_of_operands() -> None:
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal((3, 1) if k % 2 else (4,)) for k in range(9)]
    for name, function in (("Sum", np.sum), ("Mean", np.mean), ("Max", np.max), ("Min", np.min)):
        op = ops.get(name)
        expected = function(np.stack(np.broadcast_arrays(*arrays)), axis=0)
        np.testing.assert_allclose(run(op, arrays, {})[0], expected, rtol=1e-14)
        op.checked_inputs("n", len(node_of(op, arrays, {}).inputs))
