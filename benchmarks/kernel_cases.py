"""What single kernels are timed with: layers of well-known networks in every encoding, the cases that operators mark ``bench``, the nodes of
small quantized networks, and these networks whole, for what a plan fuses."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..formats.graph import ActivationQuantization, Graph, Node, ValueInfo
from ..formats.tensor import Affine, Codebook, EncodedTensor
from ..kernels import ops
from ..kernels.lowering import Lowering, Site, lowerings
from ..kernels.movement.copies import emit_reorder
from ..kernels.ops._op import Case, Op, Type
from ..runtime.explicit import explicit
from .bare import Bare
from .encodings import ENCODINGS, encoded
from .nets import single


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
    kind += "" if encoding == "fp32" else f" {encoding}"
    pads = (kernel // 2,) * 4
    return Layer(f"{network} {kind}, {cin} → {cout}, {size}²", "Conv", (1, cin, size, size), (cout, cin // groups, kernel, kernel),
                 {"pads": pads, "strides": (stride, stride), "group": groups}, encoding)


def layers(width: int = 4096) -> Iterator[Layer]:
    """``width``: of the fully connected ones."""
    for cin, cout, size in ((32, 192, 56), (96, 24, 56), (144, 32, 28), (384, 96, 14), (576, 160, 7), (960, 320, 7), (320, 1280, 7)):
        yield conv("MobileNetV2", cin, cout, size)
    for encoding in ("fp16", "codebook8", "codebook4", "binary", "sparse fp32", "sparse fp16", "sparse codebook4", "sparse binary"):
        yield conv("MobileNetV2", 384, 96, 14, encoding=encoding)
    for encoding in ("fp16", "codebook4", "affine8"):
        yield conv("MobileNetV2", 96, 96, 56, 3, 1, 96, encoding)
    for encoding in ("fp32", "fp16", "codebook4", "affine8"):
        yield conv("MobileNetV2", 3, 32, 224, 3, 2, encoding=encoding)
    yield conv("ResNet", 3, 64, 224, 7, 2)
    for channels, size in ((64, 56), (128, 28), (256, 14), (512, 7)):
        yield conv("ResNet", channels, channels, size, 3)
    for encoding in ("fp16", "codebook4", "affine8", "sparse fp32", "sparse codebook4", "2:32 fp32", "2:32 codebook4"):
        yield conv("ResNet", 128, 128, 28, 3, encoding=encoding)
    for channels, size, kernel, stride in ((32, 112, 3, 1), (96, 112, 3, 2), (144, 56, 3, 1), (192, 56, 3, 1), (192, 28, 3, 1), (576, 14, 3, 1),
                                           (576, 14, 3, 2), (960, 7, 3, 1), (672, 14, 5, 1)):
        yield conv("MobileNetV2" if kernel == 3 else "EfficientNet", channels, channels, size, kernel, stride, channels)
    for rows in (1, 2, 8, 32):
        for encoding in ENCODINGS if rows == 1 else ("fp32", "codebook4"):
            yield Layer(f"fully connected, {rows} × {width} → {width}, {encoding}", "Gemm", (rows, width), (width, width), {"transB": 1}, encoding)


@dataclass(frozen=True, eq=False)
class NodeCase:
    """A node with its inputs (None where absent), those of them that are weights, and the types of its outputs."""

    name: str
    node: Node
    arrays: Sequence[np.ndarray | None]
    weights: Mapping[int, EncodedTensor]
    outputs: tuple[Type, ...]

    def site(self, level: str, threads: int = 1) -> Site:
        kinds = tuple(None if array is None else Type(array.dtype.name, array.shape, array if i in self.weights else None)
                      for i, array in enumerate(self.arrays))
        return Site(self.node, ops.get(self.node.op).attrs_of(self.node), kinds, self.outputs, self.weights, threads, level)

    def options(self, level: str, threads: int = 1) -> dict[str, Lowering]:
        """Kernel's name and the layouts it reads → the cheapest such lowering."""
        found: dict[str, Lowering] = {}
        for option in sorted(lowerings(self.site(level, threads)), key=lambda one: one.cost):
            if not option.alias and option.makes >= len(self.outputs):
                found.setdefault(" ".join([option.kernel, *(layout for layout in option.inputs if layout)]), option)
        return found

    def bare(self, option: Lowering) -> Bare:
        made = Bare(option, self.arrays, self.weights)
        option.emit(made)
        return made

    def call(self, option: Lowering, level: str, threads: int = 1) -> Callable[[], object]:
        return self.bare(option).call([(kind.shape, kind.dtype) for kind in self.outputs], level, threads)


def of_layer(layer: Layer) -> NodeCase:
    rng = np.random.default_rng(0)
    tensor = encoded(layer.w, layer.encoding, rng)
    arrays = [rng.standard_normal(layer.x).astype(np.float32), np.broadcast_to(np.float32(0), layer.w)]
    return _node_case(layer.name, Node(layer.op, ("x", "w"), ("y",), layer.attrs), arrays, {1: tensor})


def of_case(op: Op, case: Case) -> NodeCase:
    arrays = case.arrays()
    fixed = {i: EncodedTensor.dense(array) for i, (arg, array) in enumerate(zip(case.args, arrays))
             if array is not None and (arg.weight or arg.constant or (arg.value is not None and arg.dtype == "int64"))}
    count = case.outputs or 1
    node = Node(op.name, tuple("" if array is None else f"i{i}" for i, array in enumerate(arrays)), tuple(f"y{i}" for i in range(count)), case.attrs)
    return _node_case(f"{op.name} {case.name}", node, arrays, fixed)


def _node_case(name: str, node: Node, arrays: Sequence[np.ndarray | None], weights: Mapping[int, EncodedTensor]) -> NodeCase:
    op = ops.get(node.op)
    kinds = [None if array is None else Type(array.dtype.name, array.shape, array if i in weights and array.size < 1000 else None)
             for i, array in enumerate(arrays)]
    outputs = tuple(kind for kind in op.infer(node, op.attrs_of(node), kinds)[:len(node.outputs)] if kind is not None)
    return NodeCase(name, node, arrays, weights, outputs)


class Reorder(NodeCase):
    """What plans put between nodes that want different layouts: NCHW to NHWC."""

    def options(self, level: str, threads: int = 1) -> dict[str, Lowering]:
        (kind,) = self.outputs
        return {"reorder": Lowering("reorder", ("NCHW",), "NHWC", 0.0, lambda em: emit_reorder(
            em, em.input(0), em.output(), kind.shape, "NCHW", "NHWC", np.dtype(kind.dtype).itemsize))}


def reorders() -> Iterator[NodeCase]:
    for dtype in ("float32", "int8"):
        x = np.ones((1, 96, 56, 56), dtype)
        yield Reorder(f"reorder {dtype}", Node("Identity", ("x",), ("y",)), [x], {}, (Type(dtype, x.shape),))


def of_operators() -> Iterator[NodeCase]:
    """The cases that operators mark ``bench``, and of inputs that none of these has (dtypes, which of them are weights) the largest case: it
    times little but the call, which is what such operators cost."""
    for name in ops.names():
        op = ops.get(name)
        if op.bodies:
            continue
        chosen: dict[tuple[tuple[str, bool], ...], Case] = {}
        for case in sorted(op.cases, key=_elements):
            chosen[_inputs(case)] = case
        marked = [case for case in op.cases if case.bench]
        rest = [case for inputs, case in chosen.items() if not case.bench and inputs not in map(_inputs, marked)]
        yield from (of_case(op, case) for case in (*marked, *rest))


def _inputs(case: Case) -> tuple[tuple[str, bool], ...]:
    return tuple((arg.dtype, arg.weight) for arg in case.args)


def _elements(case: Case) -> int:
    return sum(array.size for array in case.arrays() if array is not None)


STATIC = ActivationQuantization("static", "int8", 0.03125, 0)
UNSIGNED = ActivationQuantization("static", "uint8", 0.03125, 128)
BY_ROW = ActivationQuantization("dynamic", "int8", granularity="row")
SIGNS_BY_ROW = ActivationQuantization("dynamic", "binary", granularity="row")
BY_SAMPLE = ActivationQuantization("dynamic", "int8", granularity="sample")


def quantized(width: int = 4096) -> dict[str, Graph]:
    """Networks whose activations are quantized: convolutions on a given grid, products on one found as they run."""
    rng = np.random.default_rng(0)
    found = {}
    codes = (*(("int8", encoding, BY_ROW) for encoding in ("affine8", "codebook4", "codebook3", "codebook2", "binary")),
             ("binary", "binary", SIGNS_BY_ROW))
    for kind, encoding, how in codes:
        graph = single("Gemm", (1, width), (1, width), {"w": np.zeros((width, width), np.float32)}, {"transB": 1})
        found[f"{kind} 1 × {width} → {width}, {encoding}"] = with_codes(graph, {"w": integers((width, width), encoding, rng)}, {"x": how})
    for name, how in (("static int8", STATIC), ("static uint8", UNSIGNED), ("dynamic", BY_SAMPLE)):
        found[f"{name} bottleneck"] = with_codes(bottleneck(), {}, {value: how for value in ("x", "r0", "r1", "r2")})
    shape = (64, 32, 2, 2)
    graph = single("ConvTranspose", (1, 64, 28, 28), (1, 32, 56, 56), {"w": np.zeros(shape, np.float32)}, {"strides": (2, 2)})
    one_scale = Affine(rng.integers(0, 256, 8192).astype(np.uint8), 8, np.full((1, 1), 0.01, np.float32), None, 8192)
    found["static int8, doubled"] = with_codes(graph, {"w": EncodedTensor(shape, "float32", one_scale)}, {"x": STATIC})
    return found


def integers(shape: tuple[int, ...], encoding: str, rng: np.random.Generator) -> EncodedTensor:
    """As ``encoded``, but a codebook's entries are int8, with a scale per output channel."""
    tensor = encoded(shape, encoding, rng)
    if not isinstance(tensor.values, Codebook):
        return tensor
    entries = rng.integers(-127, 128, tensor.values.entries.shape).astype(np.int8)
    return replace(tensor, values=replace(tensor.values, entries=entries, scale=np.full(shape[0], 0.01, np.float32)))


def bottleneck(channels: int = 32, hidden: int = 96, size: int = 14) -> Graph:
    """Expand, depthwise, project, the 3×3 convolution of a plain net, and a shortcut around them, with int8 weights."""
    rng = np.random.default_rng(0)
    nodes, weights, value = [], {}, "x"
    for i, (shape, group) in enumerate((((hidden, channels, 1, 1), 1), ((hidden, 1, 3, 3), hidden), ((channels, hidden, 1, 1), 1),
                                        ((channels, channels, 3, 3), 1))):
        weights[f"w{i}"] = encoded(shape, "affine8", rng)
        attrs = {"group": group, "kernel_shape": shape[2:], "pads": (shape[2] // 2,) * 4}
        nodes += [Node("Conv", (value, f"w{i}"), (f"c{i}",), attrs), Node("Relu", (f"c{i}",), (f"r{i}",))]
        value = f"r{i}"
    nodes.append(Node("Add", ("x", value), ("y",)))
    shape = (1, channels, size, size)
    return Graph((ValueInfo("x", "float32", shape),), (ValueInfo("y", "float32", shape),), tuple(nodes), weights)


def with_codes(graph: Graph, weights: Mapping[str, EncodedTensor], how: Mapping[str, ActivationQuantization]) -> Graph:
    """The graph with other weights, and values that are quantized."""
    return replace(graph, weights={**graph.weights, **weights}, quantized=dict(how))


def nodes_of(name: str, graph: Graph) -> Iterator[NodeCase]:
    """Every node of the graph as its plan has it, on the values that the NumPy implementations make before it."""
    plain = explicit(graph)
    rng = np.random.default_rng(0)
    values: dict[str, np.ndarray] = {info.name: rng.standard_normal([int(dim) for dim in info.shape]).astype(info.dtype) for info in plain.inputs}
    for node in plain.nodes:
        arrays = [plain.weights[one].decode() if one in plain.weights else values[one] if one else None for one in node.inputs]
        fixed = {i: plain.weights[one] for i, one in enumerate(node.inputs) if one in plain.weights}
        case = _node_case(f"{name}: {node.op} {node.outputs[0]}", node, arrays, fixed)
        yield case
        values |= {one: np.zeros(kind.shape, kind.dtype) for one, kind in zip(node.outputs, case.outputs)}


def node_cases(width: int = 4096) -> Iterator[Callable[[], NodeCase]]:
    """All of them; each is made when it is called, since weights are large."""
    for layer in layers(width):
        yield lambda layer=layer: of_layer(layer)  # type: ignore[misc]
    for case in (*reorders(), *of_operators()):
        yield lambda case=case: case  # type: ignore[misc]
    for name, graph in quantized(width).items():
        for case in nodes_of(name, graph):
            yield lambda case=case: case  # type: ignore[misc]


def networks(width: int = 4096) -> dict[str, Graph]:
    """Networks that are timed whole, for what plans fuse and for the reorders between nodes."""
    return {**quantized(width), **{f"{encoding} expansion and depthwise": expansion(encoding) for encoding in
                                   ("sparse fp32", "sparse fp16", "sparse codebook4")}}


def expansion(encoding: str, channels: int = 24, hidden: int = 144, size: int = 56) -> Graph:
    """The first half of an inverted residual: a 1×1 convolution and a depthwise one."""
    rng = np.random.default_rng(0)
    weights = {"w0": encoded((hidden, channels, 1, 1), encoding, rng), "w1": encoded((hidden, 1, 3, 3), "fp32", rng)}
    nodes = (Node("Conv", ("x", "w0"), ("c",)), Node("Relu", ("c",), ("r",)),
             Node("Conv", ("r", "w1"), ("y",), {"group": hidden, "pads": (1,) * 4}))
    return Graph((ValueInfo("x", "float32", (1, channels, size, size)),), (ValueInfo("y", "float32", (1, hidden, size, size)),), nodes, weights)
