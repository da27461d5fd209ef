"""The family softmax: both kernels at every ISA level, over every axis, against float64 NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from native_harness import check, every_level, pytestmark  # noqa: F401
from scipy import special

RNG = np.random.default_rng(4)


def softmax(x: np.ndarray, axis: int) -> np.ndarray:
    wide = x.astype(np.float64)
    with np.errstate(invalid="ignore"):
        e = np.exp(wide - wide.max(axis, keepdims=True))
        return e / e.sum(axis, keepdims=True)


@every_level
@pytest.mark.parametrize("shape", [(1, 1000), (3, 10), (5,), (2, 7, 19), (2, 21, 5, 3), (1, 16, 4, 4), (1, 1, 1), (0, 4)], ids=str)
def test_softmax(level: str, shape: tuple[int, ...]) -> None:
    x = (RNG.standard_normal(shape) * 5).astype(np.float32)
    for axis in range(-1, len(shape)):
        if x.size:
            check("Softmax", [x], softmax(x, axis), {"axis": axis}, level=level, rtol=3e-6, atol=1e-9, least=2)
        else:
            check("Softmax", [x], x, {"axis": axis}, level=level, least=2)


@every_level
@pytest.mark.parametrize("shape", [(1, 1000), (3, 10), (5,), (2, 7, 19), (2, 21, 5, 3), (1, 1, 1), (0, 4)], ids=str)
def test_log_softmax(level: str, shape: tuple[int, ...]) -> None:
    x = (RNG.standard_normal(shape) * 20).astype(np.float32)
    for axis in range(-1, len(shape)):
        expected = special.log_softmax(x.astype(np.float64), axis) if x.size else x
        check("LogSoftmax", [x], expected, {"axis": axis}, level=level, rtol=1e-6, atol=3e-7, least=2)


@every_level
def test_log_softmax_of_extremes(level: str) -> None:
    for row in ([1e38, 1, 2], [-np.inf, 1, 2], [np.inf, 1, 2], [np.nan, 1, 2], [-1e38, -1e38, -1e38]):
        x = np.array([row], np.float32)
        expected = torch.log_softmax(torch.from_numpy(x).double(), 1).numpy()
        check("LogSoftmax", [x], expected, {"axis": 1}, level=level, rtol=1e-6)
        check("LogSoftmax", [x.T], expected.T, {"axis": 0}, level=level, rtol=1e-6)


@every_level
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e38, -1e38])
def test_extremes(level: str, value: float) -> None:
    for place in range(20):
        x = RNG.standard_normal((3, 20)).astype(np.float32)
        x[1, place] = value
        for axis in (0, 1):
            check("Softmax", [x], softmax(x, axis), {"axis": axis}, level=level, rtol=3e-6, atol=1e-9)
    x = np.full((2, 20), value, np.float32)
    check("Softmax", [x], softmax(x, 1), {"axis": 1}, level=level, rtol=3e-6)


@every_level
def test_rows_sum_to_one(level: str) -> None:
    x = (RNG.standard_normal((50, 997)) * 30).astype(np.float32)
    for option in check("Softmax", [x], softmax(x, 1), {"axis": 1}, level=level, rtol=1e-5, atol=1e-12):
        assert option.kernel == "softmax_rows"
