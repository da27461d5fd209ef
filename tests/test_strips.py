"""Chains of convolutions that run strip by strip: the same bits as whole values give, whatever the shapes, encodings and threads."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from graphs import encode
from native_harness import every_level, pytestmark  # noqa: F401
from test_native_gemm import encoded, normal
from test_native_sparse import sparse
from thinfer import runtime
from thinfer.formats.graph import Graph, Node, ValueInfo
from thinfer.formats.tensor import EncodedTensor
from thinfer.kernels import isa, ops
from thinfer.kernels.ops._window import window
from thinfer.runtime import bands, program, strips
from thinfer.runtime.interpreter import evaluate
from thinfer.toolchain.measure import expanded

ROUNDINGS = 1e-6
"""Of float32, in parts of the sum of absolute values: 16 roundings of 2⁻²⁴ that all go the same way."""

Layer = tuple[tuple[int, ...], dict[str, Any]]


def pointwise(outputs: int, inputs: int) -> Layer:
    return (outputs, inputs, 1, 1), {}


def depthwise(channels: int, kernel: int = 3, stride: int = 1, pads: tuple[int, ...] | None = None, dilation: int = 1) -> Layer:
    pads = pads or (kernel // 2 * dilation,) * 4
    return (channels, 1, kernel, kernel), {"group": channels, "strides": (stride, stride), "pads": pads, "dilations": (dilation, dilation)}


STEM: Layer = (20, 3, 3, 3), {"strides": (2, 2), "pads": (1, 1, 1, 1)}
CHAINS: dict[str, list[Layer]] = {
    "separable": [depthwise(24), pointwise(9, 24)],
    "inverted": [pointwise(40, 24), depthwise(40), pointwise(17, 40)],
    "halved": [pointwise(40, 24), depthwise(40, 3, 2), pointwise(17, 40)],
    "wide": [pointwise(18, 24), depthwise(18, 5), pointwise(16, 18), depthwise(16, 5, 2, (1, 2, 2, 1))],
    "two": [pointwise(20, 24), depthwise(20), pointwise(33, 20), depthwise(33, 3, 2), depthwise(33)],
    "dilated": [pointwise(20, 24), depthwise(20, 3, 1, (2, 2, 2, 2), 2), pointwise(7, 20)],
    "unpadded": [pointwise(20, 24), depthwise(20, 3, 1, (0, 0, 0, 0)), pointwise(7, 20)],
    "sparse rows": [pointwise(20, 24), depthwise(20, 1, 3, (0, 0, 0, 0)), pointwise(7, 20)],
    "stem": [STEM, depthwise(20), pointwise(12, 20), pointwise(48, 12), depthwise(48, 3, 2)],
}


def net(layers: list[Layer], height: int, width: int, kind: str) -> tuple[Graph, np.ndarray]:
    """The layers one after another, each with a bias and clipped to [-1, 2]."""
    first, attrs = layers[0]
    x = normal(1, first[1] * attrs.get("group", 1), height, width)
    weights: dict[str, EncodedTensor] = {"low": EncodedTensor.dense(np.float32(-1)), "high": EncodedTensor.dense(np.float32(2))}
    nodes: list[Node] = []
    conv = ops.get("Conv")
    shape: tuple[int, ...] = x.shape
    for i, (kernel, attributes) in enumerate(layers):
        weights[f"w{i}"], weights[f"b{i}"] = encoded(kernel, kind, scaled=True), EncodedTensor.dense(normal(kernel[0]))
        nodes.append(Node("Conv", ("x" if i == 0 else f"y{i - 1}", f"w{i}", f"b{i}"), (f"c{i}",), attributes))
        shape = (1, kernel[0], *window("Conv", conv.attrs_of(nodes[-1]), shape[2:], kernel[2:]).out)
        nodes.append(Node("Clip", (f"c{i}", "low", "high"), (f"y{i}",)))
    return Graph((ValueInfo("x", "float32", x.shape),), (ValueInfo(f"y{len(layers) - 1}", "float32", shape),), tuple(nodes), weights), x


def outputs(graph: Graph, x: np.ndarray, threads: int, level: str, monkeypatch: pytest.MonkeyPatch, large: int,
            held: int = 1) -> tuple[np.ndarray, int]:
    """(output, bytes between the nodes); values of ``large`` bytes and more are passed in strips of ``held`` bytes, or as low as can be."""
    monkeypatch.setattr(strips, "LARGE", large)
    monkeypatch.setattr(strips, "HELD", held)
    monkeypatch.setattr("thinfer.runtime.stage.WORTH_THREADS", 0)
    monkeypatch.setenv("THINFER_ISA", level)
    session = runtime.Session(graph, threads=threads)
    (found,) = session.run({"x": x}).values()
    (plan,) = session._plans.values()
    return found, plan.stages[0].program.arena_bytes


@every_level
@pytest.mark.parametrize("name", CHAINS)
@pytest.mark.parametrize(("height", "width"), [(7, 9), (23, 5), (36, 18)])
def test_same_bits(name: str, height: int, width: int, level: str, monkeypatch: pytest.MonkeyPatch) -> None:
    graph, x = net(CHAINS[name], height, width, "fp32")
    whole, _ = outputs(graph, x, 1, level, monkeypatch, 1 << 40)
    assert_near(graph, x, whole)
    for held in (1, 4000, 20000):
        for threads in (1, 2, 3):
            found, _ = outputs(graph, x, threads, level, monkeypatch, 1, held)
            np.testing.assert_array_equal(found, whole, err_msg=f"{held} bytes held, {threads} threads")


@every_level
@pytest.mark.parametrize("kind", ["fp16", "codebook4", "binary"])
def test_encodings(kind: str, level: str, monkeypatch: pytest.MonkeyPatch) -> None:
    graph, x = net(CHAINS["stem"], 40, 30, kind)
    whole, _ = outputs(graph, x, 1, level, monkeypatch, 1 << 40)
    for threads in (1, 2):
        np.testing.assert_array_equal(outputs(graph, x, threads, level, monkeypatch, 1)[0], whole)


@every_level
@pytest.mark.parametrize("kind", ["fp32", "codebook4"])
def test_sparse_end(kind: str, level: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A chain in NHWC ends with a sparse 1×1 convolution, which makes NCHW, rows of it at a time."""
    graph, x = net([STEM, depthwise(20), pointwise(12, 20)], 37, 30, kind)
    thinned = Graph(graph.inputs, graph.outputs, graph.nodes, {**graph.weights, "w2": sparse((12, 20, 1, 1), kind, 0.3)})
    whole, _ = outputs(thinned, x, 1, level, monkeypatch, 1 << 40)
    assert_near(thinned, x, whole)
    for held in (1, 4000):
        for threads in (1, 2, 3):
            np.testing.assert_array_equal(outputs(thinned, x, threads, level, monkeypatch, 1, held)[0], whole)


def test_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of an inverted residual over 200 rows the arena holds x and y in NHWC, and of what lies between them a few rows."""
    graph, x = net(CHAINS["inverted"], 200, 20, "fp32")
    level = isa.selected()
    ends = 4 * 200 * 20 * (24 + 17)
    assert outputs(graph, x, 1, level, monkeypatch, 1 << 40)[1] >= 4 * 200 * 20 * (40 + 40)
    assert outputs(graph, x, 1, level, monkeypatch, 1)[1] < ends + 4 * 20 * 40 * 12


def test_what_is_read_twice_stays_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """A residual's values are read by two nodes, an output by the caller: neither lies in a buffer of a few rows."""
    graph, x = net(CHAINS["inverted"], 20, 20, "fp32")
    adding = (*graph.nodes, Node("Add", ("y1", "y1"), ("sum",)))
    more = [ValueInfo(name, "float32", (1, 40, 20, 20)) for name in ("y0", "sum")]
    twice = replace(graph, nodes=adding, outputs=(*graph.outputs, *more))
    monkeypatch.setattr(strips, "LARGE", 1)
    expected = runtime.Session(twice, backend="numpy").run({"x": x})
    for name, found in runtime.Session(twice).run({"x": x}).items():
        np.testing.assert_allclose(found, expected[name], rtol=1e-4, atol=1e-4)


def assert_near(graph: Graph, x: np.ndarray, found: np.ndarray) -> None:
    """Against float64; what roundings may add up to is told by the net of absolute values."""
    (expected,) = evaluate(expanded(graph), {"x": x.astype(np.float64)}).values()
    positive = {name: EncodedTensor.dense(np.abs(tensor.decode())) for name, tensor in graph.weights.items()}
    positive |= {"low": EncodedTensor.dense(np.float32(-np.inf)), "high": EncodedTensor.dense(np.float32(np.inf))}
    (largest,) = evaluate(replace(graph, weights=positive), {"x": np.abs(x).astype(np.float64)}).values()
    assert found.shape == expected.shape
    assert expected.dtype == np.float64
    assert np.max(np.abs(found - expected) / largest) < ROUNDINGS


def residual(sparse_kind: str, kind: str, height: int, width: int, columns: int, attrs: dict[str, Any]) -> tuple[Graph, np.ndarray]:
    """A sparse 1×1 convolution and a depthwise one."""
    graph, x = net([pointwise(37, columns), ((37, 1, 3, 3), {"group": 37, **attrs})], height, width, kind)
    return replace(graph, weights={**graph.weights, "w0": sparse((37, columns, 1, 1), sparse_kind, 0.2)}), x


@every_level
@pytest.mark.parametrize("sparse_kind", ["fp32", "fp16", "codebook4", "binary"])
@pytest.mark.parametrize("kind", ["fp32", "fp16", "codebook3"])
@pytest.mark.parametrize("attrs", [{"pads": (1,) * 4}, {"pads": (1,) * 4, "strides": (2, 2)}, {"pads": (1, 2, 1, 0), "dilations": (2, 1)}], ids=str)
def test_expanded_planes(sparse_kind: str, kind: str, attrs: dict[str, Any], level: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a sparse 1×1 convolution makes for a depthwise one is made channel by channel: it never lies in memory."""
    smaller = False
    for height, width, columns in ((7, 7, 19), (8, 30, 3), (28, 16, 256), (67, 33, 5), (3, 113, 1)):
        graph, x = residual(sparse_kind, kind, height, width, columns, attrs)
        found = [outputs(graph, x, threads, level, monkeypatch, 1) for threads in (1, 2, 3)]
        whole, memory = outputs(graph, x, 1, level, monkeypatch, 1 << 40)
        assert_near(graph, x, whole)
        np.testing.assert_array_equal(whole, found[0][0])
        for more, less in found:
            np.testing.assert_array_equal(more, found[0][0])
            smaller |= less < memory
    assert smaller, "no shape ran so"


def test_expanded_planes_only_where_they_can_be(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not of more columns than a byte names, nor where another node, or the caller, reads the activations."""
    monkeypatch.setattr(strips, "LARGE", 1)

    def kernels(graph: Graph, x: np.ndarray) -> list[str]:
        session = runtime.Session(graph, threads=1)
        expected = runtime.Session(graph, backend="numpy").run({"x": x})
        for name, found in session.run({"x": x}).items():
            np.testing.assert_allclose(found, expected[name], rtol=1e-4, atol=1e-4)
        (plan,) = session._plans.values()
        return [step.kernel for step in plan.stages[0].program.steps]

    padded = {"pads": (1,) * 4}
    graph, x = residual("fp32", "fp32", 16, 16, 9, padded)
    assert kernels(graph, x) == ["depthwise_expanded_f32"]
    seen = replace(graph, outputs=(*graph.outputs, ValueInfo("y0", "float32", (1, 37, 16, 16))))
    assert "depthwise_expanded_f32" not in kernels(seen, x)
    assert "depthwise_expanded_f32" not in kernels(*residual("fp32", "fp32", 16, 16, 257, padded))


@every_level
@pytest.mark.parametrize(("height", "width", "inner", "outer", "kind"), [(14, 14, 160, 960, "codebook4"), (20, 20, 96, 576, "codebook2"),
                                                                         (400, 1, 48, 576, "fp32")])
def test_threads_do_not_change_bits(height: int, width: int, inner: int, outer: int, kind: str, level: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With biases, and strips of so few pixels that a kernel for few rows would be the faster one."""
    monkeypatch.setenv("THINFER_ISA", level)
    weights = {"w0": encode(normal(outer, inner, 1, 1), kind, 0, 1), "w1": encode(normal(outer, 1, 3, 3), "fp32"),
               "w2": encode(normal(inner, outer, 1, 1), kind, 0, 2)}
    weights |= {f"b{place}": EncodedTensor.dense(normal(length)) for place, length in enumerate((outer, outer, inner))}
    nodes = (Node("Conv", ("x", "w0", "b0"), ("a",)), Node("Conv", ("a", "w1", "b1"), ("b",), {"group": outer, "pads": (1, 1, 1, 1)}),
             Node("Conv", ("b", "w2", "b2"), ("y",)))
    shape = (1, inner, height, width)
    graph = Graph((ValueInfo("x", "float32", shape),), (ValueInfo("y", "float32", shape),), nodes, weights)
    x = normal(*shape)
    one = runtime.load(graph).run({"x": x})["y"]
    for threads in (2, 3):
        np.testing.assert_array_equal(runtime.load(graph, threads=threads).run({"x": x})["y"], one)


def inverted(kind: str, height: int, width: int, columns: int, attrs: dict[str, Any], added: str, inner: int = 37) -> tuple[Graph, np.ndarray]:
    """A sparse 1×1 convolution, a depthwise and a second sparse one, and an addition of the input, clipped or not, or of nothing."""
    graph, x = net([pointwise(inner, columns), ((inner, 1, 3, 3), {"group": inner, **attrs}), pointwise(columns, inner)], height, width, "fp32")
    weights = {**graph.weights, "w0": sparse((inner, columns, 1, 1), kind, 0.2), "w2": sparse((columns, inner, 1, 1), kind, 0.2)}
    graph = replace(graph, weights=weights)
    if not added:
        return graph, x
    last = graph.nodes[-2]  # before it is clipped
    nodes = [*graph.nodes[:-1], Node("Add", (last.outputs[0], "x"), ("sum",))]
    if added == "clipped":
        nodes.append(Node("Clip", ("sum", "low", "high"), ("end",)))
    output = ValueInfo(nodes[-1].outputs[0], "float32", graph.outputs[0].shape)
    return replace(graph, nodes=tuple(nodes), outputs=(output,)), x


@every_level
@pytest.mark.parametrize("kind", ["fp32", "fp16", "codebook4", "binary"])
@pytest.mark.parametrize(("attrs", "added"), [({"pads": (1,) * 4}, "clipped"), ({"pads": (1,) * 4}, "plain"), ({"pads": (2, 0, 0, 2)}, "plain"),
                                              ({"pads": (1,) * 4, "strides": (2, 2)}, "")], ids=str)
def test_bands(kind: str, attrs: dict[str, Any], added: str, level: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An inverted residual that threads run on bands of rows, many or few, equal or not: the same bits as its convolutions one by one."""
    ran = False
    monkeypatch.setenv("THINFER_ISA", level)
    for height, width, columns in ((7, 7, 19), (8, 30, 3), (28, 16, 19), (33, 5, 40), (1, 20, 2), (14, 14, 256)):
        graph, x = inverted(kind, height, width, columns, attrs, added)
        with monkeypatch.context() as patch:
            patch.setattr(program, "banded", lambda *_: False)
            patch.setattr(program, "sum_after", lambda *_: None)
            whole, _ = outputs(graph, x, 1, level, patch, 1 << 40)
        assert_near(graph, x, whole)
        for held in (1 << 10, 1 << 40):
            monkeypatch.setattr(bands, "HELD", held)
            for threads in (1, 2, 3):
                session = runtime.Session(graph, threads=threads)
                (found,) = session.run({"x": x}).values()
                np.testing.assert_array_equal(found, whole)
                (plan,) = session._plans.values()
                steps = plan.stages[0].program.steps
                ran |= threads > 1 and {step.lane for step in steps} > {0, 1}
                assert not (added and any(step.kernel == "add" for step in steps)), "the addition has a step of its own"
    assert ran


@pytest.mark.parametrize(("size", "inner"), [(14, 192), (25, 144), (28, 144), (33, 144)])
def test_bands_of_any_height_read_one_packed_weight(size: int, inner: int) -> None:
    """Though one that is lower than the others would be cut otherwise by itself."""
    graph, x = inverted("fp32", size, size, 24, {"pads": (1,) * 4}, "plain", inner)
    for threads in (2, 3):
        session = runtime.Session(graph, threads=threads)
        assert_near(graph, x, next(iter(session.run({"x": x}).values())))
        (plan,) = session._plans.values()
        packed = [name for name in plan.stages[0].program.names if name and "in tiles of" in name[1]]
        assert [weight for weight, _ in packed] == ["w0", "w2"], packed


def test_the_image_goes_to_the_layout_of_what_follows() -> None:
    """Sparse convolutions want NCHW: the dense one and the depthwise one before them make that, too, though each alone would be no faster."""
    layers = [STEM, depthwise(20), pointwise(12, 20), pointwise(48, 12), depthwise(48), pointwise(12, 48)]
    graph, x = net(layers, 128, 128, "fp32")
    thin = {f"w{i}": sparse(graph.weights[f"w{i}"].shape, "fp32", 0.1) for i in (2, 3, 5)}
    graph = replace(graph, weights={**graph.weights, **thin})
    session = runtime.Session(graph)
    assert_near(graph, x, next(iter(session.run({"x": x}).values())))
    (plan,) = session._plans.values()
    steps = [step.kernel for step in plan.stages[0].program.steps]
    assert steps[:2] == ["conv_planes_f32", "depthwise_planes_f32"]
    assert not any(kernel.startswith("copy") for kernel in steps)
