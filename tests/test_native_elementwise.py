"""The family elementwise: every kernel at every ISA level, on odd sizes and special values, against float64 NumPy."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from native_harness import check, every_level, lowerings, pytestmark, run, site_of  # noqa: F401

RNG = np.random.default_rng(1)
SPECIAL = np.array([0, -0.0, np.inf, -np.inf, np.nan, 1e-45, -1e-40, 3e38, -3e38, 88.7, 89, -87, -90, -103, -104, 0.625, 6], np.float32)
Function = Callable[[np.ndarray], np.ndarray]


def floats(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


def hard(x: np.ndarray, alpha: float, beta: float) -> np.ndarray:
    return np.minimum(np.maximum(alpha * x + beta, 0), 1)


def sigmoid(x: np.ndarray) -> np.ndarray:
    e = np.exp(-np.abs(x))
    return np.where(x < 0, e, 1) / (1 + e)


UNARY: dict[str, tuple[dict[str, float], Function]] = {
    "Relu": ({}, lambda x: np.maximum(x, 0)),
    "Sigmoid": ({}, sigmoid),
    "Tanh": ({}, np.tanh),
    "HardSigmoid": ({"alpha": 0.25, "beta": 0.4}, lambda x: hard(x, 0.25, 0.4)),
    "HardSwish": ({}, lambda x: x * hard(x, 1 / 6, 0.5)),
}


@every_level
@pytest.mark.parametrize("op", UNARY)
@pytest.mark.parametrize("shape", [(1,), (7,), (2, 3, 5), (1, 4099), (3, 17, 13, 11)], ids=str)
def test_unary(level: str, op: str, shape: tuple[int, ...]) -> None:
    attrs, function = UNARY[op]
    x = floats(*shape) * 4
    check(op, [x], function(x.astype(np.float64)), attrs, level=level, rtol=1e-6, atol=1e-7, least=2)


@every_level
@pytest.mark.parametrize("op", UNARY)
def test_special_values(level: str, op: str) -> None:
    attrs, function = UNARY[op]
    with np.errstate(all="ignore"):
        expected = function(SPECIAL.astype(np.float64)).astype(np.float32)
    check(op, [SPECIAL], expected, attrs, level=level, rtol=1e-6, atol=2e-45)


@every_level
@pytest.mark.parametrize(("op", "ulps"), [("Sigmoid", 3), ("Tanh", 3)])
def test_accuracy(level: str, op: str, ulps: float) -> None:
    x = np.concatenate([np.linspace(-30, 30, 200_001), np.logspace(-20, 1, 5_000), -np.logspace(-20, 1, 5_000)]).astype(np.float32)
    expected = UNARY[op][1](x.astype(np.float64))
    site = site_of(op, [x], expected, level=level)
    found = run(site, lowerings(site)[0], [x], level)
    error = np.abs(found - expected) / np.spacing(np.abs(expected).astype(np.float32))
    assert error.max() <= ulps


@every_level
def test_clip(level: str) -> None:
    x = np.concatenate([floats(50) * 10, SPECIAL])
    for low, high in ((None, None), (-1.0, None), (None, 6.0), (0.0, 6.0), (3.0, -3.0)):
        bounds = [None if bound is None else np.array(bound, np.float32) for bound in (low, high)]
        expected = x if low is None else np.maximum(x, np.float32(low))
        expected = expected if high is None else np.minimum(expected, np.float32(high))
        check("Clip", [x, *bounds], expected, level=level, rtol=0, atol=0, constants=(1, 2), least=2)


BINARY = {"Add": np.add, "Sub": np.subtract, "Mul": np.multiply, "Div": np.divide}
SHAPES = [((3, 5), (3, 5)), ((2, 3, 5, 7), (3, 1, 1)), ((2, 3, 5, 7), (1, 3, 1, 1)), ((2, 3, 5, 7), ()), ((1,), (2, 19, 3)),
          ((2, 3, 5, 7), (5, 7)),
          ((2, 3, 5, 7), (2, 3, 1, 1)), ((4, 1, 5, 1), (1, 3, 1, 7)), ((2, 1, 33), (17, 1)), ((2, 3, 5, 7), (7,)),
          ((2, 3, 5, 7), (3, 5, 7)), ((20_011,), (20_011,)), ((1, 1, 1), (1,)),
          ((0, 3), (3,)), ((2, 1, 3, 1, 2), (1, 4, 1, 5, 1)), ((2, 35, 3, 3), (2, 35, 3, 3))]


@every_level
@pytest.mark.parametrize("op", BINARY)
@pytest.mark.parametrize("shapes", SHAPES, ids=str)
def test_binary(level: str, op: str, shapes: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
    x, y = floats(*shapes[0]), floats(*shapes[1]) + np.float32(3)
    for a, b, constants in ((x, y, ()), (y, x, (0,))):
        expected = BINARY[op](a.astype(np.float64), b.astype(np.float64))
        check(op, [a, b], expected, level=level, rtol=1e-6, atol=1e-7, least=2, constants=constants)


@every_level
def test_fused_clamp(level: str) -> None:
    x, y = floats(2, 5, 3, 3), floats(5, 1, 1)
    expected = np.clip(x.astype(np.float64) + y, 0, 0.5)
    options = check("Add", [x, y], expected, level=level, low=0.0, high=0.5)
    assert all(option.fuses for option in options)


@every_level
@pytest.mark.parametrize("shape", [(2, 5), (1, 17, 3, 3), (2, 3, 7, 11), (2, 33, 4), (1, 4, 2, 3, 5)], ids=str)
def test_batch_normalization(level: str, shape: tuple[int, ...]) -> None:
    x = floats(*shape)
    weight, bias, mean, variance = floats(shape[1]), floats(shape[1]), floats(shape[1]), floats(shape[1]) ** 2
    wide = [array.astype(np.float64).reshape(-1, *[1] * (len(shape) - 2)) for array in (weight, bias, mean, variance)]
    expected = (x - wide[2]) / np.sqrt(wide[3] + 1e-3) * wide[0] + wide[1]
    for low, high in ((-np.inf, np.inf), (0.0, 6.0)):
        check("BatchNormalization", [x, weight, bias, mean, variance], np.clip(expected, low, high), {"epsilon": 1e-3}, level=level,
              rtol=1e-5, atol=1e-5, low=low, high=high, constants=(1, 2, 3, 4), least=2)
