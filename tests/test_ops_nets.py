"""Operators of networks of which onnx's evaluator knows too little, against onnxruntime, torch, scipy and loops."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from ops_cases import infer, model_of, named, run
from thinfer.kernels import ops
from thinfer.kernels.ops._op import Case, Op

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
