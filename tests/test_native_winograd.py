"""The winograd family: shapes, padding and values that are not finite, at every ISA level, against convolutions in float64."""

from __future__ import annotations

import numpy as np
import pytest
from graphs import encode
from native_harness import Recorder, every_level, pytestmark, run, site_of  # noqa: F401
from test_native_gemm import normal
from thinfer.formats.tensor import EncodedTensor
from thinfer.kernels.lowering import Lowering, lowerings
from thinfer.kernels.winograd.lowering import POINTS, Tiles, filter_transform

ERROR = 2e-5
"""Largest difference to float64, over the standard deviation of the outputs (README.md has what is typical)."""


def convolution(x: np.ndarray, w: np.ndarray, bias: np.ndarray | None, pads: tuple[int, ...], dtype: type = np.float64) -> np.ndarray:
    """3 × 3, stride 1, tap by tap; a tap outside of the image is left out."""
    batch, _, height, width = x.shape
    out = np.zeros((batch, len(w), height + pads[0] + pads[2] - 2, width + pads[1] + pads[3] - 2), dtype)
    for oy in range(out.shape[2]):
        for ox in range(out.shape[3]):
            for ky in range(3):
                for kx in range(3):
                    y, col = oy - pads[0] + ky, ox - pads[1] + kx
                    if 0 <= y < height and 0 <= col < width:
                        out[:, :, oy, ox] += x[:, :, y, col].astype(dtype) @ w[:, :, ky, kx].T.astype(dtype)
    return out if bias is None else out + bias[:, None, None]


def options(x: np.ndarray, w: np.ndarray, bias: np.ndarray | None, out: np.ndarray, pads: tuple[int, ...], level: str,
            ) -> list[tuple[Lowering, np.ndarray, np.ndarray]]:
    """(lowering, its output with one thread and clamped at 0, the same with three threads)"""
    arrays = [x, w] if bias is None else [x, w, bias]
    site = site_of("Conv", arrays, out, {"pads": pads}, {1: EncodedTensor.dense(w)}, level, (2,) if bias is not None else ())
    return [(option, *(run(site, option, arrays, level, low=0.0, threads=threads) for threads in (1, 3)))
            for option in lowerings(site) if option.kernel.startswith("winograd")]


def check(shape: tuple[int, ...], outputs: int, level: str, pads: tuple[int, ...] = (1, 1, 1, 1), bias: bool = True) -> None:
    x, w = np.maximum(normal(*shape), 0), normal(outputs, shape[1], 3, 3)
    b = normal(outputs) if bias else None
    exact = convolution(x, w, b, pads)
    found = options(x, w, b, exact, pads, level)
    assert [option.kernel for option, *_ in found] == ["winograd2", "winograd4"]
    scale = np.sqrt(9 * shape[1] / 2)  # what the outputs' standard deviation is on average
    for option, one, three in found:
        np.testing.assert_allclose(one, np.maximum(exact, 0), rtol=0, atol=ERROR * scale, err_msg=option.kernel)
        np.testing.assert_array_equal(one, three, err_msg=option.kernel)


@every_level
@pytest.mark.parametrize("size", [*((n, n) for n in range(1, 10)), (1, 13), (13, 1), (3, 8), (11, 5), (17, 16)])
def test_sizes(level: str, size: tuple[int, int]) -> None:
    check((1, 16, *size), 16, level)


@every_level
@pytest.mark.parametrize("channels", [16, 17, 19, 24, 31, 33, 47, 64])
@pytest.mark.parametrize("outputs", [16, 17, 31, 35, 64, 79, 130])
def test_channels(level: str, channels: int, outputs: int) -> None:
    check((1, channels, 6, 7), outputs, level)


@every_level
@pytest.mark.parametrize("pads", [(0, 0, 0, 0), (2, 2, 2, 2), (0, 1, 2, 3), (5, 0, 0, 7), (1, 2, 0, 0)])
def test_padding(level: str, pads: tuple[int, ...]) -> None:
    check((2, 20, 7, 9), 18, level, pads, bias=False)


@every_level
def test_many_tiles(level: str) -> None:
    """More tiles than a work item has, of several images."""
    check((3, 64, 28, 30), 40, level)


@every_level
def test_error_is_what_the_readme_says(level: str) -> None:
    x, w = np.maximum(normal(1, 256, 12, 12), 0), normal(48, 256, 3, 3)
    exact = convolution(x, w, None, (1, 1, 1, 1))
    for (option, one, _), most in zip(options(x, w, None, exact, (1, 1, 1, 1), level), (5e-7, 1.3e-6)):
        error = np.sqrt(np.mean((one - np.maximum(exact, 0)) ** 2)) / exact.std()
        assert error < most, option.kernel


@every_level
def test_what_is_not_finite_stays_where_it_belongs(level: str) -> None:
    """Only the outputs that read an Inf, a NaN or a value whose transform overflows see it, as in a sum of products."""
    rng = np.random.default_rng(3)  # of its own: beside 1e38, a weight near 0 would be lost in the rounding of its neighbours
    x, w = (rng.standard_normal(shape).astype(np.float32) for shape in ((1, 16, 12, 12), (32, 16, 3, 3)))
    x = np.abs(x)
    x[0, 3, 1, 2], x[0, 5, 6, 7], x[0, 1, 10, 0] = np.inf, np.nan, 1e38
    with np.errstate(all="ignore"):
        exact = convolution(x, w, None, (1, 1, 1, 1), np.float32)
    site = site_of("Conv", [x, w], exact, {"pads": (1, 1, 1, 1)}, {1: EncodedTensor.dense(w)}, level)
    for option in (option for option in lowerings(site) if option.kernel.startswith("winograd")):
        np.testing.assert_allclose(run(site, option, [x, w], level), exact, rtol=1e-4, atol=1e-3, err_msg=option.kernel)


@pytest.mark.parametrize("edge", POINTS)
def test_transformed_weights_are_values_at_the_points(edge: int) -> None:
    """Each row of G is the filter's polynomial at a point, over the distances to the others; panels are filled up with zeros."""
    w = normal(18, 5, 3, 3)
    packed = Tiles(edge, 18, 5).pack(EncodedTensor.dense(w)).view(np.float32).reshape(2, edge + 2, edge + 2, 5, 16)
    p, q = POINTS[edge][1], POINTS[edge][2]
    at = sum(w[17, 4, i, j].astype(np.float64) * p ** i * q ** j for i in range(3) for j in range(3))
    over = np.prod([p - r for r in POINTS[edge] if r != p]) * np.prod([q - r for r in POINTS[edge] if r != q])
    assert packed[1, 1, 2, 4, 1] == pytest.approx(at / over, rel=1e-6)
    assert packed[1, -1, -1, 4, 1] == w[17, 4, 2, 2]
    assert not packed[1, ..., 2:].any()
    assert filter_transform(edge).shape == (edge + 2, 3)


ENCODED = ("fp16", *(f"codebook{bits}" for bits in range(1, 9)), "codebook4-groups", "binary", "ternary", "affine4-block",
           "affine8-channel-symmetric",
           "sparse fp32", "sparse codebook4", "4:16 codebook4", "1:32 fp16", "20:64 fp32", "1x4 fp16", "4x4 affine4-block")


def encoded_options(x: np.ndarray, w: EncodedTensor, out: np.ndarray, level: str) -> list[tuple[str, np.ndarray, np.ndarray]]:
    """(kernel, its output with one thread, with three)"""
    site = site_of("Conv", [x, w.decode()], out, {"pads": (1, 1, 1, 1)}, {1: w}, level)
    found = [option for option in lowerings(site) if option.kernel.startswith("winograd")]
    assert len(found) == 2
    return [(option.kernel, *(run(site, option, [x, w.decode()], level, threads=threads) for threads in (1, 3))) for option in found]


@every_level
@pytest.mark.parametrize("kind", ENCODED)
@pytest.mark.parametrize("shape", [(17, 16, 5, 9), (130, 70, 7, 4)])
def test_encoded_weights_are_transformed_where_they_are_used(level: str, kind: str, shape: tuple[int, int, int, int]) -> None:
    """Outputs and channels that fill neither panels nor passes."""
    outputs, channels, *size = shape
    x, w = normal(1, channels, *size), encode(normal(outputs, channels, 3, 3), kind)
    exact = convolution(x, w.decode(), None, (1, 1, 1, 1))
    for kernel, one, three in encoded_options(x, w, exact, level):
        np.testing.assert_allclose(one, exact, rtol=0, atol=ERROR * max(exact.std(), 1), err_msg=kernel)
        np.testing.assert_array_equal(one, three, err_msg=kernel)


@every_level
@pytest.mark.parametrize("kind", ["fp16", "codebook4", "codebook4-groups", "binary", "sparse fp32", "4:16 codebook4", "4x4 fp16"])
def test_absent_weights_see_nothing(level: str, kind: str) -> None:
    rng = np.random.default_rng(3)
    x, w = np.abs(rng.standard_normal((1, 70, 9, 10))).astype(np.float32), encode(rng.standard_normal((32, 70, 3, 3)).astype(np.float32), kind)
    x[0, 3, 1, 2], x[0, 5, 6, 7], x[0, 69, 8, 0] = np.inf, np.nan, -np.inf
    with np.errstate(all="ignore"):
        exact = held_only(x, w)
    for kernel, one, three in encoded_options(x, w, exact, level):
        np.testing.assert_allclose(one, exact, rtol=1e-4, atol=1e-3, err_msg=kernel)
        np.testing.assert_array_equal(one, three, err_msg=kernel)


def held_only(x: np.ndarray, w: EncodedTensor) -> np.ndarray:
    """The convolution by the weights that are held, one by one."""
    values, padded = w.decode().astype(np.float64), np.pad(x.astype(np.float64), ((0, 0), (0, 0), (1, 1), (1, 1)))
    out = np.zeros((1, len(values), *x.shape[2:]))
    for o, c, ky, kx in zip(*np.nonzero(w.kept().reshape(values.shape))):
        tap = padded[0, c, ky:ky + x.shape[2], kx:kx + x.shape[3]]
        inside = np.zeros(tap.shape, bool)  # padding is no input: nothing reads it
        inside[max(0, 1 - ky):x.shape[2] + 1 - ky, max(0, 1 - kx):x.shape[3] + 1 - kx] = True
        out[0, o] += np.where(inside, values[o, c, ky, kx] * tap, 0)
    return out


def test_encoded_weights_stay_encoded() -> None:
    """They take the memory that they take in products; transformed weights in memory are for those that are floats already."""
    x, w = normal(1, 64, 8, 8), encode(normal(64, 64, 3, 3), "codebook4")
    site = site_of("Conv", [x, w.decode()], x, {"pads": (1, 1, 1, 1)}, {1: w})
    nbytes = {}
    for option in lowerings(site):
        em = Recorder([x, w.decode()], site.weights, option)
        option.emit(em)
        nbytes[option.kernel] = em.packed_bytes
    assert nbytes["winograd4_codebook"] == nbytes["gemm_codebook"] < 0.52 * w.size
