"""If, Loop and Scan against onnxruntime, on both backends, through files, and under every pass."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper, parser
from thinfer import runtime
from thinfer.formats import reader, writer
from thinfer.formats.errors import ThinferError
from thinfer.formats.graph import Graph, verify
from thinfer.runtime.interpreter import evaluate
from thinfer.runtime.shapes import infer
from thinfer.toolchain import pipeline, recipe
from thinfer.toolchain.importers.onnx import convert
from thinfer.toolchain.passes import fold_constants, inline_branches, prune_channels
from thinfer.toolchain.report import file_report
from thinfer.toolchain.roles import roles

RNG = np.random.default_rng(0)
WIDTH = 64
W = (RNG.standard_normal((WIDTH, WIDTH)) / 8).astype(np.float32)
B = RNG.standard_normal(WIDTH).astype(np.float32)
WEIGHTS = {"w": W, "b": B}


def model(text: str, **weights: np.ndarray) -> onnx.ModelProto:
    """A model in onnx's textual form, with initializers. 8 stands for WIDTH."""
    found = parser.parse_model('<ir_version: 10, opset_import: ["": 21]>\n' + text.replace("8]", f"{WIDTH}]").replace("[8,", f"[{WIDTH},"))
    found.graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in weights.items())
    onnx.checker.check_model(found)
    return found


BRANCHES = model("""g (float[N, 8] x, bool flag) => (float[N, M] y) {
    h = MatMul (x, w)
    y = If (flag) <
        then_branch = yes () => (float[N, 8] a) { a0 = MatMul (h, w) a = Relu (a0) },
        else_branch = no () => (float[K, 8] c) { c0 = Add (h, b) c1 = Neg (c0) c = Concat <axis = 0> (c1, x) }
    >
}""", **WEIGHTS)

LOOP = model("""g (float[N, 8] x, int64 trips, bool go) => (float[N, 8] last, float[T, N, 8] every) {
    last, every = Loop (trips, go, x) <body = body (int64 i, bool c, float[N, 8] s) => (bool again, float[N, 8] t, float[N, 8] out) {
        m = MatMul (s, w)
        t = Tanh (m)
        out = Add (t, x)
        total = ReduceSum <keepdims = 0> (t)
        again = Less (total, limit)
    }>
}""", limit=np.array(3.0, np.float32), **WEIGHTS)

GROWING = model("""g (float[1, 8] x, int64 trips) => (float[M, 8] last, int64[T] numbers) {
    last, numbers = Loop (trips, yes, x) <body = body (int64 i, bool c, float[L, 8] s) => (bool again, float[M, 8] t, int64 n) {
        m = MatMul (s, w)
        t = Concat <axis = 0> (m, x)
        again = Identity (c)
        n = Mul (i, i)
    }>
}""", yes=np.array(True), **WEIGHTS)

SCAN = model("""g (float[2, 8] h, float[N, 2, 8] x, float[2, N] z) => (float[2, 8] last, float[2, N, 8] every, float[N] sums) {
    last, every, sums = Scan (h, x, z) <num_scan_inputs = 2, scan_input_axes = [0, 1], scan_input_directions = [1, 0],
        scan_output_axes = [1, 0], scan_output_directions = [0, 1],
        body = body (float[2, 8] s, float[2, 8] v, float[2] u) => (float[2, 8] t, float[2, 8] t2, float r) {
            m = MatMul (s, w)
            a = Add (m, v)
            t = Tanh (a)
            t2 = Mul (t, two)
            r = ReduceSum <keepdims = 0> (u)
    }>
}""", two=np.array(2.0, np.float32), **WEIGHTS)

NESTED = model("""g (float[N, 8] x, int64 trips) => (float[N, 8] y) {
    y = Loop (trips, yes, x) <body = body (int64 i, bool c, float[N, 8] s) => (bool again, float[N, 8] t) {
        two = Constant <value = int64 {2}> ()
        rest = Mod (i, two)
        zero = Constant <value = int64 {0}> ()
        even = Equal (rest, zero)
        t = If (even) <
            then_branch = yes_branch () => (float[N, 8] a) { a0 = MatMul (s, w) a = Add (a0, x) },
            else_branch = no_branch () => (float[N, 8] d) { d = Sub (s, b) }
        >
        again = Identity (c)
    }>
}""", yes=np.array(True), **WEIGHTS)


def feeds_of(name: str, n: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(n)

    def normal(*shape: int) -> np.ndarray:
        return rng.standard_normal(shape).astype(np.float32)

    return {"then": {"x": normal(n, WIDTH), "flag": np.array(True)}, "else": {"x": normal(n, WIDTH), "flag": np.array(False)},
            "loop": {"x": normal(n, WIDTH), "trips": np.array(n + 2, np.int64), "go": np.array(True)},
            "never": {"x": normal(n, WIDTH), "trips": np.array(5, np.int64), "go": np.array(False)},
            "growing": {"x": normal(1, WIDTH), "trips": np.array(n * 5, np.int64)},
            "scan": {"h": normal(2, WIDTH), "x": normal(n, 2, WIDTH), "z": normal(2, n)},
            "nested": {"x": normal(n, WIDTH), "trips": np.array(5, np.int64)}}[name]


MODELS = {"then": BRANCHES, "else": BRANCHES, "loop": LOOP, "never": LOOP, "growing": GROWING, "scan": SCAN, "nested": NESTED}


def expected(name: str, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
    session = onnxruntime.InferenceSession(MODELS[name].SerializeToString(), providers=["CPUExecutionProvider"])
    found: list[np.ndarray] = session.run(None, feeds)
    if name == "never":  # onnxruntime takes symbolic lengths of what no iteration gave for 0
        found[1] = found[1].reshape(0, *feeds["x"].shape)
    return found


@pytest.mark.parametrize("backend", ["numpy", "native"])
@pytest.mark.parametrize("name", MODELS)
def test_equals_onnxruntime(name: str, backend: str) -> None:
    session = runtime.load(convert(MODELS[name], name, {}), backend=backend)
    for n in (1, 3, 2, 3):
        feeds = feeds_of(name, n)
        for found, wanted in zip(session.run(None, feeds), expected(name, feeds)):
            assert found.dtype == wanted.dtype
            assert found.shape == wanted.shape
            np.testing.assert_allclose(found, wanted, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("name", MODELS)
def test_the_interpreter_agrees(name: str) -> None:
    feeds = feeds_of(name, 3)
    for found, wanted in zip(evaluate(convert(MODELS[name], name, {}), feeds).values(), expected(name, feeds)):
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)


def ops_of(graph: Graph) -> list[list[str]]:
    """Of every graph in the graph; the file does not keep the order of attributes."""
    return sorted([node.op for node in scope.nodes] for scope in graph.scopes())


@pytest.mark.parametrize("preset", ["dense", "fp16", "codebook-8", "sparse"])
@pytest.mark.parametrize("name", MODELS)
def test_weights_of_bodies_are_compressed_and_travel(name: str, preset: str, tmp_path: Path) -> None:
    """What is in the file equals the compressed graph, and the weight that bodies read is encoded in the file and in RAM."""
    graph = convert(MODELS[name], name, {})
    assert roles(graph)["w"].kind == "weight"
    packed = pipeline.compress(graph, recipe.load(preset))
    writer.write(packed, tmp_path / "net.thin")
    session = runtime.load(tmp_path / "net.thin")
    feeds = feeds_of(name, 3)
    wanted = evaluate(verify(packed), feeds)
    for key, found in session.run(feeds).items():
        np.testing.assert_allclose(found, wanted[key], rtol=2e-5, atol=2e-5)
    again = reader.read(tmp_path / "net.thin")
    assert ops_of(again) == ops_of(packed)
    rows = {row.name: row for node in file_report(tmp_path / "net.thin").nodes for row in node.weights}
    assert "w" in rows
    if preset == "codebook-8":
        assert rows["w"].values.startswith("codebook")
        assert (rows["w"].nbytes_ram or 0) < rows["w"].nbytes_dense + 2048  # None: planned when lengths are known


def test_a_body_runs_natively_and_its_weight_is_held_once() -> None:
    session = runtime.load(convert(LOOP, "loop", {}), backend="native")
    session.run(feeds_of("loop", 3))
    memory = session.weight_memory()
    session.run(feeds_of("loop", 4))
    assert session.weight_memory() == memory
    assert "numpy" not in memory["w"]["layout"]
    assert not memory["w"]["layout"].startswith("flat")  # the NumPy backend's layout


def test_weights_that_no_plan_reads_yet_say_so() -> None:
    """No length of which a Conv over five places has a plan is known before the first run."""
    graph = convert(model("""g (float[1, 2, N] x, bool flag) => (float[1, 3, M] y) {
        y = If (flag) <then_branch = yes () => (float[1, 3, M] a) { a = Conv (x, k) },
                       else_branch = no () => (float[1, 3, M] b) { c = Conv (x, k) b = Neg (c) }>
    }""", k=RNG.standard_normal((3, 2, 5)).astype(np.float32)), "net", {})
    session = runtime.load(graph)
    assert session.weight_memory() == {"k": {"layout": "not planned yet", "nbytes": 0}}
    session.run({"x": np.zeros((1, 2, 9), np.float32), "flag": np.array(False)})
    assert session.weight_memory()["k"]["nbytes"] > 0


def test_constant_conditions_are_inlined() -> None:
    text = """g (float[2, 8] x) => (float[2, 8] y, float[2, 8] z) {
        y, z = If (flag) <
            then_branch = yes () => (float[2, 8] a, float[2, 8] e) { a = Relu (x) e = Exp (a) },
            else_branch = no () => (float[2, 8] c, float[2, 8] d) { c = Neg (x) d = Identity (x) }
        >
    }"""
    for flag, wanted in ((True, ["Exp", "Relu"]), (False, ["Identity", "Neg"])):
        graph = convert(model(text, flag=np.array(flag)), "net", {})
        assert sorted(node.op for node in graph.nodes) == wanted
        x = RNG.standard_normal((2, WIDTH)).astype(np.float32)
        y, z = runtime.load(graph).run(None, {"x": x})
        np.testing.assert_array_equal(y, np.maximum(x, 0) if flag else -x)
        np.testing.assert_allclose(z, np.exp(np.maximum(x, 0)) if flag else x, rtol=1e-6)


def test_conditions_of_fixed_shapes_are_inlined_and_of_symbolic_ones_are_not() -> None:
    text = """g (float[N, 8] x) => (float[N, 8] y) {
        shape = Shape (x)
        first = Gather (shape, zero)
        flag = Equal (first, one)
        y = If (flag) <
            then_branch = yes () => (float[N, 8] a) { v = Relu (x) a = Add (v, b) },
            else_branch = no () => (float[N, 8] c) { v = Neg (x) c = Sub (v, b) }
        >
    }"""
    found = model(text, zero=np.array(0), one=np.array(1), **WEIGHTS)
    assert "If" in [node.op for node in convert(found, "net", {}).nodes]
    fixed = convert(found, "net", {"x": (3, WIDTH)})
    assert [node.op for node in fixed.nodes] == ["Neg", "Sub"]
    x = RNG.standard_normal((3, WIDTH)).astype(np.float32)
    np.testing.assert_array_equal(runtime.load(fixed)(x), -x - B)
    for rows in (1, 3):
        x = RNG.standard_normal((rows, WIDTH)).astype(np.float32)
        np.testing.assert_allclose(runtime.load(convert(found, "net", {}))(x), (np.maximum(x, 0) + B) if rows == 1 else -x - B)


def test_folding_reaches_into_bodies_and_keeps_what_others_read() -> None:
    text = """g (float[2, 8] x, bool flag) => (float[2, 8] y, float[8, 8] u) {
        u = Identity (w)
        y = If (flag) <
            then_branch = yes () => (float[2, 8] a) { v = Transpose (w) a = MatMul (x, v) },
            else_branch = no () => (float[2, 8] c) { v = Transpose (w) v2 = Add (v, w) c = MatMul (x, v2) }
        >
    }"""
    graph = convert(model(text, w=W), "net", {})
    inner = [node.op for scope in list(graph.scopes())[1:] for node in scope.nodes]
    assert inner == ["MatMul", "MatMul"]
    assert len(graph.weights) == 3, "w, its transpose, which both branches make, and the sum"
    x = RNG.standard_normal((2, WIDTH)).astype(np.float32)
    for flag, wanted in ((True, x @ W.T), (False, x @ (W.T + W))):
        y, u = runtime.load(graph).run(None, {"x": x, "flag": np.array(flag)})
        np.testing.assert_allclose(y, wanted, rtol=1e-4, atol=1e-5)
        np.testing.assert_array_equal(u, W)


def test_batchnorm_and_dropout_go_in_bodies_too() -> None:
    text = """g (float[1, 3, N, N] x, bool flag) => (float[1, 4, M, M] y) {
        y = If (flag) <
            then_branch = yes () => (float[1, 4, M, M] a) {
                c = Conv (x, k) d = Dropout (c) e = BatchNormalization (d, scale, shift, mean, variance) a = Identity (e) },
            else_branch = no () => (float[1, 4, M, M] b) { c = Conv (x, k2) b = BatchNormalization (c, scale, shift, mean, variance) }
        >
    }"""
    rng = np.random.default_rng(3)
    weights = {name: rng.uniform(0.5, 2, 4).astype(np.float32) for name in ("scale", "shift", "mean", "variance")}
    kernels = {name: rng.standard_normal((4, 3, 3, 3)).astype(np.float32) for name in ("k", "k2")}
    graph = convert(model(text, **weights, **kernels), "net", {})
    packed = pipeline.compress(graph, recipe.load("dense"))
    assert [[node.op for node in scope.nodes] for scope in packed.scopes()] == [["If"], ["Conv"], ["Conv"]]
    x = rng.standard_normal((1, 3, 6, 6)).astype(np.float32)
    for flag in (True, False):
        feeds = {"x": x, "flag": np.array(flag)}
        np.testing.assert_allclose(runtime.load(packed).run(feeds)["y"], evaluate(graph, feeds)["y"], rtol=1e-4, atol=1e-4)


def test_channel_pruning_pins_what_a_body_reads() -> None:
    text = """g (float[N, 8] x, bool flag) => (float[N, 8] y) {
        h = MatMul (x, w1)
        r = Relu (h)
        y = If (flag) <
            then_branch = yes () => (float[N, 8] a) { a = MatMul (r, w2) },
            else_branch = no () => (float[N, 8] c) { c = MatMul (x, w3) }
        >
    }"""
    rng = np.random.default_rng(1)
    weights = {"w1": rng.standard_normal((WIDTH, 12)), "w2": rng.standard_normal((12, WIDTH)), "w3": rng.standard_normal((WIDTH, WIDTH))}
    graph = convert(model(text, **{name: array.astype(np.float32) for name, array in weights.items()}), "net", {})
    pruned = prune_channels(graph, fraction=0.5)
    assert {name: tensor.shape for name, tensor in pruned.weights.items()} == {name: tensor.shape for name, tensor in graph.weights.items()}


def test_shapes_of_loops_are_known_where_the_trips_are() -> None:
    graph = convert(GROWING, "net", {})
    assert infer(graph, {"x": (1, WIDTH), "trips": ()})["last"] is None
    text = """g (float[3, 8] x) => (float[3, 8] last, float[5, 3, 8] every) {
        last, every = Loop (trips, yes, x) <body = body (int64 i, bool c, float[3, 8] s) => (bool again, float[3, 8] t, float[3, 8] out) {
            again = Identity (c)
            t = MatMul (s, w)
            out = Relu (t)
        }>
    }"""
    types = infer(convert(model(text, trips=np.array(5), yes=np.array(True), w=W), "net", {}), {"x": (3, WIDTH)})
    assert [types[name].shape for name in ("last", "every")] == [(3, WIDTH), (5, 3, WIDTH)]  # type: ignore[union-attr]


def test_wrong_bodies_are_refused_in_one_sentence() -> None:
    found = parser.parse_model("""<ir_version: 10, opset_import: ["": 21]> g (int64 n, bool go, float[2] x) => (float[2] y) {
        y = Loop (n, go, x) <body = body (int64 i, bool c, float[2] s, float[2] u) => (bool again, float[2] t) {
            again = Identity (c)
            t = Add (s, u)
        }>
    }""")
    with pytest.raises(ThinferError, match="a subgraph has 4 inputs, but its node gives it 3"):
        convert(found, "net", {})


def test_passes_leave_graphs_sound() -> None:
    for name, proto in MODELS.items():
        graph: Graph = convert(proto, name, {})
        for change in (fold_constants, inline_branches):
            verify(change(graph))


@pytest.mark.parametrize("backend", ["numpy", "native"])
def test_a_branch_that_does_not_fit_the_lengths_is_only_an_error_where_it_is_taken(backend: str) -> None:
    graph = convert(model("""g (float[N] x, bool flag) => (float[A, B] y) {
        y = If (flag) <
            then_branch = yes () => (float[A, B] a) { two = Constant <value = int64[2] {2, 3}> () a = Reshape (x, two) },
            else_branch = no () => (float[A, B] b) { three = Constant <value = int64[2] {3, 5}> () b = Reshape (x, three) }
        >
    }"""), "test", {})
    session = runtime.load(graph, backend=backend)
    for flag, shape in ((True, (2, 3)), (False, (3, 5))):
        x = np.arange(np.prod(shape), dtype=np.float32)
        np.testing.assert_array_equal(session.run({"x": x, "flag": np.array(flag)})["y"], x.reshape(shape))
        with pytest.raises(ThinferError, match="Reshape"):
            session.run({"x": x, "flag": np.array(not flag)})
