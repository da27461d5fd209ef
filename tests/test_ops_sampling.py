"""Operators that read between samples, against torch, onnxruntime and explicit loops: onnx's evaluator computes their places in float32."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from math import ceil, floor
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
import torch.nn.functional as F
from onnx.reference import ReferenceEvaluator
from ops_cases import all_cases, model_of, named, run, widened
from thinfer.kernels import ops
from thinfer.kernels.ops._op import Case, Op

Pair = tuple[Op, Case]


def of(*names: str) -> list[Pair]:
    return [pair for pair in all_cases(bench=False) if pair[0].name in names]


def close(found: np.ndarray, expected: np.ndarray, step: float = 1e-12) -> None:
    assert found.dtype == expected.dtype
    np.testing.assert_allclose(found, expected, rtol=step, atol=step)


def weight_of(mode: str, a: float, d: float) -> float:
    """Keys 1981, equation 15, and the triangle."""
    d = abs(d)
    if mode == "linear":
        return max(0.0, 1 - d)
    if d < 1:
        return (a + 2) * d**3 - (a + 3) * d**2 + 1
    return a * d**3 - 5 * a * d**2 + 8 * a * d - 4 * a if d < 2 else 0.0


def original(mode: str, x: int, length: int, new: int, scale: float, roi: tuple[float, float]) -> float:
    """x_original by the formulas of the operator's documentation; lengths that scales make fractional stay so."""
    resized = scale * length
    return {
        "half_pixel": lambda: (x + 0.5) / scale - 0.5,
        "half_pixel_symmetric": lambda: length / 2 * (1 - new / resized) + (x + 0.5) / scale - 0.5,
        "pytorch_half_pixel": lambda: (x + 0.5) / scale - 0.5 if new > 1 else 0.0,
        "align_corners": lambda: x * (length - 1) / (resized - 1) if resized != 1 else 0.0,
        "asymmetric": lambda: x / scale,
        "tf_crop_and_resize": lambda: (roi[0] * (length - 1) + x * (roi[1] - roi[0]) * (length - 1) / (resized - 1) if resized != 1
                                       else 0.5 * (roi[0] + roi[1]) * (length - 1)),
    }[mode]()


def axis_weights(attrs: Mapping[str, Any], length: int, new: int, scale: float, roi: tuple[float, float]) -> tuple[np.ndarray, np.ndarray]:
    """(float64[new, length]: what each element counts for each new one, bool[new]: which new ones lie outside)."""
    mode, coordinates = attrs.get("mode", "nearest"), attrs.get("coordinate_transformation_mode", "half_pixel")
    table, outside = np.zeros((new, length)), np.zeros(new, bool)
    if (scale, new) == (1, length) and roi == (0, 1):
        return np.eye(length), outside
    wide = max(1.0, 1 / scale) if attrs.get("antialias") else 1.0
    for x in range(new):
        place = original(coordinates, x, length, new, scale, roi)
        outside[x] = coordinates == "tf_crop_and_resize" and not 0 <= place <= length - 1
        if mode == "nearest":
            nearest = {"floor": floor(place), "ceil": ceil(place), "round_prefer_floor": ceil(place - 0.5),
                       "round_prefer_ceil": floor(place + 0.5)}[attrs.get("nearest_mode", "round_prefer_floor")]
            table[x, min(max(nearest, 0), length - 1)] = 1
            continue
        for tap in range(floor(place - 2 * wide) - 1, ceil(place + 2 * wide) + 2):
            if 0 <= tap < length or not attrs.get("exclude_outside"):
                table[x, min(max(tap, 0), length - 1)] += weight_of(mode, attrs.get("cubic_coeff_a", -0.75), (tap - place) / wide)
        table[x] /= table[x].sum()
    return table, outside


def resized(x: np.ndarray, attrs: Mapping[str, Any], roi: Any, scales: Any, sizes: Any) -> np.ndarray:
    axes = [axis % x.ndim for axis in attrs.get("axes", range(x.ndim))]
    policy = attrs.get("keep_aspect_ratio_policy", "stretch")
    if scales is None:
        ratios = [size / x.shape[axis] for size, axis in zip(sizes, axes)]
        scales = ratios if policy == "stretch" else [(min if policy == "not_larger" else max)(ratios)] * len(axes)
        sizes = sizes if policy == "stretch" else [floor(scale * x.shape[axis] + 0.5) for scale, axis in zip(scales, axes)]
    else:
        sizes = [floor(float(np.float32(scale) * np.float32(x.shape[axis]))) for scale, axis in zip(scales, axes)]
    y, gone = x.astype(np.float64), np.zeros((1,) * x.ndim, bool)
    for k, (axis, scale, size) in enumerate(zip(axes, scales, sizes)):
        span = (float(roi[k]), float(roi[k + len(axes)])) if roi is not None else (0.0, 1.0)
        table, outside = axis_weights(attrs, x.shape[axis], int(size), float(scale), span)
        y = np.moveaxis(np.tensordot(table, y, (1, axis)), 0, axis)
        gone = gone | outside.reshape(-1, *(1,) * (x.ndim - axis - 1))
    return np.where(gone, attrs.get("extrapolation_value", 0.0), y)


@pytest.mark.parametrize("pair", of("Resize"), ids=named)
def test_resize_equals_its_formulas(pair: Pair) -> None:
    op, case = pair
    x, roi, scales, sizes = (*widened(case.arrays()), None, None, None)[:4]
    assert x is not None
    expected = resized(x, case.attrs, roi, scales, sizes)
    if x.dtype.kind in "iu":
        expected = np.clip(np.rint(expected), np.iinfo(x.dtype).min, np.iinfo(x.dtype).max).astype(x.dtype)
    close(run(op, widened(case.arrays()), case.attrs)[0], expected)


@pytest.mark.parametrize(("attrs", "torch_attrs"), [
    ({"mode": "linear", "coordinate_transformation_mode": "half_pixel"}, {"mode": "bilinear", "align_corners": False}),
    ({"mode": "linear", "coordinate_transformation_mode": "align_corners"}, {"mode": "bilinear", "align_corners": True}),
    ({"mode": "cubic", "coordinate_transformation_mode": "half_pixel"}, {"mode": "bicubic", "align_corners": False}),
    ({"mode": "cubic", "coordinate_transformation_mode": "align_corners"}, {"mode": "bicubic", "align_corners": True}),
    ({"mode": "linear", "antialias": 1, "exclude_outside": 1}, {"mode": "bilinear", "align_corners": False, "antialias": True}),
    ({"mode": "cubic", "antialias": 1, "exclude_outside": 1, "cubic_coeff_a": -0.5},
     {"mode": "bicubic", "align_corners": False, "antialias": True}),
    ({"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}, {"mode": "nearest"}),
    ({"mode": "nearest", "coordinate_transformation_mode": "half_pixel", "nearest_mode": "round_prefer_ceil"}, {"mode": "nearest-exact"}),
], ids=lambda attrs: "-".join(map(str, attrs.values())))
@pytest.mark.parametrize("size", [(9, 15), (3, 4), (12, 2), (6, 7)], ids=str)
def test_resize_equals_torch(size: tuple[int, int], attrs: dict[str, Any], torch_attrs: dict[str, Any]) -> None:
    x = np.random.default_rng(1).standard_normal((2, 3, 6, 7))
    expected = F.interpolate(torch.from_numpy(x), size, **torch_attrs)
    close(run(ops.get("Resize"), [x, None, None, np.array((2, 3, *size))], attrs)[0], expected.numpy())


def test_a_pixel_without_weight_may_be_infinite() -> None:
    x = np.array([1, 2, np.inf, 4], np.float32)
    (found,) = run(ops.get("Resize"), [x, None, np.array([2], np.float32)], {"mode": "linear", "coordinate_transformation_mode": "asymmetric"})
    assert found[:3].tolist() == [1, 1.5, 2]
    assert found[6:].tolist() == [4, 4]


@pytest.mark.parametrize("pair", of("GridSample"), ids=named)
def test_grid_sample_equals_torch(pair: Pair) -> None:
    """torch has no cubic volumes, no lines, and does not stop cubic places at the border."""
    op, case = pair
    x, grid = (np.asarray(array) for array in widened(case.arrays()))
    mode, padding = case.attrs.get("mode", "linear"), case.attrs.get("padding_mode", "zeros")
    if x.ndim == 3 or (mode == "cubic" and (x.ndim == 5 or padding == "border")):
        return
    torch_mode = {"linear": "bilinear", "cubic": "bicubic"}.get(mode, mode)
    expected = F.grid_sample(torch.from_numpy(x.astype(np.float64)), torch.from_numpy(grid), torch_mode, padding,
                             bool(case.attrs.get("align_corners")))
    close(run(op, [x, grid], case.attrs)[0], expected.numpy().astype(x.dtype))


@pytest.mark.parametrize("pair", of("GridSample"), ids=named)
def test_grid_sample_equals_onnx_reference_evaluator(pair: Pair) -> None:
    """In float32, as the evaluator has it."""
    op, case = pair
    if case.name in ("one_pixel", "int32"):  # the evaluator divides by zero; it computes with integers
        return
    arrays = case.arrays()
    results = run(op, arrays, case.attrs)
    (expected,) = ReferenceEvaluator(model_of(op, arrays, case.attrs, results)).run(None, {"i0": arrays[0], "i1": arrays[1]})
    close(results[0], expected, 2e-5)


@pytest.mark.parametrize("pair", of("AffineGrid"), ids=named)
def test_affine_grid_equals_torch(pair: Pair) -> None:
    op, case = pair
    theta, size = (np.asarray(array) for array in widened(case.arrays()))
    expected = F.affine_grid(torch.from_numpy(theta), size.tolist(), bool(case.attrs.get("align_corners")))
    close(run(op, [theta, size], case.attrs)[0], expected.numpy())


@pytest.mark.parametrize("pair", of("MaxRoiPool", "RoiAlign"), ids=named)
def test_regions_equal_onnxruntime(pair: Pair) -> None:
    op, case = pair
    arrays = case.arrays()
    results = run(op, arrays, case.attrs)
    model = model_of(op, arrays, case.attrs, results)
    model.ir_version = 10
    model.opset_import[0].version = 20
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (expected,) = session.run(None, {f"i{k}": array for k, array in enumerate(arrays)})
    close(results[0], expected, 1e-5)


def between(image: np.ndarray, at: Sequence[float]) -> float:
    """An image [...] read at a place between its pixels; outside it is 0."""
    total = 0.0
    for corner in product((0, 1), repeat=image.ndim):
        pixel = [floor(place) + c for place, c in zip(at, corner)]
        if all(0 <= p < n for p, n in zip(pixel, image.shape)):
            total += image[tuple(pixel)] * np.prod([1 - abs(place - p) for place, p in zip(at, pixel)])
    return total


@pytest.mark.parametrize("pair", of("DeformConv"), ids=named)
def test_deform_conv_equals_loops(pair: Pair) -> None:
    op, case = pair
    x, w, offset, bias, mask = (*widened(case.arrays()), None, None)[:5]
    assert x is not None
    assert w is not None
    assert offset is not None
    rank, taps = x.ndim - 2, list(np.ndindex(*w.shape[2:]))
    strides, dilations = case.attrs.get("strides", (1,) * rank), case.attrs.get("dilations", (1,) * rank)
    begin, group, moved = case.attrs.get("pads", (0,) * rank)[:rank], case.attrs.get("group", 1), case.attrs.get("offset_group", 1)
    expected = np.zeros((len(x), len(w), *offset.shape[2:]))
    for n, m, *out in np.ndindex(*expected.shape):
        total = 0.0 if bias is None else bias[m]
        for c, (t, tap) in product(range(w.shape[1]), enumerate(taps)):
            channel = m // (len(w) // group) * w.shape[1] + c
            which = (channel // (x.shape[1] // moved)) * len(taps) + t
            at = [o * s - b + k * d + offset[(n, which * rank + axis, *out)]
                  for axis, (o, s, b, k, d) in enumerate(zip(out, strides, begin, tap, dilations))]
            total += w[(m, c, *tap)] * between(x[n, channel], at) * (1.0 if mask is None else mask[(n, which, *out)])
        expected[(n, m, *out)] = total
    close(run(op, [x, w, offset, bias, mask], case.attrs)[0], expected)
