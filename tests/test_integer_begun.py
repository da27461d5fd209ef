"""Sums that begin as the last bits of floats: one multiply-add of such a float is the code that the sum stands for."""

from __future__ import annotations

import numpy as np
import pytest
from thinfer.kernels.integer.begun import AS_THEY_ARE, BASED, FOLDED, SUM_BITS, TOLERANCE, begun


def moved_codes(starts: np.ndarray, bias: np.ndarray, kind: int, sums: np.ndarray, m: np.ndarray) -> np.ndarray:
    """float64[sums, outputs]: what the kernel computes, but for the rounding of its multiply-add."""
    whole = (sums[:, None] + starts).astype(np.int32)
    value = whole.astype(np.float64) if kind == AS_THEY_ARE else whole.view(np.float32).astype(np.float64)
    return (value - (1.5 * 2.0 ** 23 if kind == BASED else 0.0)) * m.astype(np.float64) + bias.astype(np.float64)


@pytest.mark.parametrize(("least", "most", "largest", "kind"),
                         [(1e-5, 0.007, 1 << 17, FOLDED), (1e-4, 0.3, 1 << 22, AS_THEY_ARE), (0.01, 2.9, 1 << 13, BASED)])
def test_moved_codes(least: float, most: float, largest: int, kind: int) -> None:
    rng = np.random.default_rng(5)
    m, bias = rng.uniform(least, most, 96).astype(np.float32), rng.normal(384, 60, 96)
    m[:2], starts = 0, rng.integers(-5000, 5000, 96).astype(np.int32)
    found, biases, told = begun(starts, largest, m, bias)
    assert told == kind
    assert (found.dtype, biases.dtype) == (np.int32, np.float32)
    sums = np.array([0, 1, -1, 977, -1000, largest - 5000, 5000 - largest])
    exact = (sums[:, None] + starts).astype(np.float64) * m.astype(np.float64) + bias
    np.testing.assert_allclose(moved_codes(found, biases, told, sums, m), exact, rtol=0, atol=TOLERANCE)


def test_what_is_no_codes_begins_with_its_start() -> None:
    starts = np.array([3, -4], np.int32)
    found, biases, kind = begun(starts, 1 << 23, np.ones(2, np.float32), np.array([300.0, 301.0]))
    assert kind == AS_THEY_ARE
    assert (found == starts).all()
    assert (biases == [300, 301]).all()
    assert np.array(1.5 * 2.0 ** 23, np.float32).view(np.int32) == SUM_BITS
