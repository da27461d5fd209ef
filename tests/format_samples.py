"""Graphs and weights for the tests of the file format."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from random_weights import STRUCTURES, random_structure, random_values
from thinfer.formats.graph import DTYPES, ActivationQuantization, Graph, Node, SourceInfo, ValueInfo
from thinfer.formats.tensor import Codebook, EncodedTensor, View

VALUES = ("plain", "fp16", "codebook", "codebook_fp16_groups", "codebook_int8_scaled", "affine", "binary", "ternary")
CODERS = ("raw", "huffman", "rans", "arithmetic")


def weight(rng: np.random.Generator, shape: tuple[int, ...], structure: str, values: str, coder: Any, *, axis: int = 0, bits: int = 4,
           entries: int | None = None, groups: int = 1, kept: float = 0.3) -> EncodedTensor:
    """A random weight; indices are skewed, about ``kept`` of the positions hold a value."""
    view = View(shape, axis)
    made = random_structure(rng, view, structure, kept)
    held, channels = made.held(view), view.channels
    nentries = 2 ** bits if entries is None else entries
    scale = rng.random(channels).astype(np.float32) + np.float32(0.5)
    indices = np.minimum(rng.geometric(0.4, held) - 1, nentries - 1).astype(np.uint8)
    if values == "codebook":
        encoded: Any = Codebook(indices, bits, rng.standard_normal((1, nentries)).astype(np.float32))
    elif values == "codebook_fp16_groups":
        groups = max(min(groups, channels), 1)
        encoded = Codebook(indices, bits, rng.standard_normal((groups, nentries)).astype(np.float16))
    elif values == "codebook_int8_scaled":
        encoded = Codebook(indices, bits, rng.integers(-128, 128, (1, nentries)).astype(np.int8), scale)
    else:
        encoded = random_values(rng, view, held, values, max(bits, 2))
    return EncodedTensor(shape, "float32", encoded, made, axis, coder)


def table_graph(weights: Mapping[str, EncodedTensor]) -> Graph:
    """A graph that is little more than its weights."""
    value = ValueInfo("x", "float32", (1,))
    return Graph((value,), (ValueInfo("y", "float32", (1,)),), (Node("Relu", ("x",), ("y",)),), dict(weights))


def lenet5(encode: Callable[[np.ndarray], EncodedTensor], seed: int = 0) -> Graph:
    """LeCun et al. 1998 as usually built today: two convolutions, three layers of neurons; biases are fp32."""
    rng = np.random.default_rng(seed)
    shapes = {"conv1": (6, 1, 5, 5), "conv2": (16, 6, 5, 5), "fc1": (120, 400), "fc2": (84, 120), "fc3": (10, 84)}
    weights = {}
    for name, shape in shapes.items():
        weights[f"{name}.weight"] = encode(rng.standard_normal(shape).astype(np.float32))
        weights[f"{name}.bias"] = EncodedTensor.dense(rng.standard_normal(shape[0]).astype(np.float32))
    kernel, pool, dense = {"kernel_shape": (5, 5)}, {"kernel_shape": (2, 2), "strides": (2, 2)}, {"transB": 1}
    layers: list[tuple[str, str, dict[str, Any]]] = [
        ("Conv", "conv1", kernel), ("Relu", "", {}), ("MaxPool", "", pool), ("Conv", "conv2", kernel), ("Relu", "", {}),
        ("MaxPool", "", pool), ("Flatten", "", {}), ("Gemm", "fc1", dense), ("Relu", "", {}), ("Gemm", "fc2", dense), ("Relu", "", {}),
        ("Gemm", "fc3", dense)]
    nodes, current = [], "input"
    for i, (op, name, attrs) in enumerate(layers):
        result = "output" if i == len(layers) - 1 else f"value{i}"
        inputs = (current, f"{name}.weight", f"{name}.bias") if name else (current,)
        nodes.append(Node(op, inputs, (result,), attrs))
        current = result
    return Graph((ValueInfo("input", "float32", ("N", 1, 28, 28)),), (ValueInfo("output", "float32", ("N", 10)),), tuple(nodes), weights,
                 source=SourceInfo(61706, 416520, 4 * 61706))


def everything() -> Graph:
    """A graph with everything that the header can hold: all dtypes, all kinds of attributes, subgraphs in subgraphs, absent inputs and
    outputs, many inputs, annotations, names like those that readers make up, and a weight of every encoding."""
    rng = np.random.default_rng(7)
    weights = {f"{s}.{v}.{c}": weight(rng, (6, 5, 2), s, v, c, axis=i % 3, groups=4)
               for i, (s, v, c) in enumerate((s, v, c) for s in STRUCTURES for v in VALUES for c in CODERS)}
    weights |= {f"of {dtype}": EncodedTensor.dense(np.arange(3).astype(dtype)) for dtype in DTYPES}
    weights["%1"] = EncodedTensor.dense(np.float32(2.5))
    weights["große Gewichte"] = EncodedTensor.dense(rng.standard_normal((33, 40)).astype(np.float32))
    weights["aligned"] = EncodedTensor.dense(rng.standard_normal((64, 32)).astype(np.float32))
    static, dynamic = ActivationQuantization("static", "int8", float(np.float32(0.1)), -7), ActivationQuantization("dynamic", granularity="row")
    inner = Graph((), (ValueInfo("deep", "float32", ("batch", 4)),), (Node("Add", ("hidden", "aligned"), ("deep",)),),
                  quantized={"deep": static})
    then = Graph((ValueInfo("i", "int64", ()),), (ValueInfo("then_out", "float32", (2, "batch")), ValueInfo("x", "float32", ())),
                 (Node("If", ("flag",), ("then_out",), {"then_branch": inner}),))
    orelse = Graph((), (ValueInfo("else_out", "float32", ()),), (Node("Neg", ("x",), ("else_out",)),))
    attrs = {
        "int": -5, "large": 2 ** 63 - 1, "small": -2 ** 63, "float": 0.1, "short": 0.5, "text": "ein Wört", "empty": (),
        "ints": (1, -2, 300), "equal": (7, 7, 7), "long": tuple(range(20)), "floats": (0.5, 1e300, -0.0),
        "strings": ("a", "", "Conv"), "flag": True,
        "tensor": np.arange(6, dtype=np.int16).reshape(2, 3), "bools": np.array([True, False]), "scalar": np.float64(3.5), "list": [1, 2]}
    nodes = (
        Node("Split", ("x",), ("hidden", "", "second"), attrs, "the splitter"),
        Node("Custom", ("", "x", "%1", "", *[f"of {dtype}" for dtype in DTYPES]), ("flag",)),
        Node("If", ("flag",), ("branch",), {"then_branch": then, "else_branch": orelse}, "Conv"),
        Node("Concat", ("branch", "hidden", "große Gewichte"), ("result",), {"axis": 1}))
    inputs = (ValueInfo("x", "float32", ("batch", 0, 2 ** 40)), ValueInfo("unused", "bool", ()))
    outputs = (ValueInfo("result", "float16", ("größe", 3)), ValueInfo("x", "float32", ()), ValueInfo("%1", "float32", ()),
               ValueInfo("second", "uint8", (2,)))
    quantized = {"x": dynamic, "hidden": ActivationQuantization("static", "uint8", 0.5, 255),
                 "branch": ActivationQuantization("dynamic", "uint8", granularity="sample")}
    return Graph(inputs, outputs, nodes, weights, quantized, SourceInfo(10, 20, 7))


def signature(graph: Graph, outer: Mapping[str, str] | None = None, depth: int = 0) -> Any:
    """Everything of a graph but its weights' contents, comparable by ==; values are numbered, as files do not keep all names."""
    names = dict(outer or {})
    for name in graph.weights:
        names[name] = name
    for info in graph.inputs:
        names[info.name] = f"{depth}:{len(names)}" if depth else info.name
    nodes = []
    for node in graph.nodes:
        attrs = {key: signature(value, names, depth + 1) if isinstance(value, Graph) else _plain(value)
                 for key, value in node.attrs.items()}
        inputs = [names.get(name, "") for name in node.inputs]
        for name in filter(None, node.outputs):
            names[name] = f"{depth}:{len(names)}"
        nodes.append((node.op, inputs, [names.get(name, "") for name in node.outputs], attrs, node.name))

    def typed(info: ValueInfo) -> Any:
        return names[info.name], info.dtype, tuple(info.shape)

    quantized = sorted(((names[name], found) for name, found in graph.quantized.items()), key=str)
    public = [info.name for info in graph.outputs] if depth == 0 else []
    return ([typed(i) for i in graph.inputs], nodes, [typed(i) for i in graph.outputs], quantized, graph.source, list(graph.weights), public)


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return value.dtype.name, value.shape, value.tolist()
    return tuple(value) if isinstance(value, list) else value


def assert_same_weight(a: EncodedTensor, b: EncodedTensor) -> None:
    """Equal in every part, not only in what they decode to."""
    assert (a.shape, a.dtype, a.axis, a.coder) == (b.shape, b.dtype, b.axis, b.coder)
    assert type(a.structure) is type(b.structure)
    assert type(a.values) is type(b.values)
    for key, x in {**vars(a.structure), **vars(a.values)}.items():
        y = {**vars(b.structure), **vars(b.values)}[key]
        if isinstance(x, np.ndarray):
            assert x.dtype == y.dtype
            assert x.shape == y.shape
            assert x.tobytes() == y.tobytes()
        else:
            assert x == y
