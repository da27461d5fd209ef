"""The family pool: every kernel at every ISA level, on odd shapes, against a window-by-window float64 reference."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
from native_harness import check, every_level, pytestmark  # noqa: F401

RNG = np.random.default_rng(2)


def floats(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


def pooled(x: np.ndarray, op: str, kernel: tuple[int, ...], out: tuple[int, ...], strides: tuple[int, ...], dilations: tuple[int, ...],
           pads: tuple[int, ...], with_pads: bool = False) -> np.ndarray:
    """One window at a time, as the operator's text says."""
    rank = len(kernel)
    planes = np.moveaxis(x, (0, 1), (-2, -1))
    result = []
    for place in product(*map(range, out)):
        taken, counted = [], 0
        for tap in product(*map(range, kernel)):
            at = [o * s - b + t * d for o, s, b, t, d in zip(place, strides, pads, tap, dilations)]
            if all(0 <= a < n for a, n in zip(at, x.shape[2:])):
                taken.append(planes[tuple(at)].astype(np.float64))
            counted += all(-b <= a < n + e for a, b, n, e in zip(at, pads, x.shape[2:], pads[rank:]))
        values = np.array(taken)
        result.append(values.max(0) if op == "MaxPool" else values.sum(0) / (counted if with_pads else len(taken)))
    return np.moveaxis(np.array(result).reshape(*out, *x.shape[:2]), (-2, -1), (0, 1))


WINDOWS: list[dict[str, Any]] = [
    {"kernel": (2, 2), "strides": (2, 2)},
    {"kernel": (3, 3), "strides": (2, 2), "pads": (1, 1, 1, 1)},
    {"kernel": (3, 2), "strides": (1, 3), "pads": (1, 0, 2, 1)},
    {"kernel": (2, 3), "dilations": (2, 3), "pads": (1, 2, 0, 2)},
    {"kernel": (5, 5), "pads": (2, 2, 2, 2)},
    {"kernel": (3, 3), "strides": (2, 2), "ceil": True},
    {"kernel": (3, 3), "strides": (3, 2), "ceil": True, "pads": (1, 1, 1, 1)},
    {"kernel": (1, 1)},
    {"kernel": (3,), "strides": (2,), "pads": (1, 1)},
]


@every_level
@pytest.mark.parametrize("op", ["MaxPool", "AveragePool"])
@pytest.mark.parametrize("case", WINDOWS, ids=str)
@pytest.mark.parametrize("channels", [1, 3, 16, 70])
def test_windows(level: str, op: str, case: dict[str, Any], channels: int) -> None:
    kernel = case["kernel"]
    rank = len(kernel)
    strides, dilations = case.get("strides", (1,) * rank), case.get("dilations", (1,) * rank)
    pads = case.get("pads", (0,) * 2 * rank)
    x = floats(2, channels, *((8, 11) if rank == 2 else (19,)))
    out = []
    for n, k, s, d, b, e in zip(x.shape[2:], kernel, strides, dilations, pads, pads[rank:]):
        room = n + b + e - (k - 1) * d - 1
        count = -(-room // s) + 1 if case.get("ceil") else room // s + 1
        out.append(count - 1 if (count - 1) * s >= n + b else count)
    attrs = {"kernel_shape": kernel, "strides": strides, "dilations": dilations, "pads": pads, "ceil_mode": int(case.get("ceil", False))}
    for with_pads in (False, True) if op == "AveragePool" else (False,):
        expected = pooled(x, op, kernel, tuple(out), strides, dilations, pads, with_pads)
        more = {"count_include_pad": int(with_pads)} if op == "AveragePool" else {}
        check(op, [x], expected, {**attrs, **more}, level=level, rtol=1e-5, atol=1e-6, least=2)


@every_level
def test_auto_pad(level: str) -> None:
    x = floats(1, 5, 7, 8)
    for mode, pads in (("SAME_UPPER", (1, 0, 1, 1)), ("SAME_LOWER", (1, 1, 1, 0)), ("VALID", (0, 0, 0, 0))):
        out = (3, 3) if mode == "VALID" else (4, 4)
        expected = pooled(x, "MaxPool", (3, 3), out, (2, 2), (1, 1), pads)
        check("MaxPool", [x], expected, {"kernel_shape": (3, 3), "strides": (2, 2), "auto_pad": mode}, level=level, rtol=0, atol=0)


@every_level
def test_nan_and_infinity_in_windows(level: str) -> None:
    x = floats(1, 17, 6, 6)
    x[0, 3, 2, 2], x[0, 4, 1, 1], x[0, 5] = np.nan, np.inf, -np.inf
    attrs = {"kernel_shape": (3, 3), "pads": (1, 1, 1, 1)}
    for op in ("MaxPool", "AveragePool"):
        expected = pooled(x, op, (3, 3), (6, 6), (1, 1), (1, 1), (1, 1, 1, 1))
        check(op, [x], expected, attrs, level=level, rtol=1e-5, atol=1e-6)


@every_level
@pytest.mark.parametrize("shape", [(1, 3, 7, 7), (2, 70, 5, 3), (1, 64, 1, 1), (3, 1280, 7, 7), (1, 17, 200), (2, 5, 2, 3, 4)], ids=str)
def test_global_average_pool(level: str, shape: tuple[int, ...]) -> None:
    x = floats(*shape) + np.float32(1)
    expected = x.astype(np.float64).mean(tuple(range(2, len(shape))), keepdims=True)
    check("GlobalAveragePool", [x], expected, level=level, rtol=1e-5, atol=1e-6, least=2)


@every_level
@pytest.mark.parametrize("shape", [(1, 3, 7, 7), (2, 70, 5, 3), (1, 17, 200)], ids=str)
def test_global_max_pool(level: str, shape: tuple[int, ...]) -> None:
    x = floats(*shape)
    check("GlobalMaxPool", [x], x.max(tuple(range(2, len(shape))), keepdims=True), level=level, rtol=0, atol=0, least=2)


REDUCTIONS: dict[str, Any] = {
    "ReduceMean": np.mean, "ReduceSum": np.sum, "ReduceMax": np.max, "ReduceMin": np.min,
    "ReduceL1": lambda x, axes, keepdims: np.sum(np.abs(x), axes, keepdims=keepdims),
    "ReduceL2": lambda x, axes, keepdims: np.sqrt(np.sum(x * x, axes, keepdims=keepdims)),
    "ReduceSumSquare": lambda x, axes, keepdims: np.sum(x * x, axes, keepdims=keepdims),
}


@every_level
@pytest.mark.parametrize("op", REDUCTIONS)
@pytest.mark.parametrize("axes", [(2, 3), (-1, -2), (1,), (0,), (3,), (1, 2, 3), (0, 1), (0, 1, 2, 3), (1, 3), None], ids=str)
@pytest.mark.parametrize("keepdims", [0, 1])
def test_reductions(level: str, op: str, axes: tuple[int, ...] | None, keepdims: int) -> None:
    for shape in ((2, 35, 5, 3), (1, 3, 1, 300)):
        x = floats(*shape) + np.float32(1)
        expected = np.asarray(REDUCTIONS[op](x.astype(np.float64), axes, keepdims=bool(keepdims)))
        args = [x, None if axes is None else np.array(axes, np.int64)]
        check(op, args, expected, {"keepdims": keepdims}, level=level, rtol=1e-5, atol=1e-5, constants=(1,), least=1)


@every_level
@pytest.mark.parametrize("op", ["ReduceMax", "ReduceMin"])
def test_extremes_of_what_is_no_number(level: str, op: str) -> None:
    for place in range(0, 70, 3):
        for value in (np.nan, np.inf, -np.inf):
            x = floats(2, 70)
            x[1, place] = value
            for array, axis in ((x, 1), (np.ascontiguousarray(x.T), 0)):
                check(op, [array, np.array([axis])], REDUCTIONS[op](array, axis, keepdims=True), level=level, rtol=0, atol=0, constants=(1,))


@every_level
def test_means_of_many_floats_stay_exact(level: str) -> None:
    x = np.full((1, 2, 1, 100_000), 0.1, np.float32)
    for layout_free in ((2, 3),):
        check("ReduceMean", [x, np.array(layout_free)], x.astype(np.float64).mean(layout_free, keepdims=True), {"keepdims": 1}, level=level,
              rtol=2e-5, atol=0, constants=(1,), least=2)
