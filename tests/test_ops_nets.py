"""Operators of networks of which onnx's evaluator knows too little, against onnxruntime, torch, scipy and loops."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import onnxruntime
import pytest
import scipy.fft
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from ops_cases import infer, model_of, named, run
from thinfer.kernels import ops
from thinfer.kernels.ops._op import Case, Op, OpError

ORT_OPSET = 21
"""Newer forms of these operators differ in bfloat16 only."""

IN_ONNXRUNTIME = ("ConvTranspose", "LpPool", "GlobalLpPool", "GlobalMaxPool", "GlobalAveragePool", "GroupNormalization", "InstanceNormalization",
                  "LayerNormalization", "LpNormalization", "MeanVarianceNormalization")
PAIRS = [(ops.get(name), case) for name in IN_ONNXRUNTIME for case in ops.get(name).cases if not case.bench]


@pytest.mark.parametrize("pair", PAIRS, ids=named)
def test_equals_onnxruntime(pair: tuple[Op, Case]) -> None:
    op, case = pair
    arrays = case.arrays()
    results = run(op, arrays, case.attrs)
    model = model_of(op, arrays, case.attrs, results)
    model.ir_version, model.opset_import[0].version = 10, ORT_OPSET
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    expected = session.run(None, {f"i{k}": array for k, array in enumerate(arrays) if array is not None})
    for one, other in zip(results, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)


@st.composite
def transposed(draw: st.DrawFn) -> tuple[tuple[int, ...], dict[str, Any]]:
    """Spatial lengths and attributes that torch takes too."""
    rank = draw(st.integers(1, 3))
    strides = tuple(draw(st.integers(1, 3)) for _ in range(rank))
    dilations = tuple(draw(st.integers(1, 2)) for _ in range(rank))
    kernel = tuple(draw(st.integers(1, 3)) for _ in range(rank))
    lengths = tuple(draw(st.integers(2, 4)) for _ in range(rank))
    pads = tuple(draw(st.integers(0, min(1, (k - 1) * d // 2))) for k, d in zip(kernel, dilations))
    extra = tuple(draw(st.integers(0, max(s, d) - 1)) for s, d in zip(strides, dilations))
    return lengths, {"kernel_shape": kernel, "strides": strides, "dilations": dilations, "pads": pads * 2, "output_padding": extra}


@settings(max_examples=80, deadline=None)
@given(transposed(), st.integers(1, 2), st.integers(1, 3), st.integers(1, 2), st.integers(1, 3), st.integers(0, 2**31))
def test_conv_transpose_equals_torch(shape: tuple[tuple[int, ...], dict[str, Any]], batch: int, groups: int, inner: int, each: int,
                                     seed: int) -> None:
    lengths, attrs = shape
    rng = np.random.default_rng(seed)
    arrays = [rng.normal(size=(batch, groups * inner, *lengths)), rng.normal(size=(groups * inner, each, *attrs["kernel_shape"])),
              rng.normal(size=groups * each)]
    conv = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}[len(lengths)]
    expected = conv(*map(torch.from_numpy, arrays), stride=attrs["strides"], padding=attrs["pads"][:len(lengths)],
                    output_padding=attrs["output_padding"], groups=groups, dilation=attrs["dilations"]).numpy()
    (found,) = run(ops.get("ConvTranspose"), arrays, {**attrs, "group": groups})
    np.testing.assert_allclose(found, expected, rtol=1e-11, atol=1e-11)
    assert infer(ops.get("ConvTranspose"), arrays, {**attrs, "group": groups}, [False] * 3)[0].shape == found.shape


@pytest.mark.parametrize("case", [case for case in ops.get("LRN").cases if not case.bench], ids=lambda case: case.name)
def test_lrn_equals_loops(case: Case) -> None:
    (x,), op, size = case.arrays(), ops.get("LRN"), case.attrs["size"]
    assert x is not None
    alpha, beta, bias = (case.attrs.get(key, op.attributes[key]) for key in ("alpha", "beta", "bias"))
    wide = x.astype(np.float64)
    expected = np.empty_like(wide)
    for c in range(x.shape[1]):
        first, last = max(0, c - (size - 1) // 2), min(x.shape[1] - 1, c - (size - 1) // 2 + size - 1)
        total = sum(wide[:, k] ** 2 for k in range(first, last + 1))
        expected[:, c] = wide[:, c] / (bias + alpha / size * total) ** beta
    np.testing.assert_allclose(run(op, [wide], case.attrs)[0], expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("case", [case for case in ops.get("CausalConvWithState").cases], ids=lambda case: case.name)
def test_causal_conv_equals_torch(case: Case) -> None:
    x, w, b, past = ([None if a is None else torch.from_numpy(a).double() for a in case.arrays()] + [None] * 2)[:4]
    assert x is not None
    assert w is not None
    whole = F.pad(x, (w.shape[2] - 1, 0)) if past is None else torch.cat((past, x), 2)
    expected = F.conv1d(whole, w, b, groups=len(w))
    if case.attrs.get("activation", "none") != "none":
        expected = F.silu(expected)
    y, state = run(ops.get("CausalConvWithState"), [None if a is None else a.numpy() for a in (x, w, b, past)], case.attrs)
    np.testing.assert_allclose(y, expected.numpy(), rtol=1e-12, atol=1e-12)
    np.testing.assert_array_equal(state, whole[:, :, whole.shape[2] - w.shape[2] + 1:].numpy())


@pytest.mark.parametrize("case", ops.get("LinearAttention").cases, ids=lambda case: case.name)
def test_linear_attention_equals_loops(case: Case) -> None:
    """The recurrence of the specification, one sample, head and token after the other."""
    q, k, v, past, decay, beta = ([None if a is None else a.astype(np.float64) for a in case.arrays()] + [None] * 3)[:6]
    assert q is not None
    assert k is not None
    assert v is not None
    heads, kv_heads = case.attrs["q_num_heads"], case.attrs["kv_num_heads"]
    batch, length = q.shape[:2]
    size, value_size = k.shape[2] // kv_heads, v.shape[2] // kv_heads
    found, states = run(ops.get("LinearAttention"), [q, k, v, past, decay, beta], case.attrs)
    for b in range(batch):
        for h in range(kv_heads):
            s = np.zeros((size, value_size)) if past is None else past[b, h].copy()
            for t in range(length):
                key, value = k[b, t].reshape(kv_heads, size)[h], v[b, t].reshape(kv_heads, value_size)[h]
                if decay is not None:
                    s = np.diag(np.exp(np.broadcast_to(decay[b, t].reshape(kv_heads, -1)[h], size))) @ s
                if beta is not None:
                    value = beta[b, t, h % beta.shape[2]] * (value - s.T @ key)
                s = s + np.outer(key, value)
                for g in range(h * heads // kv_heads, (h + 1) * heads // kv_heads):
                    expected = (case.attrs.get("scale") or size ** -0.5) * q[b, t].reshape(heads, size)[g] @ s
                    np.testing.assert_allclose(found[b, t].reshape(heads, value_size)[g], expected, rtol=1e-12, atol=1e-12)
            np.testing.assert_allclose(states[b, h], s, rtol=1e-12, atol=1e-12)


def test_einsum_stretches_letters_as_torch_does() -> None:
    a, b = np.arange(3.0).reshape(3, 1), np.arange(12.0).reshape(3, 4)
    (found,) = run(ops.get("Einsum"), [a, b], {"equation": "ij,ij->ij"})
    np.testing.assert_allclose(found, torch.einsum("ij,ij->ij", torch.from_numpy(a), torch.from_numpy(b)).numpy())
    assert infer(ops.get("Einsum"), [a, b], {"equation": "ij,ij->ij"}, [False] * 2)[0].shape == (3, 4)


@pytest.mark.parametrize(("equation", "shapes", "message"), [
    ("ij,jk->ik", [(3, 4), (5, 2)], "'j' has the lengths 4 and 5"),
    ("ij->ik", [(3, 4)], "the right side takes each letter of the left side at most once"),
    ("ij,jk", [(3, 4)], "for its 1 operands it takes 1 terms"),
    ("i.j", [(3, 4)], "for its 1 operands it takes 1 terms"),
    ("ijk", [(3, 4)], "an operand of the shape 3x4 for 'ijk'"),
    ("...i,...i->...", [(3, 4), (2, 3, 4)], "the ellipsis stands for 1 and 2 axes"),
])
def test_wrong_equations_are_named(equation: str, shapes: list[tuple[int, ...]], message: str) -> None:
    arrays = [np.zeros(shape) for shape in shapes]
    with pytest.raises(OpError, match=re.escape(message)):
        infer(ops.get("Einsum"), arrays, {"equation": equation}, [False] * len(arrays))


@pytest.mark.parametrize("case", [case for case in ops.get("STFT").cases if not case.bench], ids=lambda case: case.name)
def test_stft_equals_scipy(case: Case) -> None:
    arrays = [None if a is None else a.astype(np.float64) if a.dtype == np.float32 else a for a in case.arrays()]
    x, step, window, length = (arrays + [None] * 2)[:4]
    assert x is not None
    assert step is not None
    signal = x[..., 0] if x.shape[2] == 1 else x[..., 0] + 1j * x[..., 1]
    weights = np.ones(int(length)) if window is None else window  # type: ignore[arg-type]
    frames = [signal[:, k:k + len(weights)] * weights for k in range(0, signal.shape[1] - len(weights) + 1, int(step))]
    expected = np.stack([(scipy.fft.rfft if case.attrs["onesided"] else scipy.fft.fft)(frame) for frame in frames], 1)
    (found,) = run(ops.get("STFT"), arrays, case.attrs)
    np.testing.assert_allclose(found[..., 0] + 1j * found[..., 1], expected, rtol=1e-12, atol=1e-12)
