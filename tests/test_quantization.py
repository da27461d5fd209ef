"""Quantized activations: products in exact integers, bit for bit as loops over int64 have them, on every backend × ISA × threads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from thinfer import runtime
from thinfer.formats.graph import ActivationQuantization, Graph, Node, ValueInfo
from thinfer.formats.tensor import Affine, Binary, Codebook, EncodedTensor, Sparse, Ternary
from thinfer.kernels import isa
from thinfer.kernels.ops._op import OpError
from thinfer.runtime.interpreter import evaluate

TARGETS = [("numpy", None), *(("native", level) for level in isa.levels())]
F = np.float32
STATIC8 = ActivationQuantization("static", "int8", float(F(0.017)), 5)
STATIC_U8 = ActivationQuantization("static", "uint8", float(F(0.013)), 131)
TENSOR8, TENSOR_U8 = ActivationQuantization("dynamic", "int8"), ActivationQuantization("dynamic", "uint8")
SAMPLE8, ROW8 = (ActivationQuantization("dynamic", "int8", granularity=g) for g in ("sample", "row"))
ROW_U8 = ActivationQuantization("dynamic", "uint8", granularity="row")
HOWS = {"static-int8": STATIC8, "static-uint8": STATIC_U8, "tensor-int8": TENSOR8, "tensor-uint8": TENSOR_U8, "sample-int8": SAMPLE8,
        "row-int8": ROW8, "row-uint8": ROW_U8}
KINDS = ("affine8", "affine8-tensor", "affine4-zero", "affine2", "codebook3", "binary", "ternary", "sparse-affine8")


def weight(kind: str, shape: tuple[int, ...], axis: int) -> EncodedTensor:
    """A random weight of integers."""
    rng = np.random.default_rng(7)
    name, size, channels = kind.removeprefix("sparse-"), int(np.prod(shape)), shape[axis]
    kept = rng.random(size) < 0.4 if kind.startswith("sparse-") else np.ones(size, bool)
    held = int(kept.sum())
    scale = rng.uniform(0.001, 0.01, channels).astype(F)
    values: Any
    if name == "binary":
        values = Binary(rng.integers(0, 2, held).astype(np.uint8), scale)
    elif name == "ternary":
        values = Ternary(rng.integers(0, 3, held).astype(np.uint8), scale)
    elif name == "codebook3":
        values = Codebook(rng.integers(0, 8, held).astype(np.uint8), 3, rng.integers(-127, 128, (1, 8)).astype(np.int8), scale)
    else:
        bits = int(name[6])
        rows = 1 if name.endswith("tensor") else channels
        zero = rng.integers(0, 2 ** bits, (rows, 1)).astype(np.uint8) if name.endswith("zero") else None
        values = Affine(rng.integers(0, 2 ** bits, held).astype(np.uint8), bits, scale[:rows, None], zero, max(size // channels, 1))
    extra = {} if kept.all() else {"structure": Sparse.of(kept)}
    return EncodedTensor(shape, "float32", values, axis=axis, **extra)


def integers_of(tensor: EncodedTensor) -> tuple[np.ndarray, np.ndarray]:
    """(int64 like the tensor, float32[channels] scale), from the codes."""
    values, every = tensor.values, np.zeros(tensor.size, np.int64)
    channels = tensor.channels
    channel = np.arange(tensor.size) // int(np.prod(tensor.shape[tensor.axis + 1:])) % channels
    held = channel[tensor.kept()]
    if isinstance(values, Affine):
        zero = np.full((1, 1), 2 ** (values.bits - 1), np.int64) if values.zero_point is None else values.zero_point.astype(np.int64)
        found = values.codes.astype(np.int64) - np.broadcast_to(zero, (channels, 1))[held, 0]
        scale = np.broadcast_to(values.scale, (channels, 1))[:, 0]
    elif isinstance(values, Codebook):
        found, scale = values.entries[0].astype(np.int64)[values.indices], values.scale
    elif isinstance(values, Binary):
        found, scale = 2 * values.signs.astype(np.int64) - 1, values.scale
    else:
        found, scale = values.trits.astype(np.int64) - 1, values.scale
    every[tensor.kept()] = found
    return every.reshape(tensor.shape), np.asarray(scale, F)


def codes_by_loop(x: np.ndarray, how: ActivationQuantization) -> tuple[np.ndarray, np.ndarray]:
    """(int64 codes less zero point, float32 scale) like ``x``, one group of elements after another, by docs/quantization.md."""
    groups = {"tensor": (), "sample": x.shape[:1], "row": x.shape[:-1]}[how.granularity]
    codes, scales = np.zeros(x.shape, np.int64), np.zeros(x.shape, F)
    low, high = (-128, 127) if how.dtype == "int8" else (0, 255)
    for place in np.ndindex(groups):
        part = x[place]
        if how.kind == "static":
            scale, zero = F(how.scale), how.zero_point
        elif how.dtype == "int8":
            scale, zero = F(np.abs(part).max()) / F(127), 0
        else:
            least, most = min(F(part.min()), F(0)), max(F(part.max()), F(0))
            scale = F(most - least) / F(255)
            zero = 0 if scale == 0 else int(np.rint(-least / scale))
        scale = F(1) if scale == 0 else scale
        flat = np.asarray([min(max(int(np.rint(F(v) / scale)) + zero, low), high) - zero for v in np.ravel(part)], np.int64)
        codes[place], scales[place] = flat.reshape(np.shape(part)), scale
    return codes, scales


def conv_by_loop(x: np.ndarray, w: np.ndarray, groups: int, stride: int, pad: int) -> np.ndarray:
    """int64 sums of a 2-D convolution."""
    x = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    n, _, height, width = x.shape
    m, inner, kh, kw = w.shape
    out = np.zeros((n, m, (height - kh) // stride + 1, (width - kw) // stride + 1), np.int64)
    for i, j, r, c in np.ndindex(out.shape):
        first = j // (m // groups) * inner
        out[i, j, r, c] = (x[i, first:first + inner, r * stride:r * stride + kh, c * stride:c * stride + kw] * w[j]).sum()
    return out


def graph_of(op: str, x: tuple[int, ...], tensor: EncodedTensor, how: ActivationQuantization, out: tuple[int, ...],
             bias: np.ndarray | None = None, **attrs: Any) -> Graph:
    weights = {"w": tensor, **({} if bias is None else {"b": EncodedTensor.dense(bias)})}
    node = Node(op, ("v", *weights), ("y",), attrs)
    first = Node("Identity", ("x",), ("v",))
    return Graph((ValueInfo("x", "float32", x),), (ValueInfo("y", "float32", out),), (first, node), weights, {"v": how})


def everywhere(graph: Graph, feeds: Mapping[str, np.ndarray], monkeypatch: pytest.MonkeyPatch) -> np.ndarray:
    """The output, which is the same on every backend, ISA level and number of threads."""
    found = evaluate(graph, feeds)["y"]
    for backend, level in TARGETS:
        if level:
            monkeypatch.setenv("THINFER_ISA", level)
        for threads in (1, 3):
            again = runtime.load(graph, backend=backend, threads=threads).run(feeds)["y"]
            np.testing.assert_array_equal(again, found)
    return found


def data(shape: tuple[int, ...]) -> np.ndarray:
    """Numbers that saturate here and there, with ties of rounding among them, and a row and a sample of zeros."""
    rng = np.random.default_rng(3)
    x = rng.normal(0, 1.2, shape).astype(F)
    x.flat[::5] = F(STATIC8.scale) * (rng.integers(-90, 90, x.flat[::5].size) + F(0.5))
    x[..., 0, :] = 0
    x[-1] = 0
    return x


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("how", [name for name in HOWS if not name.startswith("row")])
def test_conv_is_exact(kind: str, how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for groups, stride, pad in ((1, 1, 1), (3, 2, 0), (6, 1, 1)):
        x, tensor = data((2, 6, 5, 5)), weight(kind, (6, 6 // groups, 3, 3), 0)
        bias = np.linspace(-1, 1, 6, dtype=F)
        codes, scales = codes_by_loop(x, HOWS[how])
        w, scale = integers_of(tensor)
        sums = conv_by_loop(codes, w, groups, stride, pad)
        expected = sums.astype(F) * (scales[:, :1, :1, :1] * scale.reshape(-1, 1, 1)) + bias.reshape(-1, 1, 1)
        assert expected.dtype == F
        graph = graph_of("Conv", x.shape, tensor, HOWS[how], expected.shape, bias, group=groups, strides=(stride,) * 2, pads=(pad,) * 4)
        np.testing.assert_array_equal(everywhere(graph, {"x": x}, monkeypatch), expected)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("how", HOWS)
def test_gemm_is_exact(kind: str, how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for turned in (0, 1):
        x, tensor = data((4, 7)), weight(kind, (9, 7) if turned else (7, 9), 1 - turned)
        bias = np.linspace(-1, 1, 9, dtype=F)
        codes, scales = codes_by_loop(x, HOWS[how])
        w, scale = integers_of(tensor)
        sums = codes @ (w.T if turned else w)
        expected = sums.astype(F) * ((scales[:, :1] * scale) * F(0.5)) + bias * F(2)
        graph = graph_of("Gemm", x.shape, tensor, HOWS[how], expected.shape, bias, transB=turned, alpha=0.5, beta=2.0)
        np.testing.assert_array_equal(everywhere(graph, {"x": x}, monkeypatch), expected)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("how", [name for name in HOWS if not name.startswith("sample")])
def test_matmul_is_exact(kind: str, how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for shape in ((2, 3, 7), (4, 7)):
        x, tensor = data(shape), weight(kind, (7, 9), 1)
        codes, scales = codes_by_loop(x, HOWS[how])
        w, scale = integers_of(tensor)
        expected = (codes @ w).astype(F) * (scales[..., :1] * scale)
        graph = graph_of("MatMul", x.shape, tensor, HOWS[how], expected.shape)
        np.testing.assert_array_equal(everywhere(graph, {"x": x}, monkeypatch), expected)


def half(graph: Graph) -> Graph:
    """The graph with float16 at its ends."""
    (x,), (y,) = graph.inputs, graph.outputs
    return replace(graph, inputs=(replace(x, dtype="float16"),), outputs=(replace(y, dtype="float16"),))


@pytest.mark.parametrize("kind", KINDS)
def test_float16_weights_with_tiny_scales_keep_their_integers(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Scales of 1e-7 and the values made of them are subnormal in float16."""
    x, tensor = data((4, 7)).astype(np.float16), weight(kind, (7, 9), 1)
    tiny = np.full_like(tensor.values.scale, 1e-7)  # type: ignore[union-attr]
    tensor = replace(tensor, dtype="float16", values=replace(tensor.values, scale=tiny))  # type: ignore[call-arg]
    how = replace(STATIC8, scale=50.0)
    codes, scales = codes_by_loop(x * np.float16(400), how)
    w, scale = integers_of(tensor)
    expected = ((codes @ w).astype(F) * (scales[:, :1] * scale)).astype(np.float16)
    assert np.count_nonzero(expected) > 10
    graph = half(graph_of("MatMul", x.shape, tensor, how, expected.shape))
    np.testing.assert_array_equal(everywhere(graph, {"x": x * np.float16(400)}, monkeypatch), expected)


def test_a_float16_bias_is_widened_before_it_is_multiplied(monkeypatch: pytest.MonkeyPatch) -> None:
    x, tensor = data((4, 7)).astype(np.float16), replace(weight("affine8", (7, 9), 1), dtype="float16")
    bias = np.random.default_rng(5).normal(size=9).astype(np.float16)
    codes, scales = codes_by_loop(x, STATIC8)
    w, scale = integers_of(tensor)
    products = (codes @ w).astype(F) * (scales[:, :1] * scale)
    expected = (products + bias.astype(F) * F(1.0535)).astype(np.float16)
    assert (expected != (products + (bias * np.float16(1.0535)).astype(F)).astype(np.float16)).any()
    graph = half(graph_of("Gemm", x.shape, tensor, STATIC8, expected.shape, bias, beta=1.0535))
    np.testing.assert_array_equal(everywhere(graph, {"x": x}, monkeypatch), expected)


def test_a_product_of_two_quantized_values_is_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = data((2, 3, 5)), data((2, 5, 4))
    infos = ValueInfo("a", "float32", a.shape), ValueInfo("b", "float32", b.shape)
    for first, second in ((STATIC8, STATIC_U8), (ROW8, TENSOR_U8), (TENSOR8, STATIC8)):
        (ca, sa), (cb, sb) = codes_by_loop(a, first), codes_by_loop(b, second)
        graph = Graph(infos, (ValueInfo("y", "float32", (2, 3, 4)),), (Node("MatMul", ("a", "b"), ("y",)),), {}, {"a": first, "b": second})
        np.testing.assert_array_equal(everywhere(graph, {"a": a, "b": b}, monkeypatch),
                                      (ca @ cb).astype(F) * (sa[..., :1] * sb[:1, :1, :1]))


def test_sums_beyond_24_bits_are_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sums of 2^27, where float32 would round, and every code at its limit."""
    how = ActivationQuantization("static", "uint8", 1.0, 0)
    x = np.full((1, 4099), 255, F)
    tensor = EncodedTensor((4099, 2), "float32", Affine(np.tile(np.array([255, 254], np.uint8), 4099), 8, np.ones((1, 1), F), None, 4099), axis=1)
    graph = graph_of("MatMul", x.shape, tensor, how, (1, 2))
    exact = np.array([[4099 * 255 * 127, 4099 * 255 * 126]], np.int64)
    assert exact.min() > 2 ** 26
    np.testing.assert_array_equal(everywhere(graph, {"x": x}, monkeypatch), exact.astype(F))


def test_sums_that_int32_cannot_hold_are_refused() -> None:
    how = ActivationQuantization("static", "uint8", 1.0, 0)
    count = 70_000
    tensor = EncodedTensor((count, 1), "float32", Affine(np.full(count, 255, np.uint8), 8, np.ones((1, 1), F), None, count), axis=1)
    graph = graph_of("MatMul", (1, count), tensor, how, (1, 1))
    with pytest.raises(OpError, match="int32 accumulators hold 2147483647"):
        evaluate(graph, {"x": np.zeros((1, count), F)})


@pytest.mark.parametrize("how", HOWS)
def test_other_readers_see_integers_times_the_scale(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Relu after the value, the caller who reads it, and a product whose weight is no integers."""
    x = data((3, 4))
    codes, scales = codes_by_loop(x, HOWS[how])
    seen = codes.astype(F) * scales
    relu = Graph((ValueInfo("x", "float32", x.shape),), (ValueInfo("y", "float32", x.shape), ValueInfo("v", "float32", x.shape)),
                 (Node("Neg", ("x",), ("v",)), Node("Relu", ("v",), ("y",))), {}, {"v": HOWS[how]})
    np.testing.assert_array_equal(everywhere(relu, {"x": -x}, monkeypatch), np.maximum(seen, 0))
    np.testing.assert_array_equal(runtime.load(relu).run({"x": -x})["v"], seen)
    w = np.eye(4, dtype=F) * 2
    plain = graph_of("MatMul", x.shape, EncodedTensor.dense(w, axis=1), HOWS[how], x.shape)
    np.testing.assert_array_equal(everywhere(plain, {"x": x}, monkeypatch), seen @ w)


def test_a_relu_after_a_product_is_kept_apart_from_its_quantization(monkeypatch: pytest.MonkeyPatch) -> None:
    """Conv → v (quantized) → Relu → u (quantized) → Conv: nothing is fused across v or u."""
    rng = np.random.default_rng(1)
    x, first, second = data((2, 3, 6, 6)), weight("affine8", (4, 3, 3, 3), 0), EncodedTensor.dense(rng.normal(size=(2, 4, 1, 1)).astype(F))
    nodes = (Node("Conv", ("x", "w"), ("v",)), Node("Relu", ("v",), ("u",)), Node("Conv", ("u", "w2"), ("y",)))
    graph = Graph((ValueInfo("x", "float32", x.shape),), (ValueInfo("y", "float32", (2, 2, 4, 4)),), nodes,
                  {"w": first, "w2": second}, {"v": STATIC8, "u": STATIC_U8})
    inner = replace(graph, nodes=nodes[:1], outputs=(ValueInfo("v", "float32", (2, 4, 4, 4)),), weights={"w": first}, quantized={})
    codes, scales = codes_by_loop(evaluate(inner, {"x": x})["v"], STATIC8)
    codes, scales = codes_by_loop(np.maximum(codes.astype(F) * scales, 0), STATIC_U8)
    last = replace(graph, nodes=nodes[2:], inputs=(ValueInfo("u", "float32", (2, 4, 4, 4)),), weights={"w2": second}, quantized={})
    expected = evaluate(last, {"u": codes.astype(F) * scales})["y"]
    for backend, level in TARGETS:
        if level:
            monkeypatch.setenv("THINFER_ISA", level)
        np.testing.assert_allclose(runtime.load(graph, backend=backend).run({"x": x})["y"], expected, rtol=1e-5, atol=1e-6)


def test_what_is_no_number() -> None:
    """NaN reads as zero where the scale is fixed; a row that holds NaN or Inf is NaN where the scale comes from it."""
    x = np.array([[1, np.nan, 2, np.inf], [1, 2, 3, 4]], F)
    graph = graph_of("MatMul", x.shape, weight("affine8", (4, 3), 1), STATIC8, (2, 3))
    np.testing.assert_array_equal(evaluate(graph, {"x": x})["y"], evaluate(graph, {"x": np.nan_to_num(x, nan=0, posinf=1e9)})["y"])
    found = evaluate(replace(graph, quantized={"v": ROW8}), {"x": x})["y"]
    assert np.isnan(found[0]).all()
    assert np.isfinite(found[1]).all()


def test_a_file_cannot_hold_the_nodes_of_plans() -> None:
    graph = Graph((ValueInfo("x", "float32", (2, 2)),), (ValueInfo("y", "float32", (2, 2)),), (Node("thinfer::MatMul", ("x", "x"), ("y",)),))
    with pytest.raises(OpError, match="only plans may hold"):
        runtime.load(graph)


def test_only_floats_can_be_quantized() -> None:
    info = ValueInfo("x", "int64", (2, 2))
    graph = Graph((info,), (replace(info, name="y"),), (Node("MatMul", ("x", "x"), ("y",)),), quantized={"x": STATIC8})
    with pytest.raises(OpError, match="got int64"):
        runtime.load(graph)


def test_captured_values_are_quantized_in_subgraphs_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both branches of an If read a quantized value of the graph around them: one by a product, one by a sum."""
    x, tensor = data((3, 7)), weight("affine8", (7, 7), 1)
    y = ValueInfo("y", "float32", (3, 7))
    branches = {"then_branch": Graph((), (replace(y, name="t"),), (Node("MatMul", ("v", "w"), ("t",)),)),
                "else_branch": Graph((), (replace(y, name="e"),), (Node("Add", ("v", "v"), ("e",)),))}
    nodes = (Node("Identity", ("x",), ("v",)), Node("If", ("c",), ("y",), branches))
    graph = Graph((ValueInfo("x", "float32", (3, 7)), ValueInfo("c", "bool", ())), (y,), nodes, {"w": tensor}, {"v": STATIC8})
    codes, scales = codes_by_loop(x, STATIC8)
    w, scale = integers_of(tensor)
    product = (codes @ w).astype(F) * (scales[:, :1] * scale)
    seen = codes.astype(F) * scales
    for condition, expected in ((True, product), (False, seen + seen)):
        np.testing.assert_array_equal(everywhere(graph, {"x": x, "c": np.array(condition)}, monkeypatch), expected)
