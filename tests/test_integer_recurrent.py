"""LSTM and GRU in integers: what docs/quantization.md says, in a loop of its own, against every backend and ISA level; who computes so."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from graphs import encode, error, graph_of
from thinfer import runtime
from thinfer.formats.graph import ActivationQuantization, Graph, Node, ValueInfo
from thinfer.formats.reader import from_bytes
from thinfer.formats.tensor import Affine, Codebook, EncodedTensor, Sparse, Values
from thinfer.formats.writer import to_bytes
from thinfer.kernels import isa, ops
from thinfer.kernels.ops._op import OpError
from thinfer.kernels.ops._recurrence_cases import case
from thinfer.kernels.recurrent.filled import filled
from thinfer.kernels.recurrent.walk import BLOCK
from thinfer.runtime.partition import NativeSegment
from thinfer.toolchain import recipe as recipes
from thinfer.toolchain.arithmetic import arithmetic
from thinfer.toolchain.passes.quantize_activations import Activations, quantize_activations
from thinfer.toolchain.pipeline import compress

HOW = ActivationQuantization("dynamic", "int8", granularity="row")
SPARSE = ("sparse affine8-channel-symmetric", "sparse affine5-channel", "sparse codebook4-int8", "4:16 codebook3-int8", "2:32 ternary",
          "sparse binary", "4x1 codebook2-int8", "1x4 affine2-tensor")
TARGETS = [("numpy", None), *(("native", level) for level in isa.levels())]
INTEGERS = ("affine8-channel-symmetric", "affine5-channel", "affine2-tensor", "codebook4-int8", "codebook8-int8", "binary", "ternary")
F = np.float32
ONE_STEP = 2e-6
"""Gates are exact sums and four roundings; then exp, in which levels differ by some units in the last place."""
MANY_STEPS = 2e-2
"""Where an activation function differs in its last bit, a code of h may fall on the other side of a tie: 1/127 of the largest |h|, times a weight."""


def integers(kind: str, shape: tuple[int, ...], seed: int) -> EncodedTensor:
    """A weight of integers whose scales run along axis 1."""
    rng = np.random.default_rng(seed)
    array = rng.uniform(-0.5, 0.5, shape).astype(F)
    return encode(array, kind, 1, seed)


def lstm(kind: str, steps: int, batch: int, inputs: int, hidden: int, seed: int = 0, quantized: bool = True,
         **attrs: object) -> tuple[Graph, dict[str, np.ndarray]]:
    """An LSTM with every input but sequence_lens, X quantized, and feeds."""
    both = attrs.get("direction") == "bidirectional"
    use = case("", 4, 2, sizes=(steps, batch, inputs, hidden), initial=True, peepholes=True, **attrs)
    graph, feeds = graph_of(ops.get("LSTM"), use, seed=seed)
    directions = 2 if both else 1
    weights = dict(graph.weights)
    weights["in1"] = integers(kind, (directions, 4 * hidden, inputs), seed)
    weights["in2"] = integers(kind, (directions, 4 * hidden, hidden), seed + 1)
    return replace(graph, weights=weights, quantized={"in0": HOW} if quantized else {}), feeds


def gru(kind: str, steps: int, batch: int, inputs: int, hidden: int, **attrs: object) -> tuple[Graph, dict[str, np.ndarray]]:
    """A GRU with every input but sequence_lens, X quantized, and feeds."""
    graph, feeds = graph_of(ops.get("GRU"), case("", 3, 1, sizes=(steps, batch, inputs, hidden), initial=True, **attrs))
    directions = 2 if attrs.get("direction") == "bidirectional" else 1
    own = {name: integers(kind, (directions, 3 * hidden, columns), seed) for seed, (name, columns) in enumerate((("in1", inputs), ("in2", hidden)))}
    return replace(graph, weights={**graph.weights, **own}, quantized={"in0": HOW}), feeds


def grid(x: np.ndarray) -> tuple[np.ndarray, np.floating]:
    """(codes, scale) of one row."""
    scale = np.max(np.abs(x)).astype(F) / F(127)
    scale = F(1) if scale == 0 else scale
    return np.clip(np.rint(x / scale), -128, 127).astype(np.int64), scale


def split(tensor: EncodedTensor) -> tuple[np.ndarray, np.ndarray]:
    """(integers int64, scale float32 [gates · hidden]) of a weight, from its decoded form: multiples of a scale per row."""
    from thinfer.kernels.quantized import weight_integers, weight_scale

    scale = weight_scale(tensor)
    assert scale is not None
    return weight_integers(tensor).decode().astype(np.int64), np.broadcast_to(scale, tensor.shape[1]).astype(F)


def walked(graph: Graph, feeds: dict[str, np.ndarray], backwards: tuple[bool, ...]) -> np.ndarray:
    """Y [steps, directions, batch, hidden] by the document: a loop over steps and sequences; cells in float64 from float32 gates."""
    arrays = {**{name: graph.weights[name].decode() for name in graph.weights}, **feeds}
    x, bias, h0, c0, peeps = (arrays[f"in{place}"] for place in (0, 3, 5, 6, 7))
    (w, ws), (r, rs) = split(graph.weights["in1"]), split(graph.weights["in2"])
    steps, batch, _ = x.shape
    hidden = r.shape[2]
    y = np.zeros((steps, len(backwards), batch, hidden))
    for d, turned in enumerate(backwards):
        b = bias[d, :4 * hidden] + bias[d, 4 * hidden:]
        for s in range(batch):
            h, c = h0[d, s].astype(F), c0[d, s].astype(np.float64)
            for t in (reversed(range(steps)) if turned else range(steps)):
                (xq, xs), (hq, hs) = grid(x[t, s]), grid(h)
                gates = (w[d] @ xq).astype(F) * (xs * ws) + b + (r[d] @ hq).astype(F) * (hs * rs)
                i, o, f, g = np.split(gates.astype(np.float64), 4)
                p, q, u = np.split(peeps[d].astype(np.float64), 3)
                i, f = (1 / (1 + np.exp(-v)) for v in (i + p * c, f + u * c))
                c = f * c + i * np.tanh(g)
                y[t, d, s] = np.tanh(c) / (1 + np.exp(-(o + q * c)))
                h = y[t, d, s].astype(F)
    return y


def walked_gru(graph: Graph, feeds: dict[str, np.ndarray], backwards: tuple[bool, ...]) -> np.ndarray:
    """The same of a GRU. Gates in the order z, r, h."""
    arrays = {**{name: graph.weights[name].decode() for name in graph.weights}, **feeds}
    x, bias, h0 = (arrays[f"in{place}"] for place in (0, 3, 5))
    (w, ws), (r, rs) = split(graph.weights["in1"]), split(graph.weights["in2"])
    steps, batch, _ = x.shape
    hidden, after = r.shape[2], graph.nodes[0].attrs.get("linear_before_reset", 0)
    y = np.zeros((steps, len(backwards), batch, hidden))

    def product(matrix: np.ndarray, scale: np.ndarray, codes: np.ndarray, s: np.floating) -> np.ndarray:
        return (matrix @ codes).astype(F) * (s * scale)

    for d, turned in enumerate(backwards):
        of_w, of_r = np.split(bias[d], 2)
        added, late = of_w + np.where(after and np.arange(3 * hidden) >= 2 * hidden, F(0), of_r), of_r[2 * hidden:] if after else F(0)
        for s in range(batch):
            h = h0[d, s].astype(F)
            for t in (reversed(range(steps)) if turned else range(steps)):
                of_x = product(w[d], ws, *grid(x[t, s])) + added
                z, reset = np.split(1 / (1 + np.exp(-(of_x + product(r[d], rs, *grid(h)))[:2 * hidden].astype(np.float64))), 2)
                own, scale = r[d, 2 * hidden:], rs[2 * hidden:]
                inner = reset * (product(own, scale, *grid(h)) + late) if after else product(own, scale, *grid(reset.astype(F) * h))
                y[t, d, s] = (1 - z) * np.tanh(of_x[2 * hidden:] + inner) + z * h
                h = y[t, d, s].astype(F)
    return y


def run(graph: Graph, feeds: dict[str, np.ndarray], backend: str, level: str | None, monkeypatch: pytest.MonkeyPatch, threads: int = 1,
        ) -> dict[str, np.ndarray]:
    if level is not None:
        monkeypatch.setenv("THINFER_ISA", level)
    session = runtime.load(graph, backend=backend, threads=threads)
    got = session.run(feeds)
    if backend == "native":
        assert all(isinstance(segment, NativeSegment) for plan in session._plans.values() for segment in plan.segments)
    return got


@pytest.mark.parametrize(("backend", "level"), TARGETS)
@pytest.mark.parametrize("kind", INTEGERS)
def test_one_step_is_what_the_document_says(kind: str, backend: str, level: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    for batch, inputs, hidden in ((1, 1, 1), (2, 7, 5), (1, 33, 17), (3, 64, 48)):
        graph, feeds = lstm(kind, 1, batch, inputs, hidden)
        got = run(graph, feeds, backend, level, monkeypatch)
        assert error(got["out0"], walked(graph, feeds, (False,))) <= ONE_STEP


@pytest.mark.parametrize(("backend", "level"), TARGETS)
@pytest.mark.parametrize("kind", SPARSE)
def test_absent_weights_add_nothing(kind: str, backend: str, level: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights with positions, in one direction and in halves of two, and rows of a GRU's gate h apart."""
    for batch, inputs, hidden in ((1, 1, 1), (2, 33, 17), (1, 64, 32)):
        for direction, backwards in (("forward", (False,)), ("bidirectional", (False, True))):
            graph, feeds = lstm(kind, 1, batch, inputs, hidden, direction=direction)
            assert error(run(graph, feeds, backend, level, monkeypatch)["out0"], walked(graph, feeds, backwards)) <= ONE_STEP
            graph, feeds = gru(kind, 1, batch, inputs, hidden, direction=direction)
            assert error(run(graph, feeds, backend, level, monkeypatch)["out0"], walked_gru(graph, feeds, backwards)) <= MANY_STEPS


def test_absent_weights_take_one_more_symbol() -> None:
    """A codebook without 0 grows by it; one with 0, and grids, do not; one of 256 entries has no room, and NumPy runs it."""
    def dense(values: Values) -> EncodedTensor | None:
        return filled(EncodedTensor((2, 4), "float32", values, Sparse.of(np.array([1, 0, 0, 1, 0, 1, 0, 1], bool)), 0))

    symbols = np.array([0, 1, 1, 0], np.uint8)
    for entries, bits, expected in (([-3, 5], 2, [[-3, 0, 0, 5], [0, 5, 0, -3]]), ([0, 5], 1, [[0, 0, 0, 5], [0, 5, 0, 0]])):
        found = dense(Codebook(symbols, 1, np.array([entries], np.int8)))
        assert found is not None
        assert isinstance(found.values, Codebook)
        assert found.values.bits == bits
        np.testing.assert_array_equal(found.decode(), expected)
    scale, zero = np.array([[2.0], [1.0]], F), np.array([[1], [3]], np.uint8)
    found = dense(Affine(symbols, 2, scale, zero, 4))
    assert found is not None
    np.testing.assert_array_equal(found.decode(), [[-2, 0, 0, 0], [0, -2, 0, -3]])
    full = np.delete(np.arange(-128, 128), 128)
    assert dense(Codebook(symbols, 8, np.append(full, 7)[None].astype(np.int8))) is None


@pytest.mark.parametrize(("backend", "level"), TARGETS)
@pytest.mark.parametrize(("direction", "backwards"), [("forward", (False,)), ("reverse", (True,)), ("bidirectional", (False, True))])
def test_steps_and_directions(direction: str, backwards: tuple[bool, ...], backend: str, level: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    for kind in ("codebook4-int8", "affine8-channel-symmetric"):
        graph, feeds = lstm(kind, 7, 2, 19, 21, direction=direction)
        got = run(graph, feeds, backend, level, monkeypatch)
        expected = walked(graph, feeds, backwards)
        assert error(got["out0"], expected) <= MANY_STEPS
        ends = np.stack([expected[0 if turned else -1, d] for d, turned in enumerate(backwards)])
        assert error(got["out1"], ends) <= MANY_STEPS


@pytest.mark.parametrize(("backend", "level"), TARGETS)
def test_batch_first(backend: str, level: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Layout 1 is the same with axes swapped."""
    graph, _ = lstm("codebook4-int8", 4, 3, 9, 10, direction="bidirectional", layout=1)
    plain, given = lstm("codebook4-int8", 4, 3, 9, 10, direction="bidirectional")
    turned = {name: np.ascontiguousarray(given[name].swapaxes(0, 1)) for name in given}
    plain = replace(plain, weights={**plain.weights, **{name: graph.weights[name] for name in plain.weights}})
    got, expected = run(graph, turned, backend, level, monkeypatch), run(plain, given, backend, level, monkeypatch)
    np.testing.assert_array_equal(got["out0"], expected["out0"].transpose(2, 0, 1, 3))


@pytest.mark.parametrize(("backend", "level"), TARGETS)
@pytest.mark.parametrize("kind", INTEGERS)
def test_one_step_of_a_gru(kind: str, backend: str, level: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the reset gate after the product no activation function comes before a code; with it before, r ⊙ h is quantized."""
    for after, bound in ((1, ONE_STEP), (0, MANY_STEPS)):
        for batch, inputs, hidden in ((1, 1, 1), (2, 7, 5), (1, 33, 17), (3, 64, 48)):
            graph, feeds = gru(kind, 1, batch, inputs, hidden, linear_before_reset=after)
            assert arithmetic(graph).integer == 1
            assert error(run(graph, feeds, backend, level, monkeypatch)["out0"], walked_gru(graph, feeds, (False,))) <= bound


@pytest.mark.parametrize(("backend", "level"), TARGETS)
@pytest.mark.parametrize("after", [0, 1])
@pytest.mark.parametrize(("direction", "backwards"), [("reverse", (True,)), ("bidirectional", (False, True))])
def test_steps_and_directions_of_a_gru(direction: str, backwards: tuple[bool, ...], after: int, backend: str, level: str | None,
                                       monkeypatch: pytest.MonkeyPatch) -> None:
    for kind in ("codebook4-int8", "affine8-channel-symmetric"):
        graph, feeds = gru(kind, 7, 2, 19, 21, direction=direction, linear_before_reset=after)
        got, expected = run(graph, feeds, backend, level, monkeypatch), walked_gru(graph, feeds, backwards)
        assert error(got["out0"], expected) <= MANY_STEPS
        assert error(got["out1"], np.stack([expected[0 if turned else -1, d] for d, turned in enumerate(backwards)])) <= MANY_STEPS


@pytest.mark.parametrize("op", ["LSTM", "GRU", "GRU after"])
def test_codes_and_sums_are_the_same_bits(op: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With gates that are 1/2 and x / 4 + 1/2 between 0 and 1 in the place of tanh, whose roundings are the same everywhere, so are all states."""
    attrs = {"activations": ("HardSigmoid",) * 2, "activation_alpha": (0.0, 0.25), "activation_beta": (0.5, 0.5)}
    if op == "LSTM":
        graph, feeds = lstm("codebook4-int8", 9, 2, 19, 21, **{name: (*value, value[-1]) for name, value in attrs.items()})
    else:
        graph, feeds = gru("codebook4-int8", 9, 2, 19, 21, linear_before_reset=int(op == "GRU after"), **attrs)
    expected, *others = (run(graph, feeds, backend, level, monkeypatch) for backend, level in TARGETS)
    for got in others:
        for name in expected:
            np.testing.assert_array_equal(got[name], expected[name])


@pytest.mark.parametrize("level", isa.levels())
def test_threads_do_not_change_results(level: str, monkeypatch: pytest.MonkeyPatch) -> None:
    after = {"linear_before_reset": 1}
    for graph, feeds in (lstm("codebook4-int8", 5, 2, 130, 150), gru("codebook4-int8", 5, 2, 130, 150), gru("binary", 3, 1, 33, 70, **after)):
        one, three = (run(graph, feeds, "native", level, monkeypatch, threads) for threads in (1, 3))
        for name in one:
            np.testing.assert_array_equal(one[name], three[name])


@pytest.mark.parametrize("backend", list(dict(TARGETS)))
@pytest.mark.parametrize("make", [lstm, gru])
def test_no_steps_and_no_sequences(make: Callable[..., tuple[Graph, dict[str, np.ndarray]]], backend: str) -> None:
    """Without steps the last state is the first one."""
    graph, feeds = make("codebook4-int8", 3, 2, 5, 4)
    dims: dict[str, tuple[int | str, ...]] = {"in0": ("steps", "batch", 5), "in5": (1, "batch", 4), "in6": (1, "batch", 4)}
    inputs = tuple(replace(info, shape=dims[info.name]) for info in graph.inputs)
    outputs = tuple(replace(info, shape=("steps", 1, "batch", 4) if i == 0 else (1, "batch", 4)) for i, info in enumerate(graph.outputs))
    session = runtime.load(replace(graph, inputs=inputs, outputs=outputs), backend=backend)
    y, last, *_ = session.run({**feeds, "in0": feeds["in0"][:0]}).values()
    assert y.shape == (0, 1, 2, 4)
    np.testing.assert_array_equal(last, feeds["in5"])
    y, last, *_ = session.run({name: array[:, :0] for name, array in feeds.items()}).values()
    assert (y.shape, last.shape) == ((3, 1, 0, 4), (1, 0, 4))


@pytest.mark.parametrize("threads", [2, 3])
@pytest.mark.parametrize("make", [lstm, gru])
def test_more_steps_than_inputs_are_multiplied_ahead(make: Callable[..., tuple[Graph, dict[str, np.ndarray]]], threads: int) -> None:
    """What the inputs give lies in one buffer for a block of steps; threads fill it for the next block when the last step has read it."""
    graph, feeds = make("codebook4-int8", 2 * BLOCK + 44, 1, 200, 16)
    one, several = (runtime.load(graph, threads=count).run(feeds) for count in (1, threads))
    for name in one:
        np.testing.assert_array_equal(one[name], several[name])


def test_a_row_that_is_not_finite_stays_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    for backend, level in TARGETS:
        graph, feeds = lstm("affine8-channel-symmetric", 2, 2, 8, 8)
        bad = feeds["in0"].copy()
        bad[0, 0, 3] = np.inf
        got, good = run(graph, {**feeds, "in0": bad}, backend, level, monkeypatch), run(graph, feeds, backend, level, monkeypatch)
        assert not np.isfinite(got["out0"][0, 0, 0]).all()
        np.testing.assert_array_equal(got["out0"][:, 0, 1], good["out0"][:, 0, 1])


def test_sums_that_could_wrap_are_refused() -> None:
    graph, feeds = lstm("affine8-channel-symmetric", 1, 1, 1, 1)
    graph = replace(graph, weights={**graph.weights, "in1": encode(np.ones((1, 4, 300_000), F), "affine8-channel-symmetric", 1)})
    graph = replace(graph, inputs=tuple(ValueInfo("in0", "float32", (1, 1, 300_000)) if info.name == "in0" else info for info in graph.inputs))
    with pytest.raises(OpError, match="int32 accumulators"):
        runtime.load(graph, backend="numpy").run({**feeds, "in0": np.ones((1, 1, 300_000), F)})


@pytest.mark.parametrize("kind", ["fp32", "codebook4", "affine4-block"])
def test_other_weights_leave_it_in_floats(kind: str) -> None:
    """X is read as the multiples of its scale that it is quantized to."""
    graph, feeds = lstm("affine8-channel-symmetric", 3, 2, 32, 64)
    graph = replace(graph, weights={**graph.weights, "in2": encode(np.random.default_rng(3).uniform(-1, 1, (1, 256, 64)).astype(F), kind, 1)})
    assert arithmetic(graph).integer == 0
    rounded = np.stack([np.stack([F(codes) * scale for codes, scale in map(grid, step)]) for step in feeds["in0"]]).astype(F)
    plain = replace(graph, quantized={})
    got = runtime.load(graph).run(feeds)["out0"]
    np.testing.assert_array_equal(got, runtime.load(plain).run({**feeds, "in0": rounded})["out0"])


@pytest.mark.parametrize("how", [ActivationQuantization("static", "int8", 2.0**-7), ActivationQuantization("dynamic", "int8", granularity="tensor"),
                                 ActivationQuantization("dynamic", "uint8", granularity="row")], ids=str)
def test_other_codes_leave_it_in_floats(how: ActivationQuantization) -> None:
    graph, feeds = lstm("affine8-channel-symmetric", 2, 1, 8, 8)
    graph = replace(graph, quantized={"in0": how})
    assert arithmetic(graph).integer == 0
    a, b = (runtime.load(graph, backend=backend).run(feeds)["out0"] for backend in ("numpy", "native"))
    assert error(a, b) <= ONE_STEP


@pytest.mark.parametrize("preset", ["int8", "codebook-4-int8"])
@pytest.mark.parametrize("has_data", [False, True])
def test_recipes(preset: str, has_data: bool) -> None:
    """The presets quantize what an LSTM reads per row, with or without data; its error stays small; the file keeps it."""
    pytest.importorskip("yaml")
    rng = np.random.default_rng(0)
    weights = {"w": rng.uniform(-0.1, 0.1, (1, 256, 48)), "r": rng.uniform(-0.1, 0.1, (1, 256, 64)), "b": rng.uniform(-0.1, 0.1, (1, 512))}
    x = rng.normal(size=(20, 1, 48)).astype(F)
    graph = Graph((ValueInfo("x", "float32", (20, 1, 48)),), (ValueInfo("y", "float32", (20, 1, 1, 64)),),
                  (Node("LSTM", ("x", "w", "r", "b"), ("y",), {"hidden_size": 64}),),
                  {name: EncodedTensor.dense(array.astype(F)) for name, array in weights.items()})
    packed = compress(graph, recipes.load(preset), calibration={"x": x} if has_data else None)
    assert packed.quantized == {"x": HOW}
    assert (arithmetic(packed).products, arithmetic(packed).integer) == (1, 1)
    again = from_bytes(to_bytes(packed))
    dense, found, native = (runtime.load(g, backend=backend).run({"x": x})["y"]
                            for g, backend in ((graph, "numpy"), (again, "numpy"), (again, "native")))
    assert error(found, dense) <= (0.02 if preset == "int8" else 0.1)
    assert error(native, found) <= MANY_STEPS


@pytest.mark.parametrize("after", [0, 1])
@pytest.mark.parametrize("preset", ["int8", "codebook-4-int8"])
def test_recipes_of_a_gru(preset: str, after: int) -> None:
    pytest.importorskip("yaml")
    rng = np.random.default_rng(0)
    weights = {"w": rng.uniform(-0.1, 0.1, (1, 192, 48)), "r": rng.uniform(-0.1, 0.1, (1, 192, 64)), "b": rng.uniform(-0.1, 0.1, (1, 384))}
    x = rng.normal(size=(20, 1, 48)).astype(F)
    graph = Graph((ValueInfo("x", "float32", (20, 1, 48)),), (ValueInfo("y", "float32", (20, 1, 1, 64)),),
                  (Node("GRU", ("x", "w", "r", "b"), ("y",), {"hidden_size": 64, "linear_before_reset": after}),),
                  {name: EncodedTensor.dense(array.astype(F)) for name, array in weights.items()})
    packed = from_bytes(to_bytes(compress(graph, recipes.load(preset))))
    assert packed.quantized == {"x": HOW}
    dense, native = (runtime.load(g).run({"x": x})["y"] for g in (graph, packed))
    assert error(native, dense) <= (0.02 if preset == "int8" else 0.1)


def test_static_and_binary_activations_leave_an_lstm_in_floats() -> None:
    graph, feeds = lstm("affine8-channel-symmetric", 2, 1, 8, 8, quantized=False)
    assert quantize_activations(graph, Activations("static"), {"in0": feeds["in0"]}).quantized == {}
    assert quantize_activations(graph, Activations("binary")).quantized == {}
    assert set(quantize_activations(graph, Activations("dynamic")).quantized.values()) == {HOW}
