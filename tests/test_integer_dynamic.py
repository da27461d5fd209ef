"""Products of dynamic codes, which end in floats: bit for bit what loops over int64 give, at every ISA level."""

from __future__ import annotations

import numpy as np
import pytest
from test_native_integer import CONVS, LEVELS, integers, same_everywhere, sums_of
from thinfer.formats.graph import ActivationQuantization, Graph, Node, ValueInfo
from thinfer.formats.tensor import EncodedTensor
from thinfer.kernels.quantized import quantize

F = np.float32
pytestmark = pytest.mark.skipif(not LEVELS, reason="no compiled kernels")
HOWS = {f"{dtype} per {granularity}": ActivationQuantization("dynamic", dtype, granularity=granularity)
        for dtype, granularity in (("int8", "sample"), ("uint8", "sample"), ("uint8", "tensor"))}
NAMES = ("pointwise odd", "three colours", "7x7", "whole image", "depthwise odd", "depthwise 5x5, strided", "depthwise one channel",
         "depthwise 80, strided", "depthwise few, strided")


@pytest.mark.parametrize("kind", HOWS)
@pytest.mark.parametrize("name", NAMES)
def test_convolution(name: str, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (shape, w_shape, attrs), how = CONVS[name], HOWS[kind]
    x, (tensor, w, scale) = np.random.default_rng(6).normal(0, 2, shape).astype(F), integers(w_shape)
    x[-1] *= 3  # samples have scales of their own
    bias = np.random.default_rng(7).normal(0, 1, w_shape[0]).astype(F)
    found = quantize(x, how)
    sums = sums_of(found.values, w, attrs.get("group", 1), attrs.get("strides", (1, 1)), attrs.get("pads", (0,) * 4), attrs.get("dilations", (1, 1)))
    sx = np.asarray(found.scale, F).reshape(-1, 1, 1, 1)
    y = sums.astype(F) * (sx * scale[:, None, None]) + bias[:, None, None]
    nodes = (Node("Conv", ("x", "w", "b"), ("y",), attrs), Node("Relu", ("y",), ("r",)))
    graph = Graph((ValueInfo("x", "float32", shape),), (ValueInfo("r", "float32", y.shape),), nodes, {"w": tensor, "b": EncodedTensor.dense(bias)},
                  {"x": how})
    same_everywhere(graph, x, {"r": np.maximum(y, 0)}, monkeypatch, 1)


@pytest.mark.parametrize("kind", ["int8", "uint8"])
@pytest.mark.parametrize(("m", "k", "n"), [(1, 1, 1), (13, 3, 5), (50, 37, 65), (7, 130, 33)])
def test_rows(kind: str, m: int, k: int, n: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows with scales of their own, several of which a tile holds."""
    how = ActivationQuantization("dynamic", kind, granularity="row")
    x, (tensor, w, scale) = np.random.default_rng(6).normal(0, 2, (m, k)).astype(F), integers((n, k))
    x *= np.arange(1, m + 1, dtype=F)[:, None]
    found = quantize(x, how)
    y = (found.values.astype(np.int64) @ w.T).astype(F) * (np.asarray(found.scale, F).reshape(m, 1) * scale)
    graph = Graph((ValueInfo("x", "float32", (m, k)),), (ValueInfo("y", "float32", (m, n)),), (Node("Gemm", ("x", "w"), ("y",), {"transB": 1}),),
                  {"w": tensor}, {"x": how})
    same_everywhere(graph, x, {"y": y}, monkeypatch)
