"""The depthwise family: every encoding × ISA level × kernel, stride, dilation and padding against float64 NumPy."""

from __future__ import annotations

import ctypes
import mmap
import sys
from typing import Any

import numpy as np
import pytest
from native_harness import check, every_level, pytestmark, run, site_of  # noqa: F401
from test_native_gemm import ENCODINGS, encoded, normal
from thinfer.formats.tensor import EncodedTensor
from thinfer.kernels import ops
from thinfer.kernels.lowering import lowerings


def depthwise(x: np.ndarray, w: EncodedTensor, level: str, bias: bool = True, low: float = -np.inf, high: float = np.inf,
              **attrs: Any) -> None:
    op = ops.get("Conv")
    full = {**op.attributes, "group": x.shape[1], **attrs}
    arrays: list[np.ndarray | None] = [x, w.decode()]
    if bias:
        arrays.append(normal(x.shape[1]))
    wide = [None if a is None else a.astype(np.float64) for a in arrays]
    (expected,) = op.run(full, *wide)
    options = check("Conv", arrays, np.clip(expected, low, high), full, level=level, weights={1: w},
                    constants=(2,) if bias else (), atol=1e-5 * float(np.abs(w.decode()).max()), low=low, high=high, least=2)
    assert any(option.kernel.startswith("depthwise") for option in options)


@every_level
@pytest.mark.parametrize("kind", ENCODINGS)
def test_encodings(level: str, kind: str) -> None:
    depthwise(normal(1, 35, 9, 11), encoded((35, 1, 3, 3), kind, scaled=True), level, pads=(1, 1, 1, 1))


@every_level
@pytest.mark.parametrize("kernel", [(1, 1), (3, 3), (5, 5), (2, 4), (7, 1), (1, 9), (3, 5), (7, 7)])
@pytest.mark.parametrize("strides", [(1, 1), (2, 2), (2, 1), (1, 3)])
def test_kernels(level: str, kernel: tuple[int, int], strides: tuple[int, int]) -> None:
    pads = (kernel[0] // 2, kernel[1] // 2, kernel[0] // 2, kernel[1] // 2)
    depthwise(normal(2, 21, 10, 23), encoded((21, 1, *kernel), "fp32"), level, strides=strides, pads=pads)


@every_level
@pytest.mark.parametrize("width", [*range(1, 24), 33])
@pytest.mark.parametrize("stride", [1, 2])
def test_widths(level: str, width: int, stride: int) -> None:
    """Every split of a row into edges, wide and narrow tiles."""
    depthwise(normal(1, 16, 3, width), encoded((16, 1, 3, 3), "fp32"), level, strides=(stride, stride), pads=(1, 1, 1, 1))


@every_level
@pytest.mark.parametrize("size", [(1, 1), (2, 7), (3, 8), (4, 9), (7, 7), (8, 5), (9, 14), (14, 14), (15, 15), (16, 17), (17, 31)])
@pytest.mark.parametrize("kernel", [3, 5])
@pytest.mark.parametrize("stride", [1, 2])
def test_narrow_planes(level: str, size: tuple[int, int], kernel: int, stride: int) -> None:
    """Rows of an output that are narrower than a vector; sums of seven rows together and what is left of them; uneven padding."""
    for pads in ((kernel // 2,) * 4, (kernel // 2, kernel - 1, kernel - 1, kernel - 2)):
        depthwise(normal(1, 18, *size), encoded((18, 1, kernel, kernel), "fp32"), level, strides=(stride, stride), pads=pads, low=-0.5)


@every_level
@pytest.mark.parametrize("width", [*range(3, 20), 31, 32, 33, 47, 48, 49, 63, 64, 65, 67])
@pytest.mark.parametrize("stride", [1, 2])
def test_three_by_three(level: str, width: int, stride: int) -> None:
    """Every side of the image with a row of padding or none, or more than kernels for one row take; few rows and many strips of them."""
    for place, pads in enumerate([(0, 0, 0, 0), (1, 0, 0, 1), (0, 1, 1, 0), (0, 0, 1, 1), (1, 1, 0, 0), (2, 1, 1, 2), (1, 2, 2, 1)]):
        height = (3, 4, 5, 6, 9, 7, 97)[(place + width) % 7]
        channels = 3 + place % 2 * 15
        depthwise(normal(1, channels, height, width), encoded((channels, 1, 3, 3), "fp32"), level, strides=(stride, stride), pads=pads, low=-1.0)
    depthwise(normal(2, 2, 1, width), encoded((2, 1, 3, 3), "fp32"), level, bias=False, strides=(stride, stride), pads=(1, 1, 1, 1))


@every_level
@pytest.mark.skipif(sys.platform == "win32", reason="pages are protected by mprotect")
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("at_end", [False, True])
def test_nothing_beside_the_image_is_read(level: str, stride: int, at_end: bool) -> None:
    """The image lies at the beginning or end of a mapping, between pages that nobody may read."""
    page = mmap.PAGESIZE
    memory = mmap.mmap(-1, 16 * page)
    start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    libc = ctypes.CDLL(None)
    for edge in (start, start + 15 * page):
        assert libc.mprotect(ctypes.c_void_p(edge), page, 0) == 0
    for width in (7, 16, 17, 33, 39):
        shape = (1, 2, 5, width)
        size = 4 * int(np.prod(shape))
        x = np.frombuffer(memory, np.float32, size // 4, 15 * page - size if at_end else page).reshape(shape)
        x[...] = normal(*shape)
        w = encoded((2, 1, 3, 3), "fp32")
        full = {**ops.get("Conv").attributes, "group": 2, "pads": (1, 1, 1, 1), "strides": (stride, stride)}
        (expected,) = ops.get("Conv").run(full, x.astype(np.float64), w.decode().astype(np.float64))
        site = site_of("Conv", [x, w.decode()], expected.astype(np.float32), full, {1: w}, level)
        (option,) = [option for option in lowerings(site) if option.kernel == "depthwise_planes_f32"]
        np.testing.assert_allclose(run(site, option, [x, None], level, given=x), expected, rtol=1e-5, atol=1e-5)


@every_level
@pytest.mark.parametrize("channels", [1, 2, 3, 4, 5, 8, 12, 15, 16, 17, 24, 32, 47, 96])
def test_channels(level: str, channels: int) -> None:
    depthwise(normal(1, channels, 6, 13), encoded((channels, 1, 3, 3), "codebook4"), level, pads=(1, 1, 1, 1), low=0.0, high=0.75)


@every_level
@pytest.mark.parametrize("dilations", [(1, 2), (2, 1), (3, 2)])
@pytest.mark.parametrize("pads", [(0, 0, 0, 0), (2, 3, 1, 0), (5, 6, 5, 6)])
def test_dilation_and_padding(level: str, dilations: tuple[int, int], pads: tuple[int, ...]) -> None:
    depthwise(normal(1, 19, 8, 12), encoded((19, 1, 3, 3), "fp32"), level, dilations=dilations, pads=pads)
    depthwise(normal(1, 19, 8, 12), encoded((19, 1, 3, 3), "fp16"), level, bias=False, dilations=dilations, pads=pads, strides=(2, 2))


@every_level
@pytest.mark.parametrize(("channels", "groups"), [(64, 4), (60, 7), (33, 33)])
def test_codebook_groups(level: str, channels: int, groups: int) -> None:
    depthwise(normal(1, channels, 5, 6), encoded((channels, 1, 3, 3), "codebook3", groups=groups), level, pads=(1, 1, 1, 1))


@every_level
def test_line(level: str) -> None:
    depthwise(normal(2, 18, 31), encoded((18, 1, 5), "fp32"), level, strides=(2,), pads=(2, 2))


@every_level
def test_padding_is_never_multiplied(level: str) -> None:
    """A weight of Inf outside the image adds nothing; Inf and NaN inside stay where they belong."""
    w = np.ones((16, 1, 3, 3), np.float32)
    w[:, :, 0, 0] = np.inf
    x = normal(1, 16, 4, 11)
    x[0, :, 2, 5] = np.nan
    op = ops.get("Conv")
    full = {**op.attributes, "group": 16, "pads": (1, 1, 0, 0)}
    expected = np.zeros((1, 16, 3, 10), np.float32)
    for oh in range(3):
        for ow in range(10):
            for kh in range(3):
                for kw in range(3):
                    ih, iw = oh - 1 + kh, ow - 1 + kw
                    if ih >= 0 and iw >= 0:
                        expected[0, :, oh, ow] += x[0, :, ih, iw] * w[:, 0, kh, kw]
    tensor = EncodedTensor.dense(w)
    site = site_of("Conv", [x, w], expected, full, {1: tensor}, level)
    (option,) = [option for option in lowerings(site) if option.kernel == "depthwise_f32"]
    np.testing.assert_allclose(run(site, option, [x, w], level), expected, rtol=1e-5, atol=1e-5)


@every_level
def test_multiplier_goes_through_groups(level: str) -> None:
    op = ops.get("Conv")
    full = {**op.attributes, "group": 5, "pads": (1, 1, 1, 1)}
    x, w = normal(1, 5, 7, 7), encoded((15, 1, 3, 3), "codebook4")
    (expected,) = op.run(full, x.astype(np.float64), w.decode().astype(np.float64))
    check("Conv", [x, w.decode()], expected, full, level=level, weights={1: w}, atol=1e-5)
