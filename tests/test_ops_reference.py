"""Every case of every operator against implementations that are not ours: onnx's reference evaluator and torch, in float64."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnx
import onnx.shape_inference
import onnxruntime
import ops_by_loops as loops
import pytest
import torch
import torch.nn.functional as F
from onnx import helper
from onnx.reference import ReferenceEvaluator
from ops_cases import OPSET, Arrays, all_cases, dtype_name, infer, model_of, named, run, widened
from thinfer.formats.graph import Graph, Node, ValueInfo
from thinfer.formats.tensor import EncodedTensor
from thinfer.kernels import ops
from thinfer.kernels.ops._op import Case, Op, Type
from thinfer.runtime import shapes

SMALL = all_cases(bench=False)
EVERY = all_cases()
Pair = tuple[Op, Case]

EVALUATOR_IS_WRONG = {
    # One output row less than SAME_LOWER asks for, which is ceil(length / stride).
    ("MaxPool", "same_lower"),
    # Ignores or refuses ceil_mode with VALID, where onnxruntime and onnx's shape inference round up.
    ("MaxPool", "ceil_valid"), ("AveragePool", "ceil_valid"), ("AveragePool", "ceil_valid_counted"),
    # Refuses negative pads.
    ("Pad", "cropped"),
    ("Pad", "cropped_and_padded"),
    # Rounds 1/6 to float32, also in float64: wrong from the eighth digit on.
    ("HardSwish", "image"), ("HardSwish", "saturated"), ("HardSwish", "scalar"), ("HardSwish", "vector"),
    # Gives float32, also for float64.
    *(("Erf", label) for label in ("image", "saturated", "scalar", "vector")),
    *(("Gelu", tanh + label) for tanh in ("", "tanh_") for label in ("image", "saturated", "scalar", "vector")),
    # Refuses scalars.
    ("Softsign", "scalar"),
    # Writes the sum into the first operand, though that may be smaller.
    ("Mean", "stretched"),
    # Gives int64 and uint64.
    ("ReduceSumSquare", "int32"), ("ReduceSumSquare", "uint32"),
    # Refuses scalars.
    ("ReduceLogSumExp", "scalar"),
    # Computes windows in float32.
    ("HannWindow", "float32"), ("HammingWindow", "float32"),
    # Compares shapes as if negative axes counted from the front.
    ("GatherElements", "negative_axis"),
    # Takes the depth as a scalar only, and subtracts booleans.
    ("OneHot", "axis"), ("OneHot", "float_indices"),
    # Takes nothing where a walk backwards starts before the first element; onnxruntime does as the specification says.
    ("Slice", "backwards_from_before"),
    # Takes rows where columns are asked for.
    ("Unique", "columns_by_occurrence"),
    # Shows the capped scores where the raw ones are asked for; the specification's own function shows the raw ones.
    ("Attention", "shows_scores"),
    # Sums without taking absolute values.
    ("LpNormalization", "absolute"), ("LpNormalization", "first_absolute"),
    # Gives the means in float64, whatever stash_type says.
    ("LayerNormalization", "statistics"),
    # In float32, whatever the inputs are.
    ("CausalConvWithState", "silu"), ("CausalConvWithState", "no_bias"),
    # Other than onnxruntime and torch.
    ("ConvTranspose", "output_shape"), ("ConvTranspose", "groups"), ("ConvTranspose", "depthwise"), ("GlobalMaxPool", "line"),
    ("GlobalMaxPool", "volume"), ("LpPool", "ceil_valid"), ("LpPool", "ceil"), ("LpPool", "ceil_padded"),
}
"""What is compared with torch or with loops alone."""

NOT_FOR_THE_EVALUATOR = {"RNN", "LSTM", "GRU", "GlobalLpPool", "GroupNormalization", "LRN", "MeanVarianceNormalization",
                         "LinearAttention",
                         "AffineGrid", "DeformConv", "GridSample", "MaxRoiPool", "Resize"}
"""Operators of which the evaluator knows too little; tests of their own compare them (test_ops_recurrent.py, test_ops_nets.py,
test_ops_sampling.py)."""

ONNX_IS_SILENT = {"Compress", "GroupNormalization", "MaxUnpool", "MeanVarianceNormalization", "NonMaxSuppression", "NonZero", "Range", "Unique"}
"""Operators whose output shape onnx does not infer, since it depends on elements (that of Range it infers for some dtypes)."""


def close(found: np.ndarray, expected: np.ndarray) -> None:
    assert found.dtype == expected.dtype
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)


def test_all_operators_of_the_first_breadth_exist() -> None:
    wanted = {"Conv", "Gemm", "MatMul", "BatchNormalization", "Relu", "Clip", "Sigmoid", "HardSigmoid", "HardSwish", "Tanh", "Softmax",
              "MaxPool", "AveragePool", "GlobalAveragePool", "ReduceMean", "Add", "Sub", "Mul", "Div", "Concat", "Reshape", "Flatten",
              "Transpose", "Squeeze", "Unsqueeze", "Pad", "Identity", "Dropout", "Cast", "Shape", "Gather", "Constant"}
    assert wanted <= set(ops.names())
    assert all(ops.get(name).name == name for name in wanted)


@pytest.mark.parametrize("name", ops.names())
def test_attributes_and_inputs_are_those_of_the_newest_opset(name: str) -> None:
    schema, op = onnx.defs.get_schema(name, OPSET), ops.get(name)
    kinds = (onnx.defs.OpSchema.AttrType.SPARSE_TENSOR, onnx.defs.OpSchema.AttrType.STRING, onnx.defs.OpSchema.AttrType.STRINGS)
    ours = {key: value for key, value in schema.attributes.items() if name != "Constant" or value.type not in kinds}
    assert set(op.attributes) == set(ours)
    assert op.inputs == (schema.min_input, schema.max_input)
    for key, value in ours.items():
        default = helper.get_attribute_value(value.default_value) if value.default_value.type else None
        if default is not None:
            whole = isinstance(default, list)
            plain = tuple(item.decode() if isinstance(item, bytes) else item for item in (default if whole else [default]))
            assert op.attributes[key] == (plain if whole else plain[0])


@pytest.mark.parametrize("pair", [p for p in SMALL if (p[0].name, p[1].name) not in EVALUATOR_IS_WRONG
                                  and p[0].name not in NOT_FOR_THE_EVALUATOR], ids=named)
def test_equals_onnx_reference_evaluator(pair: Pair) -> None:
    op, case = pair
    arrays = widened(case.arrays())
    results = run(op, arrays, case.attrs)
    wanted = results[:1] if op.name == "MaxPool" else results[:case.outputs]  # the evaluator's indices are wrong unless windows tile
    model = model_of(op, arrays, case.attrs, wanted)
    feeds = {f"i{k}": array for k, array in enumerate(arrays) if array is not None}
    for found, expected in zip(wanted, ReferenceEvaluator(model).run(None, feeds)):
        assert found.shape == expected.shape
        close(found, np.asarray(expected))


def torch_pads(x: torch.Tensor, attrs: Mapping[str, Any], value: float) -> torch.Tensor:
    begin, end, *_ = loops.geometry(attrs, x.shape[2:])
    return F.pad(x, [p for b, e in reversed(list(zip(begin, end))) for p in (b, e)], value=value)


def torch_conv(arrays: Arrays, attrs: Mapping[str, Any]) -> torch.Tensor:
    x, w, *bias = (torch.from_numpy(a) for a in arrays if a is not None)
    attrs = {**attrs, "kernel_shape": tuple(w.shape[2:])}
    conv = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}[x.ndim - 2]
    ones = (1,) * (x.ndim - 2)
    return conv(torch_pads(x, attrs, 0), w, bias[0] if bias else None, stride=tuple(attrs.get("strides", ones)),
                dilation=tuple(attrs.get("dilations", ones)), groups=attrs.get("group", 1))


def torch_gemm(arrays: Arrays, attrs: Mapping[str, Any]) -> torch.Tensor:
    a, b, *c = (torch.from_numpy(array) for array in arrays if array is not None)
    y = attrs.get("alpha", 1) * ((a.T if attrs.get("transA") else a) @ (b.T if attrs.get("transB") else b))
    return y + attrs.get("beta", 1) * c[0] if c else y


def torch_max_pool(arrays: Arrays, attrs: Mapping[str, Any]) -> torch.Tensor | None:
    (x,) = arrays
    assert x is not None
    if x.dtype.kind != "f" or attrs.get("ceil_mode"):
        return None
    pool = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}[x.ndim - 2]
    padded = torch_pads(torch.from_numpy(x), attrs, -np.inf)
    return pool(padded, tuple(attrs["kernel_shape"]), tuple(attrs.get("strides", (1,) * (x.ndim - 2))),
                dilation=tuple(attrs.get("dilations", (1,) * (x.ndim - 2))))


def torch_average_pool(arrays: Arrays, attrs: Mapping[str, Any]) -> torch.Tensor | None:
    """torch pads both sides alike and knows no dilations."""
    (x,) = arrays
    assert x is not None
    rank = x.ndim - 2
    begin, end, strides, dilations, _ = loops.geometry(attrs, x.shape[2:])
    if begin != end or set(dilations) != {1}:
        return None
    pool = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}[rank]
    return pool(torch.from_numpy(x), tuple(attrs["kernel_shape"]), tuple(strides), tuple(begin), bool(attrs.get("ceil_mode")),
                bool(attrs.get("count_include_pad")))


def torch_gathered(arrays: Arrays, attrs: Mapping[str, Any]) -> torch.Tensor:
    """torch counts no indices from the end."""
    x, indices = (np.asarray(array) for array in arrays)
    axis = attrs.get("axis", 0)
    return torch.gather(torch.from_numpy(x), axis, torch.from_numpy(np.where(indices < 0, indices + x.shape[axis], indices)).long())


def torch_one_hot(arrays: Arrays, attrs: Mapping[str, Any]) -> torch.Tensor | None:
    """torch puts the classes last and knows no index outside."""
    indices, depth, values = (np.asarray(array) for array in arrays)
    length = int(depth.reshape(()))
    whole = np.where(indices < 0, indices + length, indices).astype(np.int64)
    if ((whole < 0) | (whole >= length)).any():
        return None
    hot = F.one_hot(torch.from_numpy(whole), length).bool().movedim(-1, attrs.get("axis", -1))
    return torch.where(hot, torch.from_numpy(values[1:]), torch.from_numpy(values[:1]))


def torch_activation(function: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[Arrays, Mapping[str, Any]], torch.Tensor]:
    return lambda arrays, attrs: function(torch.from_numpy(np.asarray(arrays[0])))


IN_TORCH: dict[str, Callable[[Arrays, Mapping[str, Any]], torch.Tensor | None]] = {
    "Conv": torch_conv,
    "Gemm": torch_gemm,
    "MatMul": lambda arrays, attrs: torch.matmul(*(torch.from_numpy(a) for a in arrays if a is not None)),
    "BatchNormalization": lambda arrays, attrs: F.batch_norm(
        *(torch.from_numpy(np.asarray(arrays[place])) for place in (0, 3, 4, 1, 2)), training=False,
        eps=attrs.get("epsilon", float(np.float32(1e-5)))),
    "MaxPool": torch_max_pool,
    "AveragePool": torch_average_pool,
    "Softmax": lambda arrays, attrs: torch.softmax(torch.from_numpy(np.asarray(arrays[0])), attrs.get("axis", -1)),
    "GatherElements": torch_gathered,
    "OneHot": torch_one_hot,
    "Relu": torch_activation(torch.relu),
    "Sigmoid": torch_activation(torch.sigmoid),
    "Tanh": torch_activation(torch.tanh),
    "HardSwish": torch_activation(F.hardswish),
    "GlobalAveragePool": lambda arrays, attrs: torch.from_numpy(np.asarray(arrays[0])).flatten(2).mean(2).reshape(
        *np.shape(arrays[0])[:2], *(1,) * (np.ndim(arrays[0]) - 2)),
}


@pytest.mark.parametrize("pair", [p for p in EVERY if p[0].name in IN_TORCH], ids=named)
def test_equals_torch(pair: Pair) -> None:
    op, case = pair
    arrays = widened(case.arrays())
    expected = IN_TORCH[op.name](arrays, case.attrs)
    if expected is not None:
        close(run(op, arrays, case.attrs)[0], expected.numpy())


@pytest.mark.parametrize("pair", [p for p in EVERY if p[0].name == "MaxPool" and not p[1].attrs.get("storage_order")], ids=named)
def test_indices_equal_torch(pair: Pair) -> None:
    """torch counts places within a plane, ONNX within the whole input."""
    op, case = pair
    arrays = widened(case.arrays())
    x = np.asarray(arrays[0], np.float64)
    begin, end, strides, dilations, _ = loops.geometry(case.attrs, x.shape[2:])
    if begin == end:
        pool = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}[x.ndim - 2]
        _, places = pool(torch.from_numpy(x), tuple(case.attrs["kernel_shape"]), tuple(strides), tuple(begin), tuple(dilations),
                         bool(case.attrs.get("ceil_mode")), return_indices=True)
        planes = np.arange(x.shape[0] * x.shape[1]).reshape(*x.shape[:2], *(1,) * (x.ndim - 2)) * int(np.prod(x.shape[2:]))
        np.testing.assert_array_equal(run(op, arrays, case.attrs)[1], places.numpy() + planes)


@pytest.mark.parametrize("pair", [p for p in SMALL if p[0].name in ("MaxPool", "AveragePool")], ids=named)
def test_poolings_equal_loops(pair: Pair) -> None:
    op, case = pair
    arrays = widened(case.arrays())
    assert arrays[0] is not None
    found = run(op, arrays, case.attrs)
    expected, indices = loops.pool(arrays[0], case.attrs, op.name == "AveragePool")
    close(found[0], expected)
    if op.name == "MaxPool":
        np.testing.assert_array_equal(found[1], indices)


@pytest.mark.parametrize("pair", [p for p in SMALL if p[0].name in ("MaxPool", "AveragePool")], ids=named)
def test_poolings_equal_onnxruntime(pair: Pair) -> None:
    op, case = pair
    arrays = case.arrays()
    results = run(op, arrays, case.attrs)
    model = model_of(op, arrays, case.attrs, results)
    model.ir_version, model.opset_import[0].version = 10, 24  # the newest that onnxruntime knows; the poolings are the same
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    for found, expected in zip(results, session.run(None, {"i0": arrays[0]})):
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("pair", [p for p in SMALL if p[0].name == "Pad" and "mode" not in p[1].attrs and len(p[1].args) < 4], ids=named)
def test_padding_equals_loops(pair: Pair) -> None:
    x, pads, *value = widened(pair[1].arrays())
    assert x is not None
    assert pads is not None
    close(run(pair[0], [x, pads, *value], pair[1].attrs)[0], loops.pad(x, pads.tolist(), float(value[0]) if value else 0.0))


@pytest.mark.parametrize("pair", EVERY, ids=named)
def test_infer_tells_what_run_makes(pair: Pair) -> None:
    """With only constants known, in float32 and float64; and with everything known also the elements."""
    op, case = pair
    for arrays in (case.arrays(), widened(case.arrays())):
        results = run(op, arrays, case.attrs)
        for known in ([arg.constant or arg.dtype == "int64" for arg in case.args], [True] * len(case.args)):
            kinds = infer(op, arrays, case.attrs, known, len(results))
            assert len(kinds) == len(results) or (op.name in ONNX_IS_SILENT and not all(known) and not kinds)
            for kind, result in zip(kinds, results):
                assert (kind.dtype, kind.shape) == (result.dtype.name, result.shape)
                if kind.value is not None:
                    assert kind.value.dtype == result.dtype
                    np.testing.assert_array_equal(kind.value, result)


@pytest.mark.parametrize("pair", EVERY, ids=named)
def test_infer_agrees_with_onnx(pair: Pair) -> None:
    op, case = pair
    arrays = case.arrays()
    known = [arg.constant for arg in case.args]
    kinds = infer(op, arrays, case.attrs, [True] * len(arrays))
    model = onnx.shape_inference.infer_shapes(model_of(op, arrays, case.attrs, run(op, arrays, case.attrs)[:case.outputs], known),
                                              strict_mode=True, data_prop=True)
    found = model.graph.output[0].type.tensor_type
    assert kinds[0] is not None
    assert dtype_name(found.elem_type) == kinds[0].dtype
    if op.name not in ONNX_IS_SILENT:
        assert tuple(dim.dim_value for dim in found.shape.dim) == kinds[0].shape


def takes_floats(pair: Pair) -> bool:
    return pair[0].name not in ("Cast", "EyeLike") and any(arg.dtype == "float32" and not arg.absent for arg in pair[1].args)


@pytest.mark.parametrize("pair", list(filter(takes_floats, SMALL)), ids=named)
def test_every_float_dtype_stays(pair: Pair) -> None:
    """float16 in, float16 out, as close to float64 as its 11 bits allow."""
    op, case = pair
    arrays = case.arrays()
    halves = [a.astype(np.float16) if a is not None and a.dtype == np.float32 else a for a in arrays]
    exact = run(op, [a.astype(np.float64) if a is not None and a.dtype == np.float16 else a for a in halves], case.attrs)[0]
    for dtype, step in ((np.float16, 2e-3), (np.float32, 2e-6)):
        found = run(op, [a.astype(dtype) if a is not None and a.dtype == np.float16 else a for a in halves], case.attrs)[0]
        assert found.dtype == (exact.dtype if exact.dtype.kind != "f" else dtype)
        scale = max(1.0, float(np.abs(exact).max(initial=0))) if exact.dtype.kind == "f" else 1.0
        np.testing.assert_allclose(found.astype(np.float64), exact.astype(np.float64), rtol=step, atol=step * scale)


FIRST_AXIS_IS_NO_BATCH: dict[str, set[str] | None] = {
    **dict.fromkeys(("Compress", "GatherElements", "GatherND", "NonMaxSuppression", "NonZero", "ReverseSequence", "ScatterElements",
                     "ScatterND", "TensorScatter", "RNN", "LSTM", "GRU", "LinearAttention", "NegativeLogLikelihoodLoss", "SoftmaxCrossEntropyLoss")),
    "Attention": {"lengths", "lengths_below_queries", "past_packed_grouped"},
    "ArgMax": {"default", "last_default"}, "ArgMin": {"default", "last_default"}, "Det": {"matrix"},
    "LayerNormalization": {"everything", "stretched_ahead"}, "RMSNormalization": {"everything"},
    **dict.fromkeys(("AffineGrid", "MaxRoiPool", "RoiAlign")),
    "DFT": {"negative_axis"}, "Einsum": {"diagonal", "trace"},
    "RotaryEmbedding": {"heads", "places", "interleaved", "partly", "partly_interleaved_packed"},
    "Expand": {"token", "kept", "image", "bool"}, "Split": {"first"}, "Resize": {"linear_sizes", "crop"},
    "Gather": {"int32_indices"}, "Gemm": {"column_bias", "full_bias", "transposed_both", "transposed_first"},
    "Pad": {"cropped", "cropped_and_padded"}, "ReduceMean": {"first", "everything", "everything_flat", "no_axes"},
    "Reshape": {"explicit", "split", "mixed", "to_scalar", "ones"},
}
"""Operator → cases that take a particular length of it, or a mean over it; None: all of them."""


def takes_lengths(pair: Pair) -> bool:
    cases = FIRST_AXIS_IS_NO_BATCH.get(pair[0].name, set())
    return cases is None or pair[1].name in cases


def has_batch(pair: Pair) -> bool:
    case = pair[1]
    return (bool(case.args) and len(case.args[0].shape) > 1 and not case.args[0].weight and not case.args[0].absent
            and case.args[0].value is None and not takes_lengths(pair))


@pytest.mark.parametrize("pair", list(filter(has_batch, SMALL)), ids=named)
def test_an_empty_batch_gives_what_infer_tells(pair: Pair) -> None:
    """The first axis of the first input, and of what goes along with it, has the length 0."""
    op, case = pair
    first = case.args[0].shape
    arrays = [array[:0] if array is not None and arg.shape[:1] == first[:1] and len(arg.shape) == len(first) and not arg.weight else array
              for array, arg in zip(case.arrays(), case.args)]
    with np.errstate(all="ignore"):
        results = run(op, arrays, case.attrs)
    kinds = infer(op, arrays, case.attrs, [arg.constant or arg.dtype == "int64" for arg in case.args])
    assert [kind.shape for kind in kinds] == [result.shape for result in results]


@pytest.mark.parametrize("pair", [p for p in SMALL if p[0].name == "Unique"], ids=named)
def test_unique_equals_a_dictionary(pair: Pair) -> None:
    op, case = pair
    (x,) = case.arrays()
    assert x is not None
    axis = case.attrs.get("axis")
    slices = [tuple(part.ravel().tolist()) for part in (x.ravel() if axis is None else np.moveaxis(x, axis, 0))]
    firsts: dict[tuple[float, ...], int] = {}
    for place, part in enumerate(slices):
        firsts.setdefault(part, place)
    order = list(firsts) if not case.attrs.get("sorted", 1) else sorted(firsts)
    found = run(op, [x], case.attrs)
    assert [tuple(part.ravel().tolist()) for part in np.moveaxis(found[0], axis or 0, 0)] == order
    assert [array.tolist() for array in found[1:]] == [
        [firsts[part] for part in order], [order.index(part) for part in slices], [slices.count(part) for part in order]]


def test_reshape_keeps_an_empty_batch() -> None:
    (found,) = run(ops.get("Reshape"), [np.zeros((0, 3, 4), np.float32), np.array([0, -1])], {})
    assert found.shape == (0, 12)


@pytest.mark.parametrize("pair", EVERY, ids=named)
def test_run_leaves_its_inputs_alone(pair: Pair) -> None:
    op, case = pair
    arrays = case.arrays()
    for array in arrays:
        if array is not None:
            array.flags.writeable = False
    run(op, arrays, case.attrs)


def test_not_a_number_and_infinity_travel() -> None:
    x = np.array([np.nan, np.inf, -np.inf, 1.0], np.float32)
    with np.errstate(all="ignore"):
        assert np.isnan(run(ops.get("Relu"), [x], {})[0][0])
        assert np.isnan(run(ops.get("Clip"), [x, np.float32(0).reshape(()), np.float32(6).reshape(())], {})[0][0])
        np.testing.assert_array_equal(run(ops.get("Sigmoid"), [x[1:3]], {})[0], [1, 0])
        weight = np.zeros((1, 1, 1, 2), np.float32)
        assert np.isnan(run(ops.get("Conv"), [x.reshape(1, 1, 1, 4), weight], {})[0]).tolist() == [[[[True, True, True]]]]


def test_macs_count_multiplications() -> None:
    """By the formulas of the textbooks: M·C/g·K·positions, and rows·inner·columns."""
    def macs(name: str, *shapes: tuple[int, ...], **attrs: Any) -> int:
        op, arrays = ops.get(name), [np.zeros(shape, np.float32) for shape in shapes]
        kinds = infer(op, arrays, attrs, [True] * len(arrays))
        assert op.macs is not None
        node_attrs = {**op.attributes, **attrs}
        return op.macs(node_attrs, [Type.of(a) for a in arrays], kinds)

    assert macs("Conv", (2, 8, 10, 10), (16, 8, 3, 3), pads=(1, 1, 1, 1)) == 2 * 16 * 8 * 9 * 100
    assert macs("Conv", (1, 8, 10, 10), (16, 1, 3, 3), group=8) == 16 * 9 * 64
    assert macs("Gemm", (5, 7), (3, 7), transB=1) == 5 * 7 * 3
    assert macs("MatMul", (2, 5, 7), (7, 3)) == 2 * 5 * 7 * 3


def test_shape_arithmetic_resolves() -> None:
    """What exporters make of ``x.view(x.size(0), -1)`` and ``x.reshape(n, c // 2, -1)``."""
    def constant(*values: int) -> EncodedTensor:
        return EncodedTensor.dense(np.array(values, np.int64))

    nodes = (
        Node("Shape", ("x",), ("shape",)),
        Node("Gather", ("shape", "zero"), ("batch",)),
        Node("Unsqueeze", ("batch", "first"), ("batch_1",)),
        Node("Gather", ("shape", "one"), ("channels",)),
        Node("Div", ("channels", "two"), ("half",)),
        Node("Cast", ("half",), ("half_64",), {"to": 7}),
        Node("Unsqueeze", ("half_64", "first"), ("half_1",)),
        Node("Concat", ("batch_1", "half_1", "rest"), ("target",), {"axis": 0}),
        Node("Reshape", ("x", "target"), ("y",)),
    )
    weights = {"zero": EncodedTensor.dense(np.array(0, np.int64)), "one": EncodedTensor.dense(np.array(1, np.int64)),
               "two": EncodedTensor.dense(np.array(2, np.int64)), "first": constant(0), "rest": constant(-1)}
    graph = Graph((ValueInfo("x", "float32", ("n", 6, 4, 5)),), (ValueInfo("y", "float32", ("n", 3, 40)),), nodes, weights)
    kinds = shapes.infer(graph, {"x": (2, 6, 4, 5)})
    assert kinds["y"] is not None
    assert kinds["y"].shape == (2, 3, 40)


def test_a_region_that_means_nothing_leaves_the_shape_known() -> None:
    arrays = [np.zeros((1, 1, 4, 4), np.float32), np.zeros(8, np.float32), np.array([1, 1, 2, 3], np.float32)]
    (kind,) = infer(ops.get("Resize"), arrays, {}, [False, False, True])
    assert kind is not None
    assert kind.shape == (1, 1, 8, 12)
    assert infer(ops.get("Resize"), arrays, {"coordinate_transformation_mode": "tf_crop_and_resize"}, [False, False, True]) == []


def test_a_target_computed_from_data_leaves_the_shape_open() -> None:
    x, target = np.zeros((2, 6), np.float32), np.array([3, 4])
    assert infer(ops.get("Reshape"), [x, target], {}, [False, False]) == []
    assert infer(ops.get("Squeeze"), [x, target], {}, [False, False]) == []
    assert infer(ops.get("Pad"), [x, np.zeros(4, np.int64)], {}, [False, False]) == []
