"""The family norm: every operator at every ISA level, on odd shapes, against float64 NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from native_harness import check, every_level, lowerings, pytestmark, site_of  # noqa: F401

RNG = np.random.default_rng(5)


def floats(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


def standardized(x: np.ndarray, axes: tuple[int, ...], epsilon: float, centred: bool = True) -> np.ndarray:
    wide = x.astype(np.float64)
    wide = wide - wide.mean(axes, keepdims=True) if centred else wide
    return wide / np.sqrt((wide**2).mean(axes, keepdims=True) + epsilon)


@every_level
@pytest.mark.parametrize("op", ["LayerNormalization", "RMSNormalization"])
@pytest.mark.parametrize(("shape", "axis", "parameters"), [
    ((2, 5, 384), -1, (384,)), ((3, 17), -1, (17,)), ((2, 3, 4, 5), 2, (4, 5)), ((2, 3, 4, 5), -2, (5,)), ((4, 7), 0, (4, 1)), ((33,), 0, ()),
    ((2, 5000), 1, (5000,)), ((6, 1), 1, (1,))], ids=str)
def test_over_the_last_axes(level: str, op: str, shape: tuple[int, ...], axis: int, parameters: tuple[int, ...]) -> None:
    x, scale, bias = floats(*shape) * 3 + np.float32(2), floats(*parameters), floats(*parameters)
    axes = tuple(range(axis % len(shape), len(shape)))
    for epsilon in (1e-5, 0.5):
        expected = standardized(x, axes, epsilon, op == "LayerNormalization") * scale
        attrs: dict[str, Any] = {"axis": axis, "epsilon": epsilon}
        check(op, [x, scale], expected, attrs, level=level, rtol=1e-5, atol=2e-6, constants=(1,))
        if op == "LayerNormalization":
            for low, high in ((-np.inf, np.inf), (0.0, 1.0)):
                check(op, [x, scale, bias], np.clip(expected + bias, low, high), attrs, level=level, rtol=1e-5, atol=2e-6, constants=(1, 2),
                      low=low, high=high)


@every_level
@pytest.mark.parametrize(("shape", "groups"), [((2, 6, 5, 3), 3), ((1, 5, 4, 4), 1), ((2, 4, 33), 2), ((1, 8, 2, 3, 5), 8), ((3, 64, 17, 17), 32),
                                               ((2, 6, 1), 2)], ids=str)
def test_over_channels(level: str, shape: tuple[int, ...], groups: int) -> None:
    x, scale, bias = floats(*shape) * 3 + np.float32(2), floats(shape[1]), floats(shape[1])
    along = (-1, *(1,) * (len(shape) - 2))
    grouped = x.reshape(shape[0], groups, -1)
    expected = standardized(grouped, (2,), 1e-5).reshape(shape) * scale.reshape(along) + bias.reshape(along)
    check("GroupNormalization", [x, scale, bias], expected, {"num_groups": groups}, level=level, rtol=1e-5, atol=3e-6, constants=(1, 2))
    each = standardized(x.reshape(*shape[:2], -1), (2,), 1e-5).reshape(shape) * scale.reshape(along) + bias.reshape(along)
    check("InstanceNormalization", [x, scale, bias], each, level=level, rtol=1e-5, atol=3e-6, constants=(1, 2))


@every_level
def test_a_large_mean_does_not_cancel_the_variance(level: str) -> None:
    x = (floats(3, 2000) + np.float32(1000)).astype(np.float32)
    expected = standardized(x, (1,), 1e-5)
    check("LayerNormalization", [x, np.ones(2000, np.float32)], expected, level=level, rtol=1e-4, atol=1e-4, constants=(1,))


@every_level
def test_what_is_no_number_stays_in_its_row(level: str) -> None:
    x = floats(3, 40)
    x[1, 39] = np.nan
    found = standardized(x, (1,), 1e-5)
    assert np.isnan(found[1]).all()
    check("LayerNormalization", [x, np.ones(40, np.float32)], found, level=level, constants=(1,))


@every_level
def test_parameters_that_vary(level: str) -> None:
    x, scale, bias = floats(2, 3, 4), floats(4), floats(4)
    check("LayerNormalization", [x, scale, bias], standardized(x, (2,), 1e-5) * scale + bias, level=level, rtol=1e-5, atol=2e-6)
    expected = standardized(x, (2,), 1e-5) * scale[:3, None] + bias[:3, None]
    check("InstanceNormalization", [x, scale[:3], bias[:3]], expected, level=level, rtol=1e-5, atol=2e-6)
    check("InstanceNormalization", [x, scale[:3], bias[:3]], expected, level=level, rtol=1e-5, atol=2e-6, constants=(2,))


def test_parameters_that_are_stretched_while_running_have_no_kernel() -> None:
    x = floats(2, 3, 4)
    for scale, constants in ((floats(1), ()), (floats(2, 1, 1), ()), (floats(2, 1, 1), (1,))):
        assert not lowerings(site_of("LayerNormalization", [x, scale], x, constants=constants))
