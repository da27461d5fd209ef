"""Sums that begin as the last bits of floats: one multiply-add of such a float is the code that the sum stands for."""

from __future__ import annotations

import numpy as np
import pytest
from thinfer.kernels.integer.begun import AS_THEY_ARE, BASE, BASED, FOLDED, STEP, SUM_BITS, TOGETHER, TOLERANCE, begun


def moved_codes(starts: np.ndarray, bias: np.ndarray, kinds: np.ndarray, sums: np.ndarray, m: np.ndarray) -> np.ndarray:
    """float64[sums, outputs]: what the kernel computes, but for the rounding of its multiply-add."""
    whole, kind = (sums[:, None] + starts.ravel()).astype(np.int32), np.repeat(kinds, TOGETHER)
    value = np.where(kind == AS_THEY_ARE, whole * STEP, whole.view(np.float32).astype(np.float64))
    return (value - np.where(kind == BASED, BASE, 0.0)) * m.astype(np.float64) + bias.ravel().astype(np.float64)


def sixteens(values: np.ndarray) -> np.ndarray:
    return np.concatenate([values, np.zeros(-len(values) % TOGETHER, values.dtype)])


@pytest.mark.parametrize(("least", "most", "largest", "kind"),
                         [(1e-5, 0.007, 1 << 17, FOLDED), (0.01, 0.05, 1 << 13, FOLDED), (1e-4, 0.3, 1 << 22, AS_THEY_ARE)])
def test_moved_codes(least: float, most: float, largest: int, kind: int) -> None:
    """The second sixteen have one factor of few bits, which no k moves, so that these, and only these, are not folded."""
    rng = np.random.default_rng(5)
    m, bias = rng.uniform(least, most, 90).astype(np.float32), rng.normal(384, 60, 90) * STEP
    m[:2], starts = 0, rng.integers(-5000, 5000, 90).astype(np.int32)
    m[20], bias[20] = 2.0 ** -7, (383.9 + 2.0 ** -9) * STEP
    found, biases, kinds = begun(starts, largest, m, bias, sixteens)
    assert kinds.tolist() == [kind if kind == AS_THEY_ARE or i != 1 else BASED for i in range(6)]
    assert (found.shape, found.dtype, biases.dtype) == ((6, TOGETHER), np.int32, np.float32)
    sums = np.array([0, 1, -1, 977, -1000, largest - 5000, 5000 - largest])
    exact = (sums[:, None] + starts) * STEP * m.astype(np.float64) + bias
    np.testing.assert_allclose(moved_codes(found, biases, kinds, sums, sixteens(m))[:, :90], exact, rtol=0, atol=TOLERANCE)


def test_what_is_no_codes_begins_with_its_start() -> None:
    starts = np.array([3, -4], np.int32)
    found, biases, kinds = begun(starts, 1 << 23, np.ones(2, np.float32), np.array([1.25, 1.5]), sixteens)
    assert kinds.tolist() == [AS_THEY_ARE]
    assert (found[0, :2] == starts).all()
    assert (biases[0, :2] == [1.25, 1.5]).all()
    assert np.array(BASE, np.float32).view(np.int32) == SUM_BITS
    assert np.array(SUM_BITS + 1, np.int32).view(np.float32) == BASE + STEP
