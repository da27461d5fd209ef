"""Random nodes with odd shapes through every lowering at every ISA level: floats against float64, integers against NumPy's bits.

Lengths are 1, primes, and one less and one more than what kernels take at a time. ``THINFER_EXAMPLES`` sets how many nodes of each kind are
tried; tools/sanitize.sh runs the same with walls around every buffer.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from graphs import ENCODINGS, encode
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from native_harness import LEVELS, check, every_level, pytestmark  # noqa: F401
from test_quantization import HOWS, KINDS
from test_quantization import weight as integer_weight
from thinfer import runtime
from thinfer.formats.graph import Graph, Node, ValueInfo
from thinfer.formats.tensor import EncodedTensor
from thinfer.kernels import ops
from thinfer.kernels.lowering import lowerings
from thinfer.kernels.ops._op import OpError
from thinfer.runtime.interpreter import evaluate

EXAMPLES = int(os.environ.get("THINFER_EXAMPLES", "25"))
ROUNDING = 1e-6
"""Of the sum of what is added, without signs: float32 sums of some hundreds of terms."""
many = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))

IN_INTEGERS = {"MatMul": ("tensor", "row"), "Gemm": ("tensor", "sample", "row"), "Conv": ("tensor", "sample")}
"""Operator → granularities of x with which it is a product in integers (docs/quantization.md)."""
LENGTHS = sorted({1, 2, 3, 5, 7, 11, 13, 37, 67, 131, *(tile + d for tile in (4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128) for d in (-1, 0, 1))})
lengths = st.sampled_from(LENGTHS)
short = st.sampled_from([n for n in LENGTHS if n <= 33])
seeds = st.integers(0, 2**32 - 1)
bounds = st.sampled_from([(-np.inf, np.inf), (0.0, np.inf), (0.0, 6.0), (-0.5, 0.25)])


def normal(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def compare(op: str, arrays: list[np.ndarray | None], attrs: Mapping[str, Any], level: str, weight: EncodedTensor | None = None,
            clamp: tuple[float, float] = (-np.inf, np.inf), constants: tuple[int, ...] = ()) -> None:
    """``arrays[1]`` is the weight's, if there is one."""
    operator = ops.get(op)
    known = operator.attrs_of(Node(op, tuple("x" if a is not None else "" for a in arrays), ("y",), attrs))
    exact = operator.run(known, *(None if a is None else a.astype(np.float64) for a in arrays))[0]
    sums = np.abs(exact)
    if weight is not None:
        absolute = {key: abs(value) if key in ("alpha", "beta") else value for key, value in known.items()}
        sums = operator.run(absolute, *(None if a is None else np.abs(a).astype(np.float64) for a in arrays))[0]
    check(op, arrays, np.clip(exact, *clamp), attrs, level=level, rtol=2e-6, atol=ROUNDING * float(sums.max(initial=1e-30)), least=0,
          weights=None if weight is None else {1: weight}, low=clamp[0], high=clamp[1], constants=constants)


@every_level
@pytest.mark.parametrize("encoding", ENCODINGS)
@settings(many, max_examples=max(EXAMPLES // 5, 3))
@given(m=st.one_of(st.just(1), short), k=lengths, n=lengths, transposed=st.booleans(), bias=st.booleans(), clamp=bounds, seed=seeds)
def test_products(level: str, encoding: str, m: int, k: int, n: int, transposed: bool, bias: bool, clamp: tuple[float, float], seed: int) -> None:
    weight = encode(normal(seed, *((n, k) if transposed else (k, n))), encoding, 0 if transposed else 1, seed)
    arrays = [normal(seed + 1, m, k), weight.decode(), *([normal(seed + 2, n)] if bias else [])]
    compare("Gemm", arrays, {"transB": int(transposed)}, level, weight, clamp, (2,) if bias else ())


@every_level
@pytest.mark.parametrize("encoding", ENCODINGS)
@settings(many, max_examples=max(EXAMPLES // 5, 3))
@given(data=st.data(), clamp=bounds, seed=seeds)
def test_convolutions(level: str, encoding: str, data: st.DataObject, clamp: tuple[float, float], seed: int) -> None:
    draw = data.draw
    groups = draw(st.sampled_from([1, 1, 1, 2, 3]))
    inner, outer = draw(short), draw(short)
    kernel = draw(st.tuples(st.sampled_from([1, 1, 2, 3, 3, 5]), st.sampled_from([1, 1, 2, 3, 3, 5])))
    strides, dilations = draw(st.tuples(*[st.integers(1, 3)] * 2)), draw(st.tuples(*[st.sampled_from([1, 1, 2])] * 2))
    pads = draw(st.tuples(*[st.integers(0, 3)] * 4))
    size = tuple(max((k - 1) * d + 1 - pads[i] - pads[i + 2], 1) + draw(st.integers(0, 14)) for i, (k, d) in enumerate(zip(kernel, dilations)))
    weight = encode(normal(seed, outer * groups, inner, *kernel), encoding, 0, seed)
    arrays = [normal(seed + 1, draw(st.sampled_from([1, 1, 2])), inner * groups, *size), weight.decode(), normal(seed + 2, outer * groups)]
    attrs = {"group": groups, "strides": strides, "dilations": dilations, "pads": pads}
    compare("Conv", arrays, attrs, level, weight, clamp, (2,))


@every_level
@settings(many, max_examples=2 * EXAMPLES)
@given(data=st.data(), clamp=bounds, seed=seeds)
def test_depthwise(level: str, data: st.DataObject, clamp: tuple[float, float], seed: int) -> None:
    draw = data.draw
    channels, multiplier = draw(lengths), draw(st.sampled_from([1, 1, 1, 2]))
    side, stride = draw(st.sampled_from([3, 3, 5, 7, 2])), draw(st.sampled_from([1, 1, 2, 3]))
    pads = draw(st.tuples(*[st.integers(0, side - 1)] * 4))
    size = tuple(side + draw(st.integers(0, 20)) for _ in range(2))
    weight = EncodedTensor.dense(normal(seed, channels * multiplier, 1, side, side))
    arrays = [normal(seed + 1, 1, channels, *size), weight.decode(), normal(seed + 2, channels * multiplier)]
    compare("Conv", arrays, {"group": channels, "strides": (stride, stride), "pads": pads}, level, weight, clamp, (2,))


@every_level
@pytest.mark.parametrize("op", ["MaxPool", "AveragePool"])
@settings(many)
@given(data=st.data(), seed=seeds)
def test_pools(level: str, op: str, data: st.DataObject, seed: int) -> None:
    draw = data.draw
    kernel, strides = draw(st.tuples(*[st.integers(1, 5)] * 2)), draw(st.tuples(*[st.integers(1, 3)] * 2))
    pads = tuple(draw(st.integers(0, k // 2)) for k in (*kernel, *kernel))
    size = tuple(k + draw(st.integers(0, 16)) for k in kernel)
    attrs = {"kernel_shape": kernel, "strides": strides, "pads": pads, "ceil_mode": draw(st.integers(0, 1))}
    compare(op, [normal(seed, 1, draw(lengths), *size)], attrs, level)


@every_level
@pytest.mark.parametrize("op", ["Relu", "Sigmoid", "Tanh", "HardSwish", "Gelu", "Exp", "Erf", "Softplus", "Elu", "Abs", "Sqrt"])
@settings(many)
@given(n=lengths, rows=short, seed=seeds)
def test_functions(level: str, op: str, n: int, rows: int, seed: int) -> None:
    x = normal(seed, rows, n)
    compare(op, [np.abs(x) if op == "Sqrt" else x], {}, level)


@every_level
@pytest.mark.parametrize("op", ["Add", "Sub", "Mul", "Div", "Max", "Min"])
@settings(many)
@given(data=st.data(), seed=seeds)
def test_broadcasts(level: str, op: str, data: st.DataObject, seed: int) -> None:
    shape = data.draw(st.tuples(short, short, short))
    other = tuple(n if data.draw(st.booleans()) else 1 for n in shape)
    a, b = normal(seed, *shape), normal(seed + 1, *other)
    b[np.abs(b) < 0.1] = 0.5
    compare(op, [a, b] if data.draw(st.booleans()) or op == "Div" else [b, a], {}, level)


@every_level
@pytest.mark.parametrize(("op", "attrs"), [("Softmax", {"axis": -1}), ("Softmax", {"axis": 1}), ("LogSoftmax", {"axis": -1})])
@settings(many)
@given(shape=st.tuples(short, short, lengths), seed=seeds)
def test_softmax(level: str, op: str, attrs: dict[str, int], shape: tuple[int, ...], seed: int) -> None:
    compare(op, [normal(seed, *shape)], attrs, level)


@every_level
@pytest.mark.parametrize(("op", "how"), [(op, how) for op, those in IN_INTEGERS.items() for how in HOWS if HOWS[how].granularity in those])
@settings(many, max_examples=max(EXAMPLES // 5, 3))
@given(kind=st.sampled_from(KINDS), m=st.one_of(st.just(1), short), k=lengths, n=lengths, clamp=st.booleans(), again=st.booleans(), data=st.data(),
       seed=seeds)
def test_integer_products(level: str, op: str, how: str, kind: str, m: int, k: int, n: int, clamp: bool, again: bool, data: st.DataObject,
                          seed: int) -> None:
    """Quantized activations, also of the result: the bits of the NumPy backend, whatever the level."""
    attrs: dict[str, Any] = {}
    if op == "Conv":
        side, pad = data.draw(st.sampled_from([1, 1, 3, 5])), data.draw(st.integers(0, 2))
        depthwise = data.draw(st.booleans())
        k, n = min(k, 33), k if depthwise else n
        n = min(k, 33) if depthwise else min(n, 33)
        x = normal(seed, data.draw(st.sampled_from([1, 2])), k, side + data.draw(st.integers(0, 6)), side + data.draw(st.integers(0, 9)))
        shape, axis = (n, 1 if depthwise else k, side, side), 0
        attrs = {"group": k if depthwise else 1, "pads": (pad,) * 4, "strides": (data.draw(st.integers(1, 2)),) * 2}
    else:
        x, shape, axis = normal(seed, m, k), (k, n), 1
    nodes = [Node(op, ("x", "w"), ("y",), attrs), *([Node("Clip", ("y", "low", "high"), ("z",))] if clamp else [])]
    last = nodes[-1].outputs[0]
    if again:
        nodes.append(Node("Identity", (last,), ("out",)))
    weights = {"w": integer_weight(kind, shape, axis), "low": EncodedTensor.dense(np.float32(0)), "high": EncodedTensor.dense(np.float32(1.5))}
    if not clamp:
        weights = {"w": weights["w"]}
    quantized = {"x": HOWS[how], **({last: HOWS["static-uint8"]} if again else {})}
    graph = Graph((ValueInfo("x", "float32", x.shape),), (ValueInfo(nodes[-1].outputs[0], "float32", tuple(map(str, range(x.ndim)))),), tuple(nodes),
                  weights, quantized=quantized)
    try:
        expected = evaluate(graph, {"x": x})
    except OpError:
        return  # sums past int32: refused in words, as test_quantization.py shows
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("THINFER_ISA", level)
        for threads in (1, 3):
            for name, array in runtime.load(graph, backend="native", threads=threads).run({"x": x}).items():
                np.testing.assert_array_equal(array, expected[name])


def test_every_level_has_lowerings_of_all_these() -> None:
    """So that none of the tests above passes by trying nothing."""
    from native_harness import site_of

    w = EncodedTensor.dense(normal(0, 5, 4))
    for level in LEVELS:
        assert lowerings(site_of("Gemm", [normal(0, 2, 4), w.decode()], normal(0, 2, 5), {"transB": 1}, {1: w}, level))
        for op in ("Relu", "Sigmoid", "Softmax", "MaxPool", "Add", "Gelu", "LogSoftmax", "AveragePool"):
            arrays = [normal(0, 1, 2, 3, 3)] * (2 if op == "Add" else 1)
            attrs = {"kernel_shape": (1, 1)} if op.endswith("Pool") else {}
            assert lowerings(site_of(op, arrays, arrays[0], attrs, level=level)), op
