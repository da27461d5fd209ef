"""The family resample: every kernel at every ISA level, on odd shapes, against torch and NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from native_harness import check, every_level, pytestmark  # noqa: F401

RNG = np.random.default_rng(0)

WAYS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "linear": ({"mode": "linear"}, {"mode": "bilinear", "align_corners": False}),
    "corners": ({"mode": "linear", "coordinate_transformation_mode": "align_corners"}, {"mode": "bilinear", "align_corners": True}),
    "cubic": ({"mode": "cubic"}, {"mode": "bicubic", "align_corners": False}),
    "antialias": ({"mode": "linear", "antialias": 1, "exclude_outside": 1}, {"mode": "bilinear", "align_corners": False, "antialias": True}),
    "nearest": ({"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}, {"mode": "nearest"}),
}


@every_level
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("shape", [(1, 3, 5, 7), (2, 17, 6, 33), (1, 1, 1, 1), (1, 40, 3, 2)], ids=str)
def test_images(level: str, shape: tuple[int, ...], way: str) -> None:
    x = RNG.standard_normal(shape).astype(np.float32)
    attrs, torch_attrs = WAYS[way]
    for size in ((9, 20), (3, 2), (shape[2], 65)):
        want = F.interpolate(torch.from_numpy(x).double(), size, **torch_attrs).float().numpy()
        check("Resize", [x, None, None, np.array((*shape[:2], *size))], want, attrs, level=level, rtol=2e-5, atol=2e-6, least=2, constants=(3,))


@every_level
def test_lines(level: str) -> None:
    x = RNG.standard_normal((2, 3, 37)).astype(np.float32)
    for size in (12, 74, 37):
        want = F.interpolate(torch.from_numpy(x).double(), size, mode="linear").float().numpy()
        check("Resize", [x, None, None, np.array((2, 3, size))], want, {"mode": "linear"}, level=level, rtol=2e-5, atol=2e-6, least=2, constants=(3,))


@every_level
def test_the_last_axes_of_a_volume(level: str) -> None:
    x = RNG.standard_normal((2, 3, 4, 5, 6)).astype(np.float32)
    check("Resize", [x, None, np.array([2, 3], np.float32)], x.repeat(2, 3).repeat(3, 4),
          {"axes": (3, 4), "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"},
          level=level, rtol=0, atol=0, least=2, constants=(2,))


@every_level
@pytest.mark.parametrize("mode", ["reflect", "edge", "wrap"])
@pytest.mark.parametrize("shape", [(2, 3, 5, 7), (1, 17, 6, 33), (3, 4, 9), (4, 19)], ids=str)
def test_mirrored_padding(level: str, shape: tuple[int, ...], mode: str) -> None:
    x = RNG.standard_normal(shape).astype(np.float32)
    widths = [(0, 0)] * (len(shape) - 2) + [(2, 1) if len(shape) != 3 else (0, 0), (3, 4)]
    pads = np.array([side[k] for k in (0, 1) for side in widths])
    check("Pad", [x, pads], np.pad(x, widths, mode=mode), {"mode": mode}, level=level, rtol=0, atol=0,  # type: ignore[call-overload]
          least=1 + (len(shape) > 2), constants=(1,))
    cropped = np.array([0] * (2 * len(shape) - 1) + [-2])
    check("Pad", [x, cropped], x[..., :-2], {"mode": mode}, level=level, rtol=0, atol=0, constants=(1,))


@every_level
def test_what_has_no_weight_may_be_infinite(level: str) -> None:
    x = np.array([1, 2, np.inf, 4], np.float32).reshape(1, 1, 1, 4)
    want = np.array([1, 1.5, 2, np.inf, np.inf, np.inf, 4, 4], np.float32).reshape(1, 1, 1, 8)
    check("Resize", [x, None, np.array([1, 1, 1, 2], np.float32)], want, {"mode": "linear", "coordinate_transformation_mode": "asymmetric"},
          level=level, least=2, constants=(2,))
