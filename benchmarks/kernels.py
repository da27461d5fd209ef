"""``python -m thinfer.benchmarks.kernels [KERNEL …] [--threads N]``: single kernels beside torch's fp32, without sessions and reorders.

Layers are those of well-known networks and the cases that operators mark ``bench``. ``THINFER_ISA`` forces an ISA level.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..formats.graph import Node
from ..formats.tensor import (
    Affine,
    Binary,
    Blocks,
    Codebook,
    Dense,
    EncodedTensor,
    Plain,
    Sparse,
    Structure,
    Ternary,
    Values,
    View,
    Windowed,
)
from ..kernels import isa, ops
from ..kernels.lowering import Lowering, Ref, Site, aligned, lowerings
from ..kernels.ops._op import Type
from ..toolchain.timing import interleaved
from .environment import describe
from .report import machine, table

ENCODINGS = ("fp32", "fp16", "codebook8", "codebook6", "codebook4", "codebook3", "codebook2", "binary", "ternary", "affine8", "affine4", "affine8/32",
             "affine4/32", "affine3/32", "sparse affine4/32", "8:32 fp32", "8:32 codebook4", "8:32 affine4/32", "8:32 ternary", "2:16 codebook4",
             "2:64 codebook4", "4x1 fp32", "4x1 codebook4", "4x4 affine4/32", "1x4 fp16")


@dataclass(eq=False)
class Bare:
    """An Emitter whose steps run alone: activations lie where the lowering wants them, so nothing is reordered."""

    site: Site
    x: np.ndarray
    low: float = -np.inf
    high: float = np.inf
    weights: list[np.ndarray] = field(default_factory=list)
    steps: list[tuple[str, list[Ref], list[int], int]] = field(default_factory=list)
    scratch: int = 0

    def input(self, i: int) -> Ref:
        return self.constant(self.x if i not in self.site.weights else self.site.weights[i].decode())

    def output(self, i: int = 0) -> Ref:
        return Ref("value", "output")

    def weight(self, i: int, layout: str, pack: Callable[[EncodedTensor], np.ndarray]) -> Ref:
        return self.constant(pack(self.site.weights[i]))

    def temporary(self, nbytes: int) -> Ref:
        return self.constant(np.zeros(nbytes, np.uint8))

    def constant(self, array: np.ndarray) -> Ref:
        home = aligned(array.nbytes)
        home[:] = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
        self.weights.append(home)
        return Ref("weight", len(self.weights) - 1)

    def step(self, kernel: str, buffers: Sequence[Ref], params: Sequence[int], items: int, scratch: int = 0) -> None:
        self.steps.append((kernel, list(buffers), [int(p) for p in params], items))
        self.scratch = max(self.scratch, scratch)

    def engine(self, nbytes: int) -> Any:
        """Runs on (no inputs, one output of ``nbytes``)."""
        native = isa.native()
        assert native is not None
        names = list(dict.fromkeys(step[0] for step in self.steps))
        code = [len(self.steps)]
        for kernel, buffers, params, items in self.steps:
            code += [names.index(kernel), items, len(buffers)]
            for ref in buffers:
                code += [1, ref.key, ref.offset] if ref.kind == "weight" else [3, 0, ref.offset]
            code += [len(params), *params]
        return native.Engine(np.array(code, np.int64), names, self.site.isa, self.weights, [], [nbytes], 0, self.scratch,
                             native.ThreadPool(self.site.threads))


@dataclass(frozen=True)
class Layer:
    """A node to time: x and w random, no bias. ``encoding``: one of ENCODINGS."""

    name: str
    op: str
    x: tuple[int, ...]
    w: tuple[int, ...]
    attrs: dict[str, Any]
    encoding: str = "fp32"


def conv(network: str, cin: int, cout: int, size: int, kernel: int = 1, stride: int = 1, groups: int = 1, encoding: str = "fp32") -> Layer:
    kind = f"{kernel}×{kernel}" + (f" stride {stride}" if stride > 1 else "") + (" depthwise" if groups == cin else "")
    pads = (kernel // 2,) * 4
    return Layer(f"{network} {kind}, {cin} → {cout}, {size}²", "Conv", (1, cin, size, size), (cout, cin // groups, kernel, kernel),
                 {"pads": pads, "strides": (stride, stride), "group": groups}, encoding)


def layers() -> Iterator[Layer]:
    for cin, cout, size in ((32, 192, 56), (96, 24, 56), (144, 32, 28), (384, 96, 14), (576, 160, 7), (960, 320, 7), (320, 1280, 7)):
        yield conv("MobileNetV2", cin, cout, size)
    for encoding in ("fp16", "codebook8", "codebook4", "binary"):
        yield conv("MobileNetV2", 384, 96, 14, encoding=encoding)
    yield conv("MobileNetV2", 3, 32, 224, 3, 2)
    yield conv("ResNet", 3, 64, 224, 7, 2)
    for channels, size in ((64, 56), (128, 28), (256, 14), (512, 7)):
        yield conv("ResNet", channels, channels, size, 3)
    yield conv("ResNet", 128, 128, 28, 3, encoding="codebook4")
    for channels, size, kernel, stride in ((32, 112, 3, 1), (96, 112, 3, 2), (144, 56, 3, 1), (192, 56, 3, 1), (192, 28, 3, 1), (576, 14, 3, 1),
                                           (576, 14, 3, 2), (960, 7, 3, 1), (672, 14, 5, 1)):
        yield conv("MobileNetV2" if kernel == 3 else "EfficientNet", channels, channels, size, kernel, stride, channels)
    for rows in (1, 2, 8, 32):
        for encoding in ENCODINGS if rows == 1 else ("fp32", "codebook4"):
            yield Layer(f"fully connected, {rows} × 4096 → 4096", "Gemm", (rows, 4096), (4096, 4096), {"transB": 1}, encoding)


def marked() -> Iterator[Layer]:
    """The cases that Conv, Gemm and MatMul mark ``bench`` and that have a constant weight."""
    for name in ("Conv", "Gemm", "MatMul"):
        for case in ops.get(name).cases:
            if case.bench and case.args[1].weight:
                yield Layer(f"{name} {case.name}", name, case.args[0].shape, case.args[1].shape, dict(case.attrs))


def encoded(shape: tuple[int, ...], encoding: str, rng: np.random.Generator) -> EncodedTensor:
    """Random weights of that encoding: values, or a structure (``8:32`` windowed, ``4x1`` blocks of which a quarter is kept) and values."""
    structure_name, _, values_name = encoding.rpartition(" ")
    view = View(shape)
    structure = structure_of(view, structure_name, rng)
    held = structure.held(view)
    if values_name in ("fp32", "fp16"):
        values: Values = Plain(rng.standard_normal(held).astype("float32" if values_name == "fp32" else "float16"))
    elif values_name in ("binary", "ternary"):
        scale = np.ones(shape[0], np.float32)
        values = Binary(_symbols(rng, 2, held), scale) if values_name == "binary" else Ternary(_symbols(rng, 3, held), scale)
    elif values_name.startswith("affine"):
        bits, _, block = values_name.removeprefix("affine").partition("/")
        run = int(block) if block else view.inputs
        scale = rng.uniform(0.01, 0.02, (shape[0], -(-view.inputs // run))).astype(np.float32)
        values = Affine(_symbols(rng, 2 ** int(bits), held), int(bits), scale, None, run)
    else:
        count = 2 ** int(values_name.removeprefix("codebook"))
        values = Codebook(_symbols(rng, count, held), count.bit_length() - 1, rng.standard_normal((1, count)).astype(np.float32))
    return EncodedTensor(shape, "float32", values, structure)


def structure_of(view: View, name: str, rng: np.random.Generator) -> Structure:
    if ":" in name:
        n, m = map(int, name.split(":"))
        kept = np.zeros((view.channels, view.inputs // m, m), bool)
        np.put_along_axis(kept, np.argsort(rng.random(kept.shape), axis=2)[:, :, :n], True, axis=2)
        return Windowed.of(kept.reshape(view.channels, -1), n, m)
    if "x" in name:
        r, c = map(int, name.split("x"))
        return Blocks.of(rng.random((view.channels // r, view.inputs // c)) < 0.25, (r, c))
    return Sparse.of(rng.random(view.size) < 0.25) if name == "sparse" else Dense()


def _symbols(rng: np.random.Generator, count: int, held: int) -> np.ndarray:
    return rng.integers(0, count, held).astype(np.uint8)


def prepared(layer: Layer, threads: int) -> tuple[Lowering, Callable[[], object], Callable[[], object], int]:
    """(lowering that the planner would take, its call, torch's call, multiply-accumulates)."""
    rng = np.random.default_rng(0)
    op = ops.get(layer.op)
    x = rng.standard_normal(layer.x).astype(np.float32)
    tensor = encoded(layer.w, layer.encoding, rng)
    kinds = [Type("float32", layer.x), Type("float32", layer.w)]
    node = Node(layer.op, ("x", "w"), ("y",), layer.attrs)
    attrs = op.attrs_of(node)
    outputs = [kind for kind in op.types_of(node, kinds) if kind is not None]
    site = Site(node, attrs, tuple(kinds), tuple(outputs), {1: tensor}, threads, isa.selected())
    option = min(lowerings(site), key=lambda found: found.cost)
    bare = Bare(site, x)
    option.emit(bare)
    out = aligned(outputs[0].size * 4)
    engine = bare.engine(out.nbytes)
    macs = op.macs(attrs, kinds, outputs) if op.macs else 0
    return option, lambda: engine.run((), (out,)), _torch(layer, x, tensor.decode()), macs


def _torch(layer: Layer, x: np.ndarray, w: np.ndarray) -> Callable[[], object]:
    import torch

    a, b = torch.from_numpy(x), torch.from_numpy(w)
    if layer.op != "Conv":
        return (lambda: torch.nn.functional.linear(a, b)) if layer.attrs.get("transB") else (lambda: torch.matmul(a, b))
    axes = len(layer.x) - 2
    pads, strides = layer.attrs.get("pads", (0,) * axes)[:axes], layer.attrs.get("strides", (1,) * axes)
    convolve = getattr(torch.nn.functional, f"conv{axes}d")
    return lambda: convolve(a, b, stride=strides, padding=pads, groups=layer.attrs.get("group", 1))


def row(layer: Layer, threads: int, wanted: Sequence[str]) -> dict[str, Any] | None:
    """One line of the table, or None if the layer's kernel is none of the ``wanted`` (beginnings of names)."""
    option, ours, torchs, macs = prepared(layer, threads)
    if wanted and not any(option.kernel.startswith(name) for name in wanted):
        return None
    taken = interleaved({"ours": ours, "torch": torchs})
    best = taken["ours"].minimum
    return {"layer": layer.name, "weights": layer.encoding, "kernel": option.kernel, "ms min": best * 1e3,
            "ms median": taken["ours"].median * 1e3, "GFLOP/s": 2e-9 * macs / best, "torch fp32 ms min": taken["torch"].minimum * 1e3,
            "torch / this": taken["torch"].minimum / best, "estimated ms": option.cost * 1e-6}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m thinfer.benchmarks.kernels", description="Time single kernels beside torch's fp32.")
    parser.add_argument("kernels", nargs="*", metavar="KERNEL", help="only kernels whose names begin like this: gemm, gemv, depthwise …")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    import torch

    torch.set_num_threads(options.threads)
    found = (row(layer, options.threads, options.kernels) for layer in (*layers(), *marked()))
    print("\n".join(table([line for line in found if line is not None])))
    print(f"\n{machine(describe())}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
