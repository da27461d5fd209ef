"""The family elementwise: every kernel at every ISA level, on odd sizes and special values, against float64 NumPy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from native_harness import check, every_level, lowerings, pytestmark, run, site_of  # noqa: F401
from scipy import special

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


def gelu(x: np.ndarray) -> np.ndarray:
    return x / 2 * special.erfc(-x * np.sqrt(0.5))


def softplus(x: np.ndarray) -> np.ndarray:
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


UNARY: dict[str, tuple[dict[str, Any], Function]] = {
    "Relu": ({}, lambda x: np.maximum(x, 0)),
    "Sigmoid": ({}, sigmoid),
    "Tanh": ({}, np.tanh),
    "HardSigmoid": ({"alpha": 0.25, "beta": 0.4}, lambda x: hard(x, 0.25, 0.4)),
    "HardSwish": ({}, lambda x: x * hard(x, 1 / 6, 0.5)),
    "Abs": ({}, np.abs),
    "Ceil": ({}, np.ceil),
    "Celu": ({"alpha": 2.0}, lambda x: np.where(x > 0, x, 2 * np.expm1(np.minimum(x, 0) / 2))),
    "Elu": ({"alpha": 0.75}, lambda x: np.where(x > 0, x, 0.75 * np.expm1(np.minimum(x, 0)))),
    "Erf": ({}, special.erf),
    "Exp": ({}, np.exp),
    "Floor": ({}, np.floor),
    "Gelu": ({}, gelu),
    "LeakyRelu": ({"alpha": 0.25}, lambda x: np.where(x < 0, 0.25 * x, x)),
    "Log": ({}, np.log),
    "Mish": ({}, lambda x: x * np.tanh(softplus(x))),
    "Neg": ({}, np.negative),
    "Reciprocal": ({}, np.reciprocal),
    "Round": ({}, np.rint),
    "Selu": ({"alpha": 1.5, "gamma": 1.25}, lambda x: 1.25 * np.where(x > 0, x, 1.5 * np.expm1(np.minimum(x, 0)))),
    "Softplus": ({}, softplus),
    "Softsign": ({}, lambda x: x / (1 + np.abs(x))),
    "Sqrt": ({}, np.sqrt),
    "Swish": ({"alpha": 1.5}, lambda x: x * sigmoid(1.5 * x)),
    "ThresholdedRelu": ({"alpha": 0.5}, lambda x: np.where(x > 0.5, x, 0)),
}


@every_level
@pytest.mark.parametrize("op", UNARY)
@pytest.mark.parametrize("shape", [(1,), (7,), (2, 3, 5), (1, 4099), (3, 17, 13, 11)], ids=str)
def test_unary(level: str, op: str, shape: tuple[int, ...]) -> None:
    attrs, function = UNARY[op]
    x = floats(*shape) * 4
    with np.errstate(invalid="ignore"):
        check(op, [x], function(x.astype(np.float64)), attrs, level=level, rtol=1e-6, atol=1e-7, least=2)


@every_level
@pytest.mark.parametrize("op", UNARY)
def test_special_values(level: str, op: str) -> None:
    attrs, function = UNARY[op]
    with np.errstate(all="ignore"):
        expected = function(SPECIAL.astype(np.float64)).astype(np.float32)
    check(op, [SPECIAL], expected, attrs, level=level, rtol=1e-6, atol=2e-45 if op != "Mish" else 1e-43)  # 104 times a subnormal e^-104


@every_level
@pytest.mark.parametrize(("op", "ulps"), [("Sigmoid", 3), ("Tanh", 3), ("Exp", 1.5), ("Log", 1.5), ("Erf", 3), ("Elu", 3), ("Softplus", 3),
                                          ("Mish", 5), ("Sqrt", 0.5), ("Reciprocal", 0.5)])
def test_accuracy(level: str, op: str, ulps: float) -> None:
    x = np.concatenate([np.linspace(-30, 30, 200_001), np.logspace(-20, 1, 5_000), -np.logspace(-20, 1, 5_000)]).astype(np.float32)
    x = np.abs(x[x != 0]) if op in ("Log", "Sqrt") else x[x != 0]
    attrs, function = UNARY[op]
    expected = function(x.astype(np.float64))
    site = site_of(op, [x], expected, attrs, level=level)
    found = run(site, lowerings(site)[0], [x], level)
    error = np.abs(found - expected) / np.spacing(np.abs(expected).astype(np.float32))
    assert error.max() <= ulps


@every_level
@pytest.mark.parametrize("approximate", ["none", "tanh"])
def test_gelu(level: str, approximate: str) -> None:
    """Of small results, which stand for large negative x, the error is in proportion to x."""
    x = np.concatenate([np.linspace(-14, 14, 100_001), np.logspace(-20, 1, 5_000), SPECIAL]).astype(np.float32)
    wide = x.astype(np.float64)
    with np.errstate(all="ignore"):
        expected = gelu(wide) if approximate == "none" else wide * sigmoid(np.sqrt(8 / np.pi) * (wide + 0.044715 * wide**3))
    (found, *_) = (run(site, lowerings(site)[0], [x], level) for site in [site_of("Gelu", [x], expected, {"approximate": approximate}, level=level)])
    np.testing.assert_array_equal(np.isnan(found), np.isnan(expected))
    finite = np.isfinite(expected) & np.isfinite(wide)
    np.testing.assert_array_equal(found[~finite], expected[~finite].astype(np.float32))
    assert np.max(np.abs(found[finite] - expected[finite]) / np.maximum(np.abs(expected[finite]), np.abs(wide[finite]) * 0.01 + 1e-37)) < 8e-7


@every_level
@pytest.mark.parametrize("exponent", [-8, -2, -1, -0.5, 0, 0.5, 1, 1.5, 2, 2.5, 3, 4, 8])
def test_constant_powers(level: str, exponent: float) -> None:
    ends = np.array([0, -0.0, np.inf, -np.inf, np.nan, 1], np.float32)
    x = np.concatenate([floats(77) * 3, ends])
    with np.errstate(all="ignore"):
        expected = np.power(x.astype(np.float64), np.full(x.shape, exponent))
        check("Pow", [x, np.array(exponent, np.float32)], expected, level=level, rtol=1e-6, atol=0, least=2, constants=(1,))


@every_level
def test_other_powers_have_no_kernel(level: str) -> None:
    x = floats(3)
    for exponent, constants in ((0.3, (1,)), (9.0, (1,)), (2.0, ()), (np.nan, (1,)), (np.inf, (1,))):
        assert not lowerings(site_of("Pow", [x, np.array(exponent, np.float32)], x, level=level, constants=constants))
    assert not lowerings(site_of("Pow", [x, np.full((2, 3), 2, np.float32)], np.ones((2, 3)), level=level, constants=(1,)))


@every_level
def test_clip(level: str) -> None:
    x = np.concatenate([floats(50) * 10, SPECIAL])
    for low, high in ((None, None), (-1.0, None), (None, 6.0), (0.0, 6.0), (3.0, -3.0)):
        bounds = [None if bound is None else np.array(bound, np.float32) for bound in (low, high)]
        expected = x if low is None else np.maximum(x, np.float32(low))
        expected = expected if high is None else np.minimum(expected, np.float32(high))
        check("Clip", [x, *bounds], expected, level=level, rtol=0, atol=0, constants=(1, 2), least=2)


BINARY: dict[str, Callable[..., np.ndarray]] = {
    "Add": np.add, "Sub": np.subtract, "Mul": np.multiply, "Div": np.divide, "Max": np.maximum, "Min": np.minimum, "Sum": np.add,
    "Mean": lambda a, b: (a + b) / 2, "PRelu": lambda a, b: np.where(a < 0, a * b, a)}
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
@pytest.mark.parametrize("op", ["Max", "Min", "Sum", "Mean"])
def test_many_operands(level: str, op: str) -> None:
    arrays = [floats(*shape) for shape in ((3, 1, 1), (2, 3, 5, 7), (7,), (), (2, 1, 5, 1))]
    function = {"Max": np.max, "Min": np.min, "Sum": np.sum, "Mean": np.mean}[op]
    expected = np.asarray(function(np.stack(np.broadcast_arrays(*arrays)).astype(np.float64), axis=0))
    rounding = len(arrays) * 2.0 ** -24 * sum(float(np.abs(array).max()) for array in arrays)  # of sums of five, where they cancel
    for low, high in ((-np.inf, np.inf), (0.0, 0.5)):
        check(op, arrays, np.clip(expected, low, high), level=level, rtol=1e-6, atol=rounding, least=2, low=low, high=high, constants=(2,))


@every_level
@pytest.mark.parametrize("op", ["Max", "Min"])
def test_extremes_of_what_is_no_number(level: str, op: str) -> None:
    x, y = (np.array(pair, np.float32) for pair in zip(*[(a, b) for a in (np.nan, np.inf, -np.inf, 1) for b in (np.nan, np.inf, -np.inf, 2)]))
    check(op, [x, y], BINARY[op](x, y), level=level, rtol=0, atol=0)


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
