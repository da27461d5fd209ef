"""RNN, LSTM and GRU against onnxruntime, torch, and a walk in float64 written from the equations of the specification."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from ops_cases import Arrays, infer, model_of, named, node_of, run
from thinfer.kernels import ops
from thinfer.kernels.ops._op import Case, Op, OpError

PAIRS = [(ops.get(name), case) for name in ("RNN", "LSTM", "GRU") for case in ops.get(name).cases if not case.bench]
SCALAR: dict[str, Callable[[float, float, float], float]] = {
    "Relu": lambda x, a, b: max(0.0, x), "Tanh": lambda x, a, b: math.tanh(x), "Sigmoid": lambda x, a, b: 1 / (1 + math.exp(-x)),
    "Affine": lambda x, a, b: a * x + b, "LeakyRelu": lambda x, a, b: x if x >= 0 else a * x,
    "ThresholdedRelu": lambda x, a, b: x if x >= a else 0.0, "ScaledTanh": lambda x, a, b: a * math.tanh(b * x),
    "HardSigmoid": lambda x, a, b: min(max(a * x + b, 0.0), 1.0), "Elu": lambda x, a, b: x if x >= 0 else a * (math.exp(x) - 1),
    "Softsign": lambda x, a, b: x / (1 + abs(x)), "Softplus": lambda x, a, b: math.log(1 + math.exp(x)),
}
DEFAULTS = {"LeakyRelu": (0.01, 0), "ThresholdedRelu": (1, 0), "HardSigmoid": (0.2, 0.5), "Elu": (1, 0)}
TAKES_ALPHA = ("Affine", "LeakyRelu", "ThresholdedRelu", "ScaledTanh", "HardSigmoid", "Elu")
TAKES_BETA = ("Affine", "ScaledTanh", "HardSigmoid")
OWN = {"RNN": ["Tanh"], "LSTM": ["Sigmoid", "Tanh", "Tanh"], "GRU": ["Sigmoid", "Tanh"]}


def functions_of(op: Op, attrs: dict[str, Any], directions: int) -> list[list[Callable[[np.ndarray], np.ndarray]]]:
    names, alphas, betas = attrs.get("activations") or OWN[op.name] * directions, list(attrs.get("activation_alpha", ())), \
        list(attrs.get("activation_beta", ()))
    found = []
    for name in names:
        alpha = alphas.pop(0) if name in TAKES_ALPHA and alphas else DEFAULTS.get(name, (0, 0))[0]
        beta = betas.pop(0) if name in TAKES_BETA and betas else DEFAULTS.get(name, (0, 0))[1]
        found.append(np.vectorize(lambda x, f=SCALAR[name], a=alpha, b=beta: f(x, a, b), otypes=[float]))
    return [found[d * len(OWN[op.name]):][:len(OWN[op.name])] for d in range(directions)]


def one_step(op: Op, attrs: dict[str, Any], part: tuple[np.ndarray, ...], f: list[Any], x: np.ndarray, h: np.ndarray,
             c: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The specification's equations for one sequence; h and c [hidden]."""
    w, r, wb, rb, p = part
    n, limit = len(h), attrs.get("clip", math.inf)

    def clipped(v: np.ndarray) -> np.ndarray:
        return np.clip(v, -limit, limit)

    def gate(k: int, extra: np.ndarray | float = 0.0) -> np.ndarray:
        rows = slice(k * n, k * n + n)
        return clipped(w[rows] @ x + r[rows] @ h + wb[rows] + rb[rows] + extra)

    if op.name == "RNN":
        return f[0](gate(0)), c
    if op.name == "GRU":
        z, reset, rows = f[0](gate(0)), f[0](gate(1)), slice(2 * n, 3 * n)
        inner = reset * (r[rows] @ h + rb[rows]) if attrs.get("linear_before_reset") else r[rows] @ (reset * h) + rb[rows]
        return (1 - z) * f[1](clipped(w[rows] @ x + inner + wb[rows])) + z * h, c
    i = f[0](gate(0, p[:n] * c))
    forget = 1 - i if attrs.get("input_forget") else f[0](gate(2, p[2 * n:] * c))
    c = forget * c + i * f[1](gate(3))
    return f[0](gate(1, p[n:2 * n] * c)) * f[2](c), c


def walked(op: Op, arrays: Arrays, attrs: dict[str, Any]) -> list[np.ndarray]:
    x, w, r, b, lens, h0, c0, p = ([*arrays, *[None] * 8])[:8]
    assert x is not None
    assert w is not None
    assert r is not None
    turned, directions, n = attrs.get("layout", 0), len(w), r.shape[2]
    x, h0, c0 = (a.swapaxes(0, 1) if turned and a is not None else a for a in (x, h0, c0))
    steps, batch = x.shape[:2]
    y, ends = np.zeros((steps, directions, batch, n)), np.zeros((2, directions, batch, n))
    for d, f in enumerate(functions_of(op, attrs, directions)):
        wb, rb = np.split(b[d], 2) if b is not None else np.zeros((2, len(w[d])))
        for item in range(batch):
            h, c = (np.zeros(n) if a is None else a[d, item] for a in (h0, c0))
            times = range(steps if lens is None else lens[item])
            for t in reversed(times) if attrs.get("direction") == "reverse" or d else times:
                h, c = one_step(op, attrs, (w[d], r[d], wb, rb, np.zeros(3 * n) if p is None else p[d]), f, x[t, item], h, c)
                y[t, d, item] = h
            ends[:, d, item] = h, c
    found = [y, ends[0], ends[1]][:3 if op.name == "LSTM" else 2]
    return [y.transpose(2, 0, 1, 3), *(end.swapaxes(0, 1) for end in found[1:])] if turned else found


@pytest.mark.parametrize("pair", PAIRS, ids=named)
def test_equals_the_equations(pair: tuple[Op, Case]) -> None:
    op, case = pair
    arrays = [a.astype(np.float64) if a is not None and a.dtype == np.float32 else a for a in case.arrays()]
    found = run(op, arrays, case.attrs)
    for one, expected in zip(found, walked(op, arrays, dict(case.attrs)), strict=True):
        np.testing.assert_allclose(one, expected, rtol=1e-12, atol=1e-12)
    kinds = infer(op, arrays, case.attrs, [False] * len(arrays))
    assert [kind.shape for kind in kinds if kind is not None] == [one.shape for one in found]


@pytest.mark.parametrize("pair", [p for p in PAIRS if not p[1].attrs.get("layout")], ids=named)
def test_equals_onnxruntime(pair: tuple[Op, Case]) -> None:
    op, case = pair
    arrays = case.arrays()
    results = run(op, arrays, case.attrs)
    model = model_of(op, arrays, case.attrs, results)
    model.ir_version, model.opset_import[0].version = 10, 22
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    expected = session.run(None, {f"i{k}": array for k, array in enumerate(arrays) if array is not None})
    for one, other in zip(results, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["RNN", "LSTM", "GRU"])
def test_equals_torch(name: str) -> None:
    """Two directions; torch has the gates in another order, and its GRU is linear before reset."""
    torch.manual_seed(0)
    net = {"RNN": torch.nn.RNN, "LSTM": torch.nn.LSTM, "GRU": torch.nn.GRU}[name](6, 4, bidirectional=True).double()
    order = {"RNN": [0], "LSTM": [0, 3, 1, 2], "GRU": [1, 0, 2]}[name]

    def weight(kind: str) -> np.ndarray:
        both = [getattr(net, f"{kind}_l0{end}").detach().numpy() for end in ("", "_reverse")]
        return np.stack([np.concatenate([np.split(a, len(order))[k] for k in order]) for a in both])

    x = np.random.default_rng(0).normal(size=(7, 3, 6))
    bias = np.concatenate([weight("bias_ih"), weight("bias_hh")], 1)
    attrs: dict[str, Any] = {"direction": "bidirectional", **({"linear_before_reset": 1} if name == "GRU" else {})}
    found = run(ops.get(name), [x, weight("weight_ih"), weight("weight_hh"), bias], attrs)
    y, ends = net(torch.from_numpy(x))
    np.testing.assert_allclose(found[0], y.detach().numpy().reshape(7, 3, 2, 4).transpose(0, 2, 1, 3), rtol=1e-12, atol=1e-12)
    for one, other in zip(found[1:], ends if isinstance(ends, tuple) else (ends,), strict=True):
        np.testing.assert_allclose(one, other.detach().numpy(), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("attrs", "message"), [
    ({"activations": ("Swish", "Tanh", "Tanh")}, "the activation 'Swish'; it takes Relu, Tanh"),
    ({"activations": ("Affine", "Tanh", "Tanh")}, "the activation Affine without activation_alpha"),
    ({"activations": ("Tanh", "Tanh")}, "2 activations; it takes 3"),
    ({"direction": "backward"}, "the direction 'backward'; it takes forward, reverse, bidirectional"),
    ({"layout": 2}, "the layout 2; it takes 0 or 1"),
    ({"clip": 0.0}, "the clip 0.0; it takes a number above 0"),
    ({"hidden_size": 5}, "hidden_size 5, but a weight R of the shape 1x16x4"),
    ({"direction": "bidirectional"}, "weight W of the shape 1x16x6; here it takes 2x16x6"),
])
def test_wrong_attributes_are_named(attrs: dict[str, Any], message: str) -> None:
    op = ops.get("LSTM")
    arrays = op.cases[0].arrays()
    with pytest.raises(OpError, match=message):
        infer(op, arrays, attrs, [False] * len(arrays))


def test_lengths_beyond_the_input_are_refused() -> None:
    op = ops.get("LSTM")
    arrays = next(case for case in op.cases if case.name == "lengths").arrays()
    arrays[4] = np.array([6, 1, 2], np.int32)
    with pytest.raises(OpError, match=r"sequence_lens \[6, 1, 2\]; they lie between 0 and the 5 steps"):
        op.prepared(node_of(op, arrays, {}))(arrays, None)
