"""Recipes that quantize activations: what is calibrated, who reads integers, what the commands say."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import onnxruntime
import pytest
import torch
from command_line import works as run
from graphs import error
from thinfer import runtime
from thinfer.formats.graph import ActivationQuantization, Graph, Node, ValueInfo
from thinfer.formats.reader import from_bytes
from thinfer.formats.tensor import EncodedTensor
from thinfer.formats.writer import to_bytes
from thinfer.kernels import isa
from thinfer.kernels.quantized import quantize
from thinfer.runtime.interpreter import evaluate
from thinfer.toolchain import importers
from thinfer.toolchain import recipe as recipes
from thinfer.toolchain.arithmetic import arithmetic
from thinfer.toolchain.arrays import checked_calibration, in_runs
from thinfer.toolchain.errors import UsageError
from thinfer.toolchain.importers.onnx import convert
from thinfer.toolchain.passes._histogram import Histogram
from thinfer.toolchain.passes.encode import EncodingError
from thinfer.toolchain.passes.quantize_activations import Activations, grid, quantize_activations
from thinfer.toolchain.pipeline import compress
from thinfer.toolchain.strict import RecipeError
from thinfer.toolchain.to_onnx import to_onnx

LENET = Path(__file__).parent.parent / "examples" / "lenet"
PRESETS = ("int8", "codebook-4-int8", "codebook-3-int8", "codebook-2-int8")
TARGETS = [("numpy", None), *(("native", level) for level in isa.levels())]
F = np.float32


@pytest.fixture(scope="module")
def lenet() -> Graph:
    return importers.load(LENET / "lenet5.pt2")


@pytest.fixture(scope="module")
def digits() -> tuple[np.ndarray, np.ndarray]:
    """(images [1000, 1, 28, 28], labels)."""
    found = np.load(LENET / "digits.npz")
    return found["images"][:, None].astype(F) / 255, found["labels"]


@pytest.fixture(scope="module")
def packed(lenet: Graph, digits: tuple[np.ndarray, np.ndarray]) -> Callable[[str, bool], Graph]:
    """(preset, whether there is calibration data) → the compressed net, made once."""
    images = digits[0][500:564]

    @cache
    def made(preset: str, has_data: bool) -> Graph:
        return compress(lenet, recipes.load(preset), calibration={lenet.inputs[0].name: images} if has_data else None)

    return made


# ---------------------------------------------------------------- presets


@pytest.mark.parametrize("has_data", [True, False])
@pytest.mark.parametrize("preset", PRESETS)
def test_presets_compute_in_integers_and_know_digits(lenet: Graph, digits: tuple[np.ndarray, np.ndarray], packed: Callable[[str, bool], Graph],
                                                     preset: str, has_data: bool) -> None:
    """Static with data, else dynamic; every product in integers; of 500 digits, at most this many fewer are right than of the dense net."""
    images, labels = digits
    graph = packed(preset, has_data)
    counts = arithmetic(graph)
    assert (counts.products, counts.integer) == (4, 4)
    assert {how.kind for how in graph.quantized.values()} == {"static" if has_data else "dynamic"}
    dense, found = (next(iter(runtime.load(g).run({g.inputs[0].name: images[:500]}).values())) for g in (lenet, graph))
    right = [(out.argmax(1) == labels[:500]).sum() for out in (dense, found)]
    assert right[0] - right[1] <= (15 if preset == "codebook-2-int8" else 3)
    assert error(found, dense) < (0.6 if preset == "codebook-2-int8" else 0.3 if preset == "codebook-3-int8" else 0.15)


@pytest.mark.parametrize("has_data", [True, False])
@pytest.mark.parametrize("preset", ["int8", "codebook-4-int8"])
def test_the_same_bits_everywhere_and_from_the_file(digits: tuple[np.ndarray, np.ndarray], packed: Callable[[str, bool], Graph], preset: str,
                                                    has_data: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """What lies between the products of this net is exact (maxima, Relu), so that no float sum can differ."""
    graph = packed(preset, has_data)
    read = from_bytes(to_bytes(graph))
    assert sorted(read.quantized.values(), key=str) == sorted(graph.quantized.values(), key=str)
    feeds = {graph.inputs[0].name: digits[0][:8]}
    expected = next(iter(evaluate(graph, feeds).values()))
    for backend, level in TARGETS:
        if level:
            monkeypatch.setenv("THINFER_ISA", level)
        for threads in (1, 3):
            found = next(iter(runtime.load(read, backend=backend, threads=threads).run(feeds).values()))
            np.testing.assert_array_equal(found, expected)


def test_packing_twice_gives_the_same_file(lenet: Graph, digits: tuple[np.ndarray, np.ndarray]) -> None:
    data = {lenet.inputs[0].name: digits[0][:64]}
    first, second = (to_bytes(compress(lenet, recipes.load("int8"), calibration=data)) for _ in range(2))
    assert first == second


# ---------------------------------------------------------------- the pass


def net(*nodes: Node, outputs: tuple[str, ...] = ("y",)) -> Graph:
    rng = np.random.default_rng(2)
    weights = {name: EncodedTensor.dense(rng.normal(size=(8, 8)).astype(F), axis=1) for name in ("w", "u")}
    graph = Graph((ValueInfo("x", "float32", ("N", 8)),), tuple(ValueInfo(name, "float32", ("N", 8)) for name in outputs), nodes, weights)
    return compress(graph, recipes.parse("values: {kind: affine, bits: 8}"))


def test_a_value_that_only_products_read_is_quantized_itself() -> None:
    graph = quantize_activations(net(Node("Relu", ("x",), ("r",)), Node("MatMul", ("r", "w"), ("a",)), Node("MatMul", ("r", "u"), ("b",)),
                                     Node("Add", ("a", "b"), ("y",))), Activations("dynamic"))
    assert graph.quantized == {"r": ActivationQuantization("dynamic", granularity="row")}
    assert [node.op for node in graph.nodes] == ["Relu", "MatMul", "MatMul", "Add"]


def test_a_value_that_others_read_is_copied() -> None:
    graph = quantize_activations(net(Node("Relu", ("x",), ("r",)), Node("MatMul", ("r", "w"), ("a",)), Node("MatMul", ("r", "u"), ("b",)),
                                     Node("Add", ("a", "r"), ("c",)), Node("Add", ("c", "b"), ("y",))), Activations("dynamic"))
    assert [node.op for node in graph.nodes] == ["Relu", "Identity", "MatMul", "MatMul", "Add", "Add"]
    (copy,) = graph.quantized
    assert graph.nodes[1].outputs == (copy,)
    assert graph.nodes[4].inputs == ("a", "r")


def test_an_output_of_the_graph_stays_as_it_is() -> None:
    graph = quantize_activations(net(Node("Relu", ("x",), ("r",)), Node("MatMul", ("r", "w"), ("y",)), outputs=("y", "r")), Activations("dynamic"))
    x = np.random.default_rng(1).normal(size=(3, 8)).astype(F)
    np.testing.assert_array_equal(runtime.load(graph).run({"x": x})["r"], np.maximum(x, 0))


def test_products_whose_weights_are_floats_stay_floats() -> None:
    rng = np.random.default_rng(2)
    graph = Graph((ValueInfo("x", "float32", ("N", 8)),), (ValueInfo("y", "float32", ("N", 8)),), (Node("MatMul", ("x", "w"), ("y",)),),
                  {"w": EncodedTensor.dense(rng.normal(size=(8, 8)).astype(F), axis=1)})
    for values in ("fp32", "fp16", "{kind: codebook, bits: 4}", "{kind: affine, bits: 4, scale: block, block: 4}"):
        found = compress(graph, recipes.parse(f"values: {values}\nactivations: dynamic"))
        assert not found.quantized


def test_static_scales_are_those_of_the_range() -> None:
    graph = net(Node("MatMul", ("x", "w"), ("y",)))
    x = np.random.default_rng(1).uniform(-1, 3, (50, 8)).astype(F)
    found = quantize_activations(graph, Activations("static"), {"x": x}).quantized["x"]
    assert found.kind == "static"
    wanted = (x.max() - x.min()) / 255
    assert wanted <= found.scale <= wanted * (1 + 2 ** -8)
    ends = quantize(np.array([x.min(), 0, x.max()], F), found).real()
    np.testing.assert_allclose(ends, [x.min(), 0, x.max()], atol=found.scale)
    assert ends[1] == 0


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
def test_any_range_has_a_grid_that_holds_zero(dtype: str) -> None:
    for low, high in ((0, 0), (-1, 0), (0, 1e-30), (-1e30, 1e30), (0, 6), (-3e-5, 2.5)):
        how = grid(low, high, dtype)
        graph = Graph((ValueInfo("x", "float32", ()),), (ValueInfo("y", "float32", ()),), (Node("Relu", ("x",), ("y",)),), {}, {"x": how})
        assert runtime.load(graph).run({"x": np.zeros((), F)})["y"] == 0


def test_static_without_data_says_what_to_do() -> None:
    with pytest.raises(EncodingError, match="need calibration data; give it with --data, or use activations of the kind auto or dynamic"):
        quantize_activations(net(Node("MatMul", ("x", "w"), ("y",))), Activations("static"))


def test_values_that_are_not_finite_are_named() -> None:
    graph = net(Node("Exp", ("x",), ("e",)), Node("MatMul", ("e", "w"), ("y",)))
    with pytest.raises(EncodingError, match="value 'e' is infinite or no number"):
        quantize_activations(graph, Activations("static"), {"x": np.full((2, 8), 1000, F)})


# ---------------------------------------------------------------- branches and loops


def branching() -> Graph:
    """A captured value and one that the branch makes, by two rates; and a loop whose state grows."""
    made = onnx.parser.parse_model("""<ir_version: 10, opset_import: ["": 21]>
    g (float[N, 1, 8] x, float[1] bias, bool flag) => (float[A, B, C] y, float[D, E, F] z)
    <int64 trips = {3}, bool yes = {1}> {
        r = Relu (x)
        y = If (flag) <
            then_branch = yes () => (float[A, B, C] a) { h = Conv (r, k) s = Relu (h) a = Conv (s, m) },
            else_branch = no () => (float[A, B, C] a) { h = Conv (r, k) s = Neg (h) t = Conv (s, m) a = Add (t, bias) }
        >
        z = Loop (trips, yes, r) <body = body (int64 i, bool c, float[A, B, C] s) => (bool again, float[A, B, C] t) {
            again = Identity (c)
            u = MatMul (s, w)
            t = Add (u, s)
        }>
    }""")
    rng = np.random.default_rng(7)
    arrays = {"k": rng.normal(size=(4, 1, 3)), "m": rng.normal(size=(4, 4, 1)), "w": rng.normal(size=(8, 8))}
    made.graph.initializer.extend(onnx.numpy_helper.from_array(array.astype(F), name) for name, array in arrays.items())
    return convert(made, "net", {})


def branch_feeds(flag: bool, samples: int = 5) -> dict[str, np.ndarray]:
    x = np.random.default_rng(8).normal(size=(samples, 1, 8)).astype(F)
    return {"x": x, "bias": np.ones(1, F), "flag": np.array(flag)}


def kinds(graph: Graph) -> list[list[str]]:
    """Of each scope, how what it annotates is quantized."""
    return [sorted(how.kind for how in scope.quantized.values()) for scope in graph.scopes()]


@pytest.mark.parametrize("flag", [True, False])
@pytest.mark.parametrize("has_data", [True, False])
def test_products_in_branches_and_loops_compute_in_integers(flag: bool, has_data: bool, tmp_path: Path) -> None:
    """Those that the data reach are static. What the file says is what onnxruntime computes, up to a tie that falls otherwise."""
    dense = branching()
    graph = from_bytes(to_bytes(compress(dense, recipes.load("int8"), calibration=branch_feeds(True) if has_data else None)))
    found = arithmetic(graph)
    assert (found.products, found.integer) == (5, 5)
    reached = ["static"] * 2 if has_data else ["dynamic"] * 2
    assert sorted(kinds(graph)) == sorted([[], reached, ["dynamic"] * 2, reached[:1]])
    feeds = branch_feeds(flag)
    expected = evaluate(graph, feeds)
    for backend in ("numpy", "native"):
        for a, b in zip(runtime.load(graph, backend=backend).run(feeds).values(), expected.values()):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)
    session = onnxruntime.InferenceSession(to_onnx(graph).SerializeToString(), providers=["CPUExecutionProvider"])
    for a, b, c in zip(session.run(None, feeds), expected.values(), evaluate(dense, feeds).values()):
        assert np.median(np.abs(a - b)) < 1e-5
        assert 0 < error(b, c) < 0.05


def test_static_scales_in_a_loop_are_those_of_all_iterations() -> None:
    graph, feeds = branching(), branch_feeds(True)
    compressed = compress(graph, recipes.parse("values: {kind: affine, bits: 8}\nactivations: {kind: auto}"), calibration=feeds)
    w, state = compressed.weights["w"].decode(), np.maximum(feeds["x"], 0)
    seen = []
    for _ in range(3):
        seen.append(state)
        state = state @ w + state
    wanted = (max(s.max() for s in seen) - min(min(s.min() for s in seen), 0)) / 255
    (how,) = next(scope for scope in compressed.scopes() if any(node.op == "MatMul" for node in scope.nodes)).quantized.values()
    assert wanted <= how.scale <= wanted * (1 + 2 ** -7)


def test_a_branch_that_no_sample_takes_cannot_be_static() -> None:
    with pytest.raises(EncodingError, match=r"the calibration data never reach the value .*, which lies in a branch or loop"):
        compress(branching(), recipes.parse("values: {kind: affine, bits: 8}\nactivations: static"), calibration=branch_feeds(True))


def test_pack_says_what_is_true_of_branches(tmp_path: Path) -> None:
    onnx.save(to_onnx(branching()), tmp_path / "m.onnx")
    several = {**branch_feeds(True), "x": branch_feeds(True, 6)["x"][:, None], "flag": np.array([True] * 5 + [False])}
    for arrays, said in ((branch_feeds(True), "2 int8 dynamic per sample, 3 int8 static; 5 of 5 products compute in integers "
                          "(calibration output; what no sample reaches finds its scale at run time)"),
                         (several, "5 int8 static; 5 of 5 products compute in integers (calibration output)")):
        np.savez(tmp_path / "x.npz", **arrays)
        text = run("pack", tmp_path / "m.onnx", "-o", tmp_path / "m.thin", "--recipe", "int8", "--data", tmp_path / "x.npz")
        counted, _, rest = text.partition("activations: ")[2].partition("; ")
        assert f"{', '.join(sorted(counted.split(', ')))}; {rest}".strip() == said
    (tmp_path / "blocks.yaml").write_text("values: {kind: codebook, bits: 4}\nactivations: auto")
    text = run("pack", tmp_path / "m.onnx", "-o", tmp_path / "m.thin", "--recipe", tmp_path / "blocks.yaml")
    assert "activations: floats (no product has a weight of integers with one scale per tensor or channel)" in text


STATEFUL = (ValueInfo("input", "float32", ("N", "T")), ValueInfo("state", "float32", (2, "N", 4)), ValueInfo("sr", "int64", ()))


@pytest.mark.parametrize(("shapes", "runs"), [
    (((3, 8), (2, 3, 4), ()), 1),
    (((5, 3, 8), (2, 3, 4), ()), 5),
    (((5, 3, 8), (5, 2, 3, 4), (5,)), 5),
    (((8, 8), (8, 2, 4), ()), r"input 'state' has shape \(8, 2, 4\); the model takes \[2, N, 4\]"),
    (((5, 3, 8), (6, 2, 3, 4), ()), "samples, but they differ in number: 5 of 'input' and 6 of 'state'"),
])
def test_calibration_data_has_the_shapes_of_the_inputs(shapes: tuple[tuple[int, ...], ...], runs: int | str) -> None:
    arrays = {info.name: np.ones(shape, info.dtype) for info, shape in zip(STATEFUL, shapes)}
    if isinstance(runs, str):
        with pytest.raises(UsageError, match=runs):
            checked_calibration(STATEFUL, arrays, Path("x.npz"))
    else:
        found = in_runs(STATEFUL, checked_calibration(STATEFUL, arrays, Path("x.npz")))
        assert len(found) == runs
        assert {name: array.shape for name, array in found[-1].items()} == {"input": (3, 8), "state": (2, 3, 4), "sr": ()}


# ---------------------------------------------------------------- histograms


@pytest.mark.parametrize("percent", [90.0, 99.0, 99.9])
def test_percentiles_are_those_of_sorted_numbers_up_to_a_bin(percent: float) -> None:
    rng = np.random.default_rng(3)
    parts = [rng.normal(0.3, scale, 20_000).astype(F) for scale in (0.1, 3, 1, 0.5)]
    histogram = Histogram()
    for part in parts:
        histogram.add(part)
    every = np.concatenate(parts)
    assert (histogram.least, histogram.most) == (every.min(), every.max())
    low, high = histogram.percentile(percent)
    ordered, outside = np.sort(every), round(len(every) * (1 - percent / 100))
    assert low == pytest.approx(ordered[outside], abs=histogram.reach / 2048)
    assert high == pytest.approx(ordered[-1 - outside], abs=histogram.reach / 2048)


def test_counts_survive_growth() -> None:
    histogram = Histogram()
    for scale in (1e-3, 1.0, 1e3):
        histogram.add(np.linspace(-scale, scale, 999, dtype=F))
    assert histogram.counts.sum() == 3 * 999
    assert histogram.reach == 1024


def test_entropy_leaves_out_what_is_far_away() -> None:
    """A hundred thousand normal numbers and one outlier: the range reaches neither to it nor below three deviations."""
    data = np.random.default_rng(4).normal(0, 1, 100_000).astype(F)
    histogram = Histogram()
    histogram.add(np.append(data, F(60)))
    low, high = histogram.entropy()
    assert -6 < low < -2.5
    assert 2.5 < high < 10


def test_a_histogram_of_nothing_or_zeros() -> None:
    for data in (np.zeros(0, F), np.zeros(7, F)):
        histogram = Histogram()
        histogram.add(data)
        assert histogram.percentile(99) == histogram.entropy() == (0.0, 0.0)


# ---------------------------------------------------------------- recipes and commands


@pytest.mark.parametrize(("text", "said"), [
    ("activations: {kind: sometimes}", "activations.kind is 'sometimes'; it must be one of static, dynamic, auto"),
    ("activations: {dtype: int4}", "activations.dtype is 'int4'; it must be one of int8, uint8"),
    ("activations: {calibration: mean}", "activations.calibration is 'mean'; it must be one of minmax, percentile, entropy, output"),
    ("activations: {calibration: percentile, percentile: 100}", "activations.percentile is 100; it must be a number of at least 50 and below 100"),
    ("activations: {percentile: 99}", "activations has a percentile, but its calibration is 'minmax'"),
    ("activations: {kind: dynamic, calibration: entropy}", "activations is dynamic, which is int8 without calibration"),
    ("activations: 8", "activations"),
])
def test_what_is_wrong_with_activations_is_said(text: str, said: str) -> None:
    with pytest.raises(RecipeError) as caught:
        recipes.parse(text)
    assert said in str(caught.value)


def test_activations_may_be_left_alone() -> None:
    assert recipes.parse("activations: null").activations is None
    assert recipes.parse("activations: dynamic").activations == Activations("dynamic")


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("net") / "net.pt2"
    module = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 10)).eval()
    torch.export.save(torch.export.export(module, (torch.zeros(2, 64),), dynamic_shapes=({0: torch.export.Dim("N")},)), path)
    return path


def test_commands_say_what_is_int8(program: Path, tmp_path: Path) -> None:
    name = importers.load(program).inputs[0].name
    np.savez(tmp_path / "x.npz", **{name: np.random.default_rng(0).normal(size=(40, 64)).astype(F)})
    thin = tmp_path / "net.thin"
    said = run("pack", program, "-o", thin, "--recipe", "int8", "--data", tmp_path / "x.npz")
    assert "activations: 2 int8 static; 2 of 2 products compute in integers (calibration output)" in said
    assert "activations: 2 int8 static; 2 of 2 products compute in integers" in run("inspect", thin)
    shown = json.loads(run("inspect", thin, "--json"))
    assert [node["activations"] for node in shown["nodes"] if node["op"] == "Gemm"] == ["int8 static"] * 2
    assert {how["kind"] for how in shown["quantized"]} == {"static"}
    assert json.loads(run("verify", thin, "--against", program, "--json"))["arithmetic"]["integer"] == 2
    assert "2 of 2 products compute in integers" in run("bench", thin)
    said = run("pack", program, "-o", thin, "--recipe", "int8")
    assert "activations: 2 int8 dynamic per row; 2 of 2 products compute in integers (without --data, scales are found at run time" in said
    said = run("pack", program, "-o", thin, "--recipe", "codebook-4")
    assert "activations" not in said
    assert "activations: floats" in run("inspect", thin)


def test_the_same_weights_with_and_without_int8_activations_are_different_models(digits: tuple[np.ndarray, np.ndarray],
                                                                                 packed: Callable[[str, bool], Graph]) -> None:
    images, graph = digits[0][:64], packed("codebook-4-int8", True)
    floats = replace(graph, quantized={})
    feeds = {graph.inputs[0].name: images}
    a, b = (next(iter(runtime.load(g).run(feeds).values())) for g in (graph, floats))
    assert 0 < error(a, b) < 0.1


@pytest.mark.parametrize("has_data", [True, False])
def test_onnxruntime_computes_the_same_from_what_the_file_says(digits: tuple[np.ndarray, np.ndarray], packed: Callable[[str, bool], Graph],
                                                               has_data: bool) -> None:
    """The model spelled out as plain ONNX, in floats; float sums may fall on the other side of a tie, which is a code further on."""
    graph = packed("int8", has_data)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(to_onnx(graph).SerializeToString(), options, providers=["CPUExecutionProvider"])
    feeds = {graph.inputs[0].name: digits[0][:50]}
    (expected,), found = session.run(None, feeds), next(iter(runtime.load(graph).run(feeds).values()))
    assert np.median(np.abs(found - expected)) < 1e-5
    assert error(found, expected) < 1e-2
