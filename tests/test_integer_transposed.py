"""ConvTranspose of codes on the native engine: bit for bit what loops over int64 give, at every ISA level, with all that is fused into it."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
from test_native_integer import AFTER8, INT8, LEVELS, UINT8, codes_of, same_everywhere, values
from thinfer.formats.graph import ActivationQuantization, Graph, Node, ValueInfo
from thinfer.formats.tensor import Affine, EncodedTensor
from thinfer.kernels.quantized import quantize

F = np.float32
pytestmark = pytest.mark.skipif(not LEVELS, reason="no compiled kernels")
DYNAMIC = {"dynamic int8": ("int8", "tensor"), "dynamic uint8": ("uint8", "tensor"), "uint8 per sample": ("uint8", "sample")}
HOWS = {"int8": INT8, "uint8": UINT8, **{name: ActivationQuantization("dynamic", dtype, granularity=granularity)
                                         for name, (dtype, granularity) in DYNAMIC.items()}}

CASES: dict[str, tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]] = {
    "doubled": ((1, 16, 5, 6), (16, 32, 2, 2), {"strides": (2, 2)}),
    "one of each": ((1, 1, 1, 1), (1, 1, 1, 1), {}),
    "odd": ((2, 7, 4, 5), (7, 13, 3, 3), {"strides": (2, 3), "pads": (1, 0, 2, 1)}),
    "few channels": ((1, 33, 6, 5), (33, 3, 4, 4), {"strides": (2, 2), "pads": (1, 1, 1, 1)}),
    "grouped": ((2, 12, 4, 3), (12, 5, 3, 2), {"group": 3, "dilations": (2, 1)}),
    "longer than taps reach": ((1, 4, 3, 3), (4, 6, 2, 2), {"strides": (3, 3), "output_padding": (2, 1)}),
    "line": ((2, 5, 9), (5, 17, 4), {"strides": (2,), "pads": (1, 1)}),
    "volume": ((1, 3, 2, 3, 4), (3, 4, 2, 3, 2), {"strides": (1, 2, 2), "pads": (0, 1, 0, 1, 1, 0)}),
}


def sums_of(codes: np.ndarray, w: np.ndarray, attrs: dict[str, Any]) -> np.ndarray:
    """int64 sums; ``codes`` less their zero point."""
    rank, groups = w.ndim - 2, attrs.get("group", 1)
    strides, dilations, pads, extra = (attrs.get(key, (default,) * n) for key, default, n in (
        ("strides", 1, rank), ("dilations", 1, rank), ("pads", 0, 2 * rank), ("output_padding", 0, rank)))
    full = [s * (n - 1) + d * (k - 1) + 1 + e for s, n, d, k, e in zip(strides, codes.shape[2:], dilations, w.shape[2:], extra)]
    found = np.zeros((len(codes), w.shape[1] * groups, *full), np.int64)
    for group, tap in product(range(groups), np.ndindex(*w.shape[2:])):
        inputs, outputs = (slice(group * n // groups, (group + 1) * n // groups) for n in (codes.shape[1], found.shape[1]))
        places = tuple(slice(t * d, t * d + s * (n - 1) + 1, s) for t, d, s, n in zip(tap, dilations, strides, codes.shape[2:]))
        found[(slice(None), outputs, *places)] += np.einsum("nc...,cm->nm...", codes[:, inputs].astype(np.int64), w[(inputs, slice(None), *tap)])
    return found[(..., *(slice(begin, n - end) for begin, end, n in zip(pads[:rank], pads[rank:], full)))]


@pytest.mark.parametrize("kind", HOWS)
@pytest.mark.parametrize("name", CASES)
def test_transposed_convolution(name: str, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As floats, clamped floats beside codes, and with a value added to it."""
    (shape, w_shape, attrs), how = CASES[name], HOWS[kind]
    rng = np.random.default_rng(8)
    x = values(shape, how) if how.kind == "static" else rng.normal(0, 2, shape).astype(F)
    channels = w_shape[1] * attrs.get("group", 1)
    symbols = rng.integers(0, 256, w_shape).astype(np.uint8)
    symbols.flat[:2] = 0, 255
    per_channel = attrs.get("group", 1) == 1
    scale = rng.uniform(0.0005, 0.002, channels if per_channel else 1).astype(F)
    block = symbols[:, 0].size if per_channel else symbols.size
    tensor = EncodedTensor(w_shape, "float32", Affine(symbols.reshape(-1), 8, scale[:, None], None, block), axis=1 if per_channel else 0)
    bias = rng.normal(0, 1, channels).astype(F)
    with np.errstate(all="ignore"):
        found = quantize(x, how)
    beside = (1, -1, *(1,) * (len(shape) - 2))
    sx = F(how.scale) if how.kind == "static" else np.asarray(found.scale, F).reshape(-1, *(1,) * (len(shape) - 1))
    y = sums_of(found.values, symbols.astype(np.int64) - 128, attrs).astype(F) * (sx * scale.reshape(beside)) + bias.reshape(beside)
    addend = rng.normal(0, 1, y.shape).astype(F)
    ones = Affine(np.full(channels, 129, np.uint8), 8, np.ones((1, 1), F), None, channels)
    one = EncodedTensor((channels, 1, *(1,) * (len(shape) - 2)), "float32", ones)
    tables = {"w": tensor, "b": EncodedTensor.dense(bias), "one": one, "zero": EncodedTensor.dense(np.zeros(y.shape, F)),
              "addend": EncodedTensor.dense(addend)}
    first = (Node("Identity", ("x",), ("v",)), Node("ConvTranspose", ("v", "w", "b"), ("y",), attrs))
    read = Node("Conv", ("u", "one"), ("z",), {"group": channels})

    def graph(nodes: tuple[Node, ...], outputs: tuple[str, ...]) -> Graph:
        return Graph((ValueInfo("x", "float32", shape),), tuple(ValueInfo(out, "float32", y.shape) for out in outputs), nodes, tables,
                     {"v": how, "u": AFTER8} if "z" in outputs else {"v": how})

    same_everywhere(graph(first, ("y",)), x, {"y": y}, monkeypatch)
    nodes = (*first, Node("Relu", ("y",), ("r",)), Node("Identity", ("r",), ("u",)), read)
    same_everywhere(graph(nodes, ("z", "r")), x, {"z": codes_of(np.maximum(y, 0), AFTER8), "r": np.maximum(y, 0)}, monkeypatch, 2)
    again = Node("ConvTranspose", ("v", "w", "b"), ("y2",), attrs)
    added = (Node("Mul", ("y2", "zero"), ("m",)), Node("Add", ("m", "addend"), ("a",)), first[1], Node("Add", ("y", "a"), ("u",)))
    nodes = (first[0], again, *added, read)
    same_everywhere(graph(nodes, ("z",)), x, {"z": codes_of(y + addend, AFTER8)}, monkeypatch, 2)
