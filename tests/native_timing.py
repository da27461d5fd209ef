"""Times every native lowering of a family's typical nodes: ``PYTHONPATH=build/ns python tests/native_timing.py sparse [avx2 [PATTERN]]``.

Prints microseconds (least of many runs, one thread, warm caches) beside the cost that the lowering claims, so that
kernels/costs.py can be kept honest. The figures in the families' README.md come from here.
"""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable, Iterator
from math import prod

import numpy as np
from graphs import encode
from native_harness import LEVELS, Recorder, site_of
from thinfer.formats.tensor import Binary, Codebook, EncodedTensor, Plain, Sparse, Values, Windowed
from thinfer.kernels.lowering import Layout, Lowering, Site, lowerings
from thinfer.kernels.movement.copies import emit_reorder, reorder_cost

RNG = np.random.default_rng(0)
SECONDS = 0.3
Line = tuple[str, Site, Lowering, list[np.ndarray | None]]


def floats(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


def sparse(shape: tuple[int, ...], kind: str, density: float, kept: np.ndarray | None = None) -> EncodedTensor:
    kept = RNG.random(shape) < density if kept is None else kept
    held = int(kept.sum())
    values: Values = Plain(floats(held).astype(np.float16 if kind == "fp16" else np.float32))
    if kind == "binary":
        values = Binary(RNG.integers(0, 2, held).astype(np.uint8), np.ones(shape[0], np.float32))
    elif kind.startswith("codebook"):
        bits = int(kind[8:])
        values = Codebook(RNG.integers(0, 2 ** bits, held).astype(np.uint8), bits, floats(1, 2 ** bits))
    return EncodedTensor(shape, "float32", values, Sparse.of(kept))


def windowed(shape: tuple[int, ...], windows: str, kind: str) -> EncodedTensor:
    n, m = map(int, windows.split(":"))
    kept = np.zeros((shape[0], prod(shape[1:]) // m, m), bool)
    np.put_along_axis(kept, RNG.random(kept.shape).argsort(2)[:, :, :n], True, axis=2)
    rows = kept.reshape(shape[0], -1)
    return EncodedTensor(shape, "float32", sparse(shape, kind, n / m, rows).values, Windowed.of(rows, n, m))


def node(label: str, op: str, arrays: list[np.ndarray | None], out: tuple[int, ...], level: str, attrs: dict[str, object] | None = None,
         weights: dict[int, EncodedTensor] | None = None, constants: tuple[int, ...] = ()) -> Iterator[Line]:
    site = site_of(op, arrays, np.empty(out, np.float32), attrs, weights, level, constants)
    for option in lowerings(site):
        yield label, site, option, arrays


def movement(level: str) -> Iterator[Line]:
    for shape in ((1, 3, 224, 224), (1, 32, 112, 112), (1, 96, 56, 56), (1, 192, 28, 28), (1, 1280, 7, 7)):
        x = floats(*shape)
        ways: tuple[tuple[Layout, Layout], ...] = (("NCHW", "NHWC"), ("NHWC", "NCHW"), ("NCHW", "NCHW"))
        for a, b in ways:
            option = Lowering("reorder", (a,), b, reorder_cost(shape),
                              lambda em, s=shape, a=a, b=b: emit_reorder(em, em.input(0), em.output(), s, a, b))  # type: ignore[misc]
            yield f"{shape}", site_of("Identity", [x], x, level=level), option, [x]


def elementwise(level: str) -> Iterator[Line]:
    x, gate = floats(1, 96, 56, 56), floats(1, 96, 1, 1)
    for op in ("Relu", "Sigmoid", "Tanh", "HardSwish", "LeakyRelu", "Elu", "Swish", "Gelu", "Mish", "Softplus", "Erf", "Exp", "Log", "Sqrt", "Round"):
        yield from node(op, op, [x], x.shape, level)
    yield from node("Add, same shape", "Add", [x, x], x.shape, level)
    yield from node("Mul, per channel", "Mul", [x, gate], x.shape, level)


def pool(level: str) -> Iterator[Line]:
    attrs: dict[str, object] = {"kernel_shape": (3, 3), "strides": (2, 2), "pads": (1, 1, 1, 1)}
    yield from node("3×3/2, 64×112×112", "MaxPool", [floats(1, 64, 112, 112)], (1, 64, 56, 56), level, attrs)
    yield from node("3×3, 64×35×35", "AveragePool", [floats(1, 64, 35, 35)], (1, 64, 35, 35), level, {**attrs, "strides": (1, 1)})
    yield from node("global, 1280×7×7", "GlobalAveragePool", [floats(1, 1280, 7, 7)], (1, 1280, 1, 1), level)


def softmax(level: str) -> Iterator[Line]:
    for shape, axis in (((1, 1000), 1), ((64, 1000), 1), ((1, 21, 64, 64), 1)):
        yield from node(f"{shape}, axis {axis}", "Softmax", [floats(*shape)], shape, level, {"axis": axis})


def norm(level: str) -> Iterator[Line]:
    width, channels = floats(384), floats(64)
    yield from node("LayerNormalization, 64×384", "LayerNormalization", [floats(64, 384), width, width], (64, 384), level, constants=(1, 2))
    yield from node("GroupNormalization, 64×28×28", "GroupNormalization", [floats(1, 64, 28, 28), channels, channels], (1, 64, 28, 28), level,
                    {"num_groups": 32}, constants=(1, 2))


def resample(level: str) -> Iterator[Line]:
    doubled: dict[str, object] = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    for label, shape, size, attrs in (
            ("nearest, 64×28×28 to 56×56", (1, 64, 28, 28), (56, 56), doubled),
            ("linear, 64×28×28 to 56×56", (1, 64, 28, 28), (56, 56), {"mode": "linear"}),
            ("linear, 21×33×33 to 257×257", (1, 21, 33, 33), (257, 257), {"mode": "linear"}),
            ("cubic, 3×256×256 to 224×224", (1, 3, 256, 256), (224, 224), {"mode": "cubic"})):
        sizes = np.array((*shape[:2], *size))
        yield from node(label, "Resize", [floats(*shape), None, None, sizes], (*shape[:2], *size), level, attrs, constants=(3,))


def recurrent(level: str) -> Iterator[Line]:
    """100 steps of one sequence. Sparse weights and blocks: 30 % of them are there."""
    kinds = ("fp32", "fp16", "codebook8", "codebook8-bf16", "codebook4", "codebook2", "binary", "affine4-block", "affine8-channel-symmetric",
             "8:32 codebook4", "6:32 fp16", "2:32 fp32", "4x1 fp32", "sparse fp32", "sparse codebook4")
    for hidden in (256, 512):
        for op, gates, attrs in (("LSTM", 4, {}), ("GRU", 3, {"linear_before_reset": 1})):
            for kind in kinds:
                tables = {i: encode(floats(1, gates * hidden, columns) / 16, kind, 1) for i, columns in ((1, 128), (2, hidden))}
                arrays = [floats(100, 1, 128), *(tensor.decode() for tensor in tables.values()), floats(1, 2 * gates * hidden)]
                yield from node(f"{op} 128 → {hidden}, 100 steps, {kind}", op, arrays, (100, 1, 1, hidden), level, {"hidden_size": hidden, **attrs},
                                tables, (3,))


def fold(level: str) -> Iterator[Line]:
    for x, w, attrs in (((1, 64, 28, 28), (64, 32, 2, 2), {"strides": (2, 2)}),
                        ((1, 64, 28, 28), (64, 64, 4, 4), {"strides": (2, 2), "pads": (1, 1, 1, 1)})):
        weight = encode(floats(*w), "fp32", 1)
        yield from node(f"{w[2]}×{w[3]}/2, {w[0]} → {w[1]}, 28×28", "ConvTranspose", [floats(*x), weight.decode()], (1, w[1], 56, 56), level,
                        dict(attrs), {1: weight})


def sparse_products(level: str) -> Iterator[Line]:
    for kind in ("fp32", "fp16", "codebook4", "codebook5", "codebook6", "codebook8", "binary"):
        for density in (0.2, 0.1, 0.05):
            w = sparse((4096, 4096), kind, density)
            label = f"4096², {kind}, {1 - density:.0%} sparse"
            yield from node(label, "Gemm", [floats(1, 4096), w.decode()], (1, 4096), level, {"transB": 1}, {1: w})
            if kind in ("fp32", "codebook4", "binary"):
                yield from node(f"{label}, 64 rows", "Gemm", [floats(64, 4096), w.decode()], (64, 4096), level, {"transB": 1}, {1: w})
    for windows in ("6:32", "3:32", "2:32"):
        for kind in ("fp32", "fp16", "codebook4", "binary"):
            w = windowed((4096, 4096), windows, kind)
            yield from node(f"4096², {kind}, {windows}", "Gemm", [floats(1, 4096), w.decode()], (1, 4096), level, {"transB": 1}, {1: w})
    for kind in ("fp32", "codebook4", "codebook5", "codebook6", "binary"):
        w = sparse((4096, 800), kind, 0.1)
        yield from node(f"4096×800, {kind}, 90% sparse", "Gemm", [floats(1, 800), w.decode()], (1, 4096), level, {"transB": 1}, {1: w})
    convs: tuple[tuple[tuple[int, ...], tuple[int, ...], dict[str, object]], ...] = (
        ((1, 960, 7, 7), (160, 960, 1, 1), {}), ((1, 96, 56, 56), (24, 96, 1, 1), {}),
        ((1, 64, 56, 56), (64, 64, 3, 3), {"pads": (1, 1, 1, 1)}),
        ((1, 96, 28, 28), (96, 1, 3, 3), {"pads": (1, 1, 1, 1), "group": 96}))
    for x, shape, attrs in convs:
        w = sparse(shape, "fp32", 0.1)
        yield from node(f"Conv {shape} over {x}, 90% sparse", "Conv", [floats(*x), w.decode()], (1, shape[0], *x[2:]), level, attrs, {1: w})


def winograd(level: str) -> Iterator[Line]:
    """3×3 convolutions, with direct ones and those of few weights for comparison."""
    for channels, size in ((64, 56), (128, 28), (256, 14), (512, 7)):
        shape, x = (channels, channels, 3, 3), floats(1, channels, size, size)
        weights = {kind: encode(floats(*shape), kind, 0) for kind in ("fp32", "fp16", *(f"codebook{bits}" for bits in range(2, 9)), "binary")}
        for kind in ("fp32", "codebook4"):
            weights |= {f"{windows} {kind}": windowed(shape, windows, kind) for windows in ("8:32", "3:32", "2:32")}
            weights |= {f"{1 - density:.0%} sparse {kind}": sparse(shape, kind, density) for density in (0.5, 0.2, 0.1, 0.05)}
        for kind, w in weights.items():
            yield from node(f"{channels} → {channels}, {size}², {kind}", "Conv", [x, w.decode()], x.shape, level, {"pads": (1, 1, 1, 1)}, {1: w})


FAMILIES: dict[str, Callable[[str], Iterator[Line]]] = {
    "movement": movement, "elementwise": elementwise, "pool": pool, "softmax": softmax, "norm": norm, "resample": resample, "sparse": sparse_products,
    "recurrent": recurrent, "fold": fold, "winograd": winograd}


def microseconds(line: Line, level: str) -> tuple[float, int]:
    """(least time of a run, bytes of packed weights)."""
    _, site, option, arrays = line
    em = Recorder(arrays, site.weights, option)
    if not option.alias:
        option.emit(em)
    out = np.empty(site.outputs[0].shape, np.float32).reshape(-1)
    engine = em.engine(level, out.nbytes, 1)
    least, end = float("inf"), time.perf_counter() + SECONDS
    while time.perf_counter() < end:
        start = time.perf_counter()
        engine.run((), (out,))
        least = min(least, time.perf_counter() - start)
    return least * 1e6, em.packed_bytes


def main(family: str, level: str = LEVELS[-1], pattern: str = "") -> None:
    for line in FAMILIES[family](level):
        label, _, option, _ = line
        if not re.search(pattern, label):
            continue
        spent, nbytes = microseconds(line, level)
        layouts = f"{next(layout for layout in option.inputs if layout)} → {option.output}"
        print(f"| {label} | {option.kernel} | {layouts} | {spent:.1f} | {option.cost / 1e3:.1f} | {nbytes / 1e6:.2f} |", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
