"""Native integer products: bit for bit what loops over int64 give, at every ISA level, at odd shapes, with all that is fused into them."""

from __future__ import annotations

import ctypes
import mmap
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from native_harness import run, to_memory
from thinfer import runtime
from thinfer.formats.graph import ActivationQuantization, Graph, Node, ValueInfo
from thinfer.formats.tensor import Affine, EncodedTensor
from thinfer.kernels import isa
from thinfer.kernels.integer.pack import Matrix, weight_bytes
from thinfer.kernels.ops._op import HOW
from thinfer.kernels.quantized import quantize
from thinfer.runtime.interpreter import evaluate
from thinfer.runtime.partition import NativeSegment
from thinfer.toolchain import importers, pipeline, recipe

F = np.float32
LEVELS = isa.levels()
THREADS = (1, 3) if os.environ.get("THINFER_LARGE", "1") != "0" else (3,)
"""Of whole plans: each takes a tenth of a second under qemu. Other files run integer kernels with one thread there."""
pytestmark = pytest.mark.skipif(not LEVELS, reason="no compiled kernels")

INT8, UINT8 = ActivationQuantization("static", "int8", float(F(0.021)), -7), ActivationQuantization("static", "uint8", float(F(0.017)), 119)
AFTER8, AFTER_U8 = ActivationQuantization("static", "int8", float(F(0.043)), -128), ActivationQuantization("static", "uint8", float(F(0.031)), 3)


def integers(shape: tuple[int, ...], seed: int = 1) -> tuple[EncodedTensor, np.ndarray, np.ndarray]:
    """(int8 weight, its int64 integers, float32[channels] scale), with both ends of the range."""
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, 256, shape)
    codes.flat[:2] = 0, 255
    scale = rng.uniform(0.0005, 0.002, shape[0]).astype(F)
    tensor = EncodedTensor(shape, "float32", Affine(codes.astype(np.uint8).reshape(-1), 8, scale[:, None], None, codes[0].size))
    return tensor, codes - 128, scale


def values(shape: tuple[int, ...], how: ActivationQuantization, seed: int = 2) -> np.ndarray:
    """Numbers that saturate, lie at ties of rounding, are infinite or none."""
    x = np.random.default_rng(seed).normal(0, 2, shape).astype(F)
    x.flat[::3] = F(how.scale) * (np.arange(x.flat[::3].size) % 200 - 100 + F(0.5))
    x.flat[-1] = np.inf
    x.flat[0] = np.nan
    return x


def sums_of(codes: np.ndarray, w: np.ndarray, group: int, strides: tuple[int, int], pads: tuple[int, ...], dilations: tuple[int, int]) -> np.ndarray:
    """int64 sums of a 2-D convolution; ``codes`` less their zero point."""
    codes = np.pad(codes.astype(np.int64), ((0, 0), (0, 0), (pads[0], pads[2]), (pads[1], pads[3])))
    spread = [dilation * (k - 1) + 1 for k, dilation in zip(w.shape[2:], dilations)]
    patches = np.lib.stride_tricks.sliding_window_view(codes, spread, (2, 3))[:, :, ::strides[0], ::strides[1], ::dilations[0], ::dilations[1]]
    parts = zip(np.split(patches, group, axis=1), np.split(w.astype(np.int64), group))
    return np.concatenate([np.einsum("ncyxhw,mchw->nmyx", part, filters, optimize=True) for part, filters in parts], axis=1)


def finished(sums: np.ndarray, how: ActivationQuantization, scale: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """float32: as docs/quantization.md ends a sum, each operation rounded once."""
    beside = (1, -1) if sums.ndim == 2 else (1, -1, 1, 1)
    product = sums.astype(F) * (F(how.scale) * scale).reshape(beside)
    return product + bias.reshape(beside)


def codes_of(y: np.ndarray, how: ActivationQuantization) -> np.ndarray:
    """What the next product reads, as (code − zero point) · scale."""
    found = quantize(y, how)
    return found.values * found.scale


def same_everywhere(graph: Graph, x: np.ndarray, expected: dict[str, np.ndarray], monkeypatch: pytest.MonkeyPatch, least_fused: int = 0) -> None:
    for level in LEVELS:
        monkeypatch.setenv("THINFER_ISA", level)
        for threads in THREADS:
            session = runtime.load(graph, threads=threads)
            segments = next(iter(session._plans.values())).segments
            assert all(isinstance(segment, NativeSegment) for segment in segments), "some of it runs in NumPy"
            assert sum(len(unit.fused) for segment in segments for unit in segment.units) >= least_fused  # type: ignore[union-attr]
            found = session.run({"x": x})
            for name, array in expected.items():
                np.testing.assert_array_equal(found[name], array, err_msg=f"{name} at {level} with {threads} threads")


CONVS: dict[str, tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]] = {
    "pointwise": ((1, 16, 5, 5), (16, 16, 1, 1), {}),
    "pointwise one of each": ((1, 1, 1, 1), (1, 1, 1, 1), {}),
    "pointwise odd": ((2, 7, 3, 5), (13, 7, 1, 1), {}),
    "pointwise tails": ((1, 33, 7, 7), (65, 33, 1, 1), {}),
    "pointwise wide": ((1, 24, 11, 11), (144, 24, 1, 1), {}),
    "pointwise two panels": ((1, 18, 5, 5), (31, 18, 1, 1), {}),
    "pointwise three panels": ((3, 9, 5, 3), (47, 9, 1, 1), {}),
    "pointwise four panels": ((1, 20, 5, 7), (64, 20, 1, 1), {}),
    "pointwise one panel": ((1, 32, 5, 7), (16, 32, 1, 1), {}),
    "pointwise 24": ((1, 17, 4, 5), (24, 17, 1, 1), {}),
    "pointwise long sums": ((1, 1031, 2, 2), (17, 1031, 1, 1), {}),
    "strided pointwise": ((1, 8, 7, 6), (20, 8, 1, 1), {"strides": (2, 2)}),
    "three colours": ((1, 3, 13, 11), (32, 3, 3, 3), {"strides": (2, 2), "pads": (1, 1, 1, 1)}),
    "3x3": ((2, 5, 6, 7), (19, 5, 3, 3), {"pads": (1, 1, 1, 1)}),
    "7x7": ((1, 3, 17, 9), (6, 3, 7, 7), {"strides": (2, 2), "pads": (3, 3, 3, 3)}),
    "dilated": ((1, 4, 9, 9), (8, 4, 3, 3), {"dilations": (2, 3), "pads": (2, 3, 1, 2)}),
    "grouped": ((1, 12, 5, 5), (20, 3, 3, 3), {"group": 4, "pads": (1, 0, 0, 1)}),
    "grouped pointwise": ((2, 12, 3, 3), (10, 6, 1, 1), {"group": 2}),
    "whole image": ((2, 6, 3, 4), (9, 6, 3, 4), {}),
    "depthwise": ((1, 16, 7, 7), (16, 1, 3, 3), {"group": 16, "pads": (1, 1, 1, 1)}),
    "depthwise one": ((1, 1, 1, 1), (1, 1, 1, 1), {"group": 1}),
    "depthwise odd": ((2, 13, 5, 6), (13, 1, 3, 3), {"group": 13, "pads": (1, 1, 1, 1)}),
    "depthwise 24": ((1, 24, 9, 5), (24, 1, 3, 3), {"group": 24, "pads": (1, 1, 1, 1), "strides": (2, 2)}),
    "depthwise 32": ((1, 32, 5, 9), (32, 1, 3, 3), {"group": 32, "pads": (0, 0, 0, 0)}),
    "depthwise 80, strided": ((1, 80, 9, 7), (80, 1, 3, 3), {"group": 80, "pads": (1, 1, 1, 1), "strides": (2, 2)}),
    "depthwise 5x5": ((1, 48, 7, 8), (48, 1, 5, 5), {"group": 48, "pads": (2, 2, 2, 2)}),
    "depthwise 5x5, strided": ((1, 70, 8, 7), (70, 1, 5, 5), {"group": 70, "pads": (2, 2, 2, 2), "strides": (2, 2)}),
    "depthwise, uneven": ((1, 16, 10, 11), (16, 1, 2, 7), {"group": 16, "pads": (1, 2, 0, 4), "strides": (1, 3), "dilations": (3, 1)}),
    "depthwise dilated": ((1, 17, 9, 9), (17, 1, 3, 3), {"group": 17, "pads": (2, 2, 2, 2), "dilations": (2, 2), "strides": (2, 1)}),
    "depthwise 7x7, many odd channels": ((1, 131, 7, 3), (131, 1, 7, 7), {"group": 131, "pads": (3, 3, 3, 3)}),
    "depthwise three colours": ((1, 3, 13, 30), (3, 1, 5, 5), {"group": 3, "pads": (2, 2, 2, 2)}),
    "depthwise few, strided": ((1, 5, 11, 29), (5, 1, 3, 3), {"group": 5, "pads": (1, 1, 1, 1), "strides": (2, 2)}),
    "depthwise one channel": ((2, 1, 6, 90), (1, 1, 3, 3), {"group": 1, "pads": (1, 1, 1, 1)}),
    "depthwise long": ((1, 160, 4, 40), (160, 1, 3, 3), {"group": 160, "pads": (1, 1, 1, 1)}),
}


@pytest.mark.parametrize("how", [INT8, UINT8], ids=["int8", "uint8"])
@pytest.mark.parametrize("name", CONVS)
def test_convolution(name: str, how: ActivationQuantization, monkeypatch: pytest.MonkeyPatch) -> None:
    """As floats, clamped into codes of either kind, and with a value added to it."""
    shape, w_shape, attrs = CONVS[name]
    x, (tensor, w, scale), bias = values(shape, how), integers(w_shape), np.random.default_rng(4).normal(0, 1, w_shape[0]).astype(F)
    with np.errstate(all="ignore"):
        codes = quantize(x, how).values
    sums = sums_of(codes, w, attrs.get("group", 1), attrs.get("strides", (1, 1)), attrs.get("pads", (0,) * 4), attrs.get("dilations", (1, 1)))
    y = finished(sums, how, scale, bias)
    addend = np.random.default_rng(5).normal(0, 1, y.shape).astype(F)
    least, most = np.array(-0.3, F), np.array(2.5, F)
    tables = {"w": tensor, "b": EncodedTensor.dense(bias), "least": EncodedTensor.dense(least), "most": EncodedTensor.dense(most)}
    conv = Node("Conv", ("v", "w", "b"), ("y",), attrs)
    first = (Node("Identity", ("x",), ("v",)), conv)

    def graph(nodes: tuple[Node, ...], outputs: tuple[str, ...], hows: dict[str, ActivationQuantization]) -> Graph:
        return Graph((ValueInfo("x", "float32", shape),), tuple(ValueInfo(out, "float32", y.shape) for out in outputs), (*first, *nodes), tables,
                     {"v": how, **hows})

    same_everywhere(graph((), ("y",), {}), x, {"y": y}, monkeypatch)
    one = EncodedTensor((y.shape[1], 1, 1, 1), "float32", Affine(np.full(y.shape[1], 129, np.uint8), 8, np.ones((1, 1), F), None, y.shape[1]))
    tables["one"] = one
    read = Node("Conv", ("u", "one"), ("z",), {"group": y.shape[1]})
    for after in (AFTER8, AFTER_U8):
        clamped = np.clip(y, least, most)
        nodes = (Node("Clip", ("y", "least", "most"), ("u",)), read)
        same_everywhere(graph(nodes, ("z",), {"u": after}), x, {"z": codes_of(clamped, after)}, monkeypatch, 2)
        nodes = (Node("Relu", ("y",), ("r",)), Node("Identity", ("r",), ("u",)), read)
        same_everywhere(graph(nodes, ("z", "r"), {"u": after}), x, {"z": codes_of(np.maximum(y, 0), after), "r": np.maximum(y, 0)}, monkeypatch, 2)
        total = addend + y
        tables |= {"addend": EncodedTensor.dense(addend), "zero": EncodedTensor.dense(np.zeros(y.shape, F))}
        nodes = (Node("Mul", ("y2", "zero"), ("m",)), Node("Add", ("m", "addend"), ("a",)))
        second = Node("Conv", ("v", "w", "b"), ("y2",), attrs)
        same = Graph((ValueInfo("x", "float32", shape),), tuple(ValueInfo(out, "float32", y.shape) for out in ("z", "t")),
                     (first[0], second, *nodes, conv, Node("Add", ("y", "a"), ("t",)), Node("Identity", ("t",), ("u",)), read), tables,
                     {"v": how, "u": after})
        same_everywhere(same, x, {"z": codes_of(total, after), "t": total}, monkeypatch, 2)


@pytest.mark.skipif(sys.platform == "win32", reason="pages are protected by mprotect")
@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("stride", [1, 2])
def test_nothing_behind_the_codes_is_read(stride: int, level: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """They end where a page begins that nobody may read."""
    monkeypatch.setenv("THINFER_ISA", level)
    page = mmap.PAGESIZE
    memory = mmap.mmap(-1, 5 * page)
    last = ctypes.addressof(ctypes.c_char.from_buffer(memory)) + 4 * page
    assert ctypes.CDLL(None).mprotect(ctypes.c_void_p(last), page, 0) == 0
    for channels in (1, 3, 15, 16, 17, 18, 24, 31, 33, 40, 47, 63, 64, 65):
        shape, w_shape, attrs = (1, channels, 9, 5), (channels, 1, 3, 3), {"group": channels, "strides": (stride, stride), "pads": (1,) * 4}
        (tensor, w, scale), codes = integers(w_shape), np.random.default_rng(2).integers(-128, 128, shape)
        y = finished(sums_of(codes - INT8.zero_point, w, channels, (stride, stride), (1,) * 4, (1, 1)), INT8, scale, np.zeros(channels, F))
        graph = Graph((ValueInfo("x", "float32", shape),), (ValueInfo("y", "float32", y.shape),), (Node("Conv", ("x", "w"), ("y",), attrs),),
                      {"w": tensor}, {"x": INT8})
        (plan,) = runtime.load(graph)._plans.values()
        (unit,) = (unit for segment in plan.segments for unit in segment.units if unit.site.weights)
        how = unit.site.attrs[HOW][0]
        given = np.frombuffer(memory, how.dtype, codes.size, 4 * page - codes.size)
        given[:] = to_memory((codes + how.zero_point - INT8.zero_point).astype(how.dtype), "NHWC")
        for option in unit.options:
            np.testing.assert_array_equal(run(unit.site, option, [given, *[None] * 8], level, given=given), y)


@pytest.mark.parametrize("m", [1, 2, 5, 13, 50])
@pytest.mark.parametrize(("k", "n"), [(1, 1), (3, 16), (64, 63), (130, 65), (37, 200)])
def test_gemm(m: int, k: int, n: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for how in (INT8, UINT8):
        x, (tensor, w, scale), bias = values((m, k), how), integers((n, k)), np.random.default_rng(4).normal(0, 1, n).astype(F)
        with np.errstate(all="ignore"):
            codes = quantize(x, how).values.astype(np.int64)
        expected = finished(codes @ w.T, how, scale, bias)
        node = Node("Gemm", ("x", "w", "b"), ("y",), {"transB": 1})
        graph = Graph((ValueInfo("x", "float32", (m, k)),), (ValueInfo("y", "float32", (m, n)),), (node,),
                      {"w": tensor, "b": EncodedTensor.dense(bias)}, {"x": how})
        same_everywhere(graph, x, {"y": expected}, monkeypatch)


def test_codes_at_ties_are_those_of_the_division(monkeypatch: pytest.MonkeyPatch) -> None:
    """A product whose results lie at or beside ties of rounding: the quick way has to notice."""
    how, after = ActivationQuantization("static", "int8", 0.5, 0), ActivationQuantization("static", "int8", float(F(1 / 3)), 4)
    shape = (1, 16, 64, 4)
    x = (np.random.default_rng(0).integers(-127, 128, shape) * 0.5).astype(F)
    scale = np.nextafter(F(1 / 3) / F(0.5) / F(2), F([0, 1])).repeat(8)[:16]  # y / s is a half, off by an ulp
    w = np.eye(16, dtype=np.int64) + np.eye(16, k=1, dtype=np.int64) * 2
    tensor = EncodedTensor((16, 16, 1, 1), "float32", Affine((w + 128).astype(np.uint8).reshape(-1), 8, scale[:, None], None, 16))
    one = EncodedTensor((16, 1, 1, 1), "float32", Affine(np.full(16, 129, np.uint8), 8, np.ones((1, 1), F), None, 16))
    y = finished(sums_of(quantize(x, how).values, w[:, :, None, None], 1, (1, 1), (0,) * 4, (1, 1)), how, scale, np.zeros(16, F))
    assert (np.abs(y / F(after.scale) % 1 - 0.5) < 1e-5).mean() > 0.2
    graph = Graph((ValueInfo("x", "float32", shape),), (ValueInfo("z", "float32", shape),),
                  (Node("Conv", ("x", "w"), ("u",)), Node("Conv", ("u", "one"), ("z",), {"group": 16})), {"w": tensor, "one": one},
                  {"x": how, "u": after})
    same_everywhere(graph, x, {"z": codes_of(y, after)}, monkeypatch, 1)


@pytest.mark.parametrize("shape", [(20, 24, 1, 1), (32, 1, 3, 3)], ids=["pointwise", "depthwise"])
def test_codes_and_weights_at_their_ends(shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    """Sums of two products that 16 bits do not hold, and those that they just do."""
    how, after = ActivationQuantization("static", "int8", 1.0, 0), ActivationQuantization("static", "int8", 4096.0, 0)
    channels, group = (shape[0], shape[0]) if shape[1] == 1 else (shape[1], 1)
    x = np.full((1, channels, 6, 5), -128, F)
    x[:, :, 3:] = 127
    one = EncodedTensor((shape[0], 1, 1, 1), "float32", Affine(np.full(shape[0], 129, np.uint8), 8, np.ones((1, 1), F), None, shape[0]))
    for weight in (-128, -127, 127):
        w = np.full(shape, weight)
        tensor = EncodedTensor(shape, "float32", Affine((w + 128).astype(np.uint8).reshape(-1), 8, np.ones((1, 1), F), None, w.size))
        y = finished(sums_of(quantize(x, how).values, w, group, (1, 1), (0,) * 4, (1, 1)), how, np.ones(shape[0], F), np.zeros(shape[0], F))
        graph = Graph((ValueInfo("x", "float32", x.shape),), (ValueInfo("z", "float32", y.shape),),
                      (Node("Conv", ("x", "w"), ("u",), {"group": group}), Node("Conv", ("u", "one"), ("z",), {"group": shape[0]})),
                      {"w": tensor, "one": one}, {"x": how, "u": after})
        same_everywhere(graph, x, {"z": codes_of(y, after)}, monkeypatch, 1)


@pytest.mark.parametrize("shape", [(37, 24, 1, 1), (16, 24, 1, 1), (35, 1, 3, 3)], ids=["pointwise", "pointwise, a panel", "depthwise"])
@pytest.mark.parametrize("adds", [False, True], ids=["bias", "addend"])
def test_nan_is_the_zero_point_outside_of_a_clip(shape: tuple[int, ...], adds: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The zero point lies below what the numbers are clamped to."""
    channels, group = (shape[0], shape[0]) if shape[1] == 1 else (shape[1], 1)
    x, (tensor, w, scale), bias = values((1, channels, 6, 5), INT8), integers(shape), np.random.default_rng(4).normal(0, 1, shape[0]).astype(F)
    x[np.isnan(x)] = 0
    bias[5] = bias[5] if adds else np.nan
    y = finished(sums_of(quantize(x, INT8).values, w, group, (1, 1), (0,) * 4, (1, 1)), INT8, scale, bias)
    addend = np.zeros(y.shape, F)
    addend[0, -1, -1, -1] = addend[0, 3, 1, 1] = np.nan
    one = EncodedTensor((shape[0], 1, 1, 1), "float32", Affine(np.full(shape[0], 129, np.uint8), 8, np.ones((1, 1), F), None, shape[0]))
    tables = {"w": tensor, "b": EncodedTensor.dense(bias), "one": one, "least": EncodedTensor.dense(np.array(0.5, F)),
              "most": EncodedTensor.dense(np.array(2.5, F)), "addend": EncodedTensor.dense(addend)}
    nodes = (Node("Conv", ("v", "w", "b"), ("y",), {"group": group}), *((Node("Add", ("y", "addend"), ("t",)),) if adds else ()),
             Node("Clip", ("t" if adds else "y", "least", "most"), ("u",)), Node("Conv", ("u", "one"), ("z",), {"group": shape[0]}))
    for after in (AFTER8, AFTER_U8):
        graph = Graph((ValueInfo("x", "float32", x.shape),), (ValueInfo("z", "float32", y.shape),),
                      (Node("Identity", ("x",), ("v",)), *nodes), tables, {"v": INT8, "u": after})
        expected = codes_of(np.clip(y + addend if adds else y, F(0.5), F(2.5)), after)
        assert (expected == 0).sum() == (2 if adds else expected[0, 5].size)
        same_everywhere(graph, x, {"z": expected}, monkeypatch, 1)


@pytest.mark.slow
def test_mobilenet_has_the_bits_of_numpy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from thinfer.benchmarks import images, models  # want Pillow, which the extra `bench` brings

    graph = importers.load(models.export("mobilenetv2", tmp_path)[0])
    crops, name = images.crops("mobilenetv2"), graph.inputs[0].name
    packed = pipeline.compress(graph, recipe.load("int8"), calibration={name: crops[:8]})
    expected = evaluate(packed, {name: crops[8:10]})
    for level in LEVELS:
        monkeypatch.setenv("THINFER_ISA", level)
        session = runtime.load(packed, threads=2)
        found = session.run({name: crops[8:10]})
        for key, array in expected.items():
            np.testing.assert_array_equal(found[key], array, err_msg=level)


@pytest.mark.parametrize("flip", [0, 128])
@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 16, 4), (2, 15, 5), (1, 17, 3), (3, 33, 130), (1, 16, 1025), (1, 1, 513)])
def test_panels_of_bytes(shape: tuple[int, int, int], flip: int) -> None:
    """As NumPy lays them out; sums of the least and the largest bytes too, which add up in 16 bits for a while."""
    native = isa.native()
    assert native is not None
    rng = np.random.default_rng(shape)
    matrix = Matrix(*shape, "rows")
    for w in (rng.integers(0, 256, shape).astype(np.uint8), np.full(shape, 127, np.uint8), np.full(shape, 128, np.uint8)):
        integers = (w ^ np.uint8(flip)).view(np.int8)
        out = np.full(weight_bytes(matrix, "avx2"), 99, np.uint8)
        sums = native.pack_panels(w, flip, out)
        np.testing.assert_array_equal(sums, integers.sum(-1, dtype=np.int64).reshape(-1))
        np.testing.assert_array_equal(out.view(np.int32), matrix.panelled(integers, "avx2").reshape(-1))
    with pytest.raises(ValueError, match="bytes"):
        native.pack_panels(w, flip, out[1:].copy())
