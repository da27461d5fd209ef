"""Conv and the poolings with random geometry, against torch and against loops."""

from __future__ import annotations

from typing import Any

import numpy as np
import ops_by_loops as loops
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from ops_cases import infer, run
from thinfer.kernels import ops
from thinfer.kernels.ops import _conv

SPATIAL = st.integers(1, 3)


@st.composite
def geometry(draw: st.DrawFn, pads_below_kernel: bool) -> tuple[tuple[int, ...], dict[str, Any]]:
    """Spatial lengths and attributes of a window that fits."""
    rank = draw(SPATIAL)
    kernel = [draw(st.integers(1, 4)) for _ in range(rank)]
    dilations = [draw(st.integers(1, 3)) for _ in range(rank)]
    mode = draw(st.sampled_from(["NOTSET", "NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID"]))
    attrs: dict[str, Any] = {"kernel_shape": tuple(kernel), "dilations": tuple(dilations), "auto_pad": mode,
                             "strides": tuple(draw(st.integers(1, 4)) for _ in range(rank))}
    if mode == "NOTSET":
        # An average over nothing but padding is 0 / 0, whoever computes it; every window has to reach the image.
        attrs["pads"] = tuple(draw(st.integers(0, kernel[k % rank] - 1 if pads_below_kernel else 4)) for k in range(2 * rank))
        if pads_below_kernel:
            attrs["dilations"] = (1,) * rank
    lengths = tuple((k - 1) * d + draw(st.integers(1, 7)) for k, d in zip(kernel, dilations))
    return lengths, attrs


@settings(max_examples=150, deadline=None)
@given(geometry(False), st.integers(1, 2), st.integers(1, 4), st.integers(1, 3), st.integers(1, 3), st.integers(0, 2**31), st.booleans())
def test_conv_equals_torch(shape: tuple[tuple[int, ...], dict[str, Any]], batch: int, groups: int, inner: int, each: int, seed: int,
                           bias: bool) -> None:
    lengths, attrs = shape
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(batch, groups * inner, *lengths))
    w = rng.normal(size=(groups * each, inner, *attrs["kernel_shape"]))
    arrays = [x, w, rng.normal(size=len(w))] if bias else [x, w]
    attrs = {**attrs, "group": groups}
    begin, end, strides, dilations, out = loops.geometry(attrs, lengths)
    padded = F.pad(torch.from_numpy(x), [p for b, e in reversed(list(zip(begin, end))) for p in (b, e)])
    conv = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}[len(lengths)]
    expected = conv(padded, *map(torch.from_numpy, arrays[1:]), stride=strides, dilation=dilations, groups=groups).numpy()
    (found,) = run(ops.get("Conv"), arrays, attrs)
    assert infer(ops.get("Conv"), arrays, attrs, [False] * 3)[0].shape == found.shape == (batch, len(w), *out)
    np.testing.assert_allclose(found, expected, rtol=1e-11, atol=1e-11)


@settings(max_examples=150, deadline=None)
@given(geometry(True), st.booleans(), st.booleans(), st.booleans(), st.integers(0, 2**31))
def test_poolings_equal_loops(shape: tuple[tuple[int, ...], dict[str, Any]], ceil: bool, include: bool, column_major: bool,
                              seed: int) -> None:
    lengths, attrs = shape
    x = np.random.default_rng(seed).normal(size=(1, 2, *lengths))
    common = {**attrs, "ceil_mode": int(ceil)}
    for name, own in (("MaxPool", {"storage_order": int(column_major)}), ("AveragePool", {"count_include_pad": int(include)})):
        expected, indices = loops.pool(x, {**common, **own}, name == "AveragePool")
        found = run(ops.get(name), [x], {**common, **own})
        np.testing.assert_allclose(found[0], expected, rtol=1e-12, atol=1e-12)
        if name == "MaxPool":
            np.testing.assert_array_equal(found[1], indices)


@pytest.mark.parametrize("limit", [1, 50, 1 << 20])
def test_conv_in_pieces_equals_conv_at_once(monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    rng = np.random.default_rng(0)
    for groups, inner in ((1, 6), (2, 3), (6, 1)):
        x, w = rng.normal(size=(2, 6, 9, 8)), rng.normal(size=(6, inner, 3, 3))
        attrs = {"group": groups, "strides": (2, 1), "pads": (1, 0, 2, 1)}
        whole = run(ops.get("Conv"), [x, w], attrs)[0]
        monkeypatch.setattr(_conv, "COLUMN_LIMIT", limit)
        monkeypatch.setattr(_conv, "DEPTHWISE_LIMIT", limit)
        np.testing.assert_allclose(run(ops.get("Conv"), [x, w], attrs)[0], whole, rtol=1e-13, atol=1e-13)
        monkeypatch.undo()


def test_places_of_the_largest_lie_in_the_input() -> None:
    """Where nothing is above the value of the padding, and where a window holds NaN."""
    attrs = {"kernel_shape": (3, 3), "pads": (1, 1, 1, 1)}
    for x in (np.full((1, 2, 3, 4), -np.inf), np.zeros((1, 2, 3, 4), np.uint8), np.full((1, 2, 3, 4), np.nan)):
        y, places = run(ops.get("MaxPool"), [x], attrs)
        np.testing.assert_array_equal(y, x)
        np.testing.assert_array_equal(places, loops.pool(x, attrs, False)[1])
    x = np.arange(12.0).reshape(1, 1, 3, 4)
    x[0, 0, 1, 1] = np.nan
    y, places = run(ops.get("MaxPool"), [x], {"kernel_shape": (2, 2)})
    assert np.isnan(y[0, 0, :2, :2]).all()
    np.testing.assert_array_equal(places[0, 0], [[5, 5, 7], [5, 5, 11]])
