"""Products that look inputs up in windows: every window, kind of value and ISA level, against float64 NumPy."""

from __future__ import annotations

import numpy as np
import pytest
from native_harness import check, every_level, pytestmark, run, site_of
from thinfer.formats.tensor import Binary, Blocks, Codebook, EncodedTensor, Plain, Sparse, Structure, Ternary, Values, View, Windowed
from thinfer.kernels.lowering import lowerings
from thinfer.kernels.sparse.windows import AHEAD, PANEL, RUN, encoding_of, pack_windows

__all__ = ["pytestmark"]

KINDS = ("fp32", "fp16", "binary", "ternary", *(f"codebook{bits}" for bits in range(1, 9)), "codebook3 in groups", "codebook4 scaled",
         "codebook4 short", "codebook5 short")
SHAPES = [(1, 64), (15, 65), (16, 95), (17, 96), (63, 127), (64, 128), (65, 129), (129, 200)]
"""Outputs and columns: around a panel, four panels, and windows."""


def values_of(rng: np.random.Generator, kind: str, held: int, channels: int) -> Values:
    scale = rng.uniform(0.5, 1.5, channels).astype(np.float32)
    if kind in ("fp32", "fp16"):
        return Plain(rng.standard_normal(held).astype(np.float32 if kind == "fp32" else np.float16))
    if kind == "binary":
        return Binary(rng.integers(0, 2, held).astype(np.uint8), scale)
    if kind == "ternary":
        return Ternary(rng.integers(0, 3, held).astype(np.uint8), scale)
    bits, groups = int(kind[8]), min(3, channels) if "groups" in kind else 1
    indices = rng.integers(0, 2 ** bits, held).astype(np.uint8)
    indices[-1] = 2 ** bits - 1
    entries = rng.standard_normal((groups, 2 ** bits)).astype(np.float32)
    if "short" in kind:
        entries = (entries.view(np.uint32) & np.uint32(0xffff0000)).view(np.float32)
    return Codebook(indices, bits, entries, scale if "scaled" in kind else None)


def windowed(rng: np.random.Generator, view: View, n: int, m: int) -> Windowed:
    """Random places; the first and last ones of a window are among them in some rows."""
    kept = np.zeros((view.channels, view.inputs), bool)
    for start in range(0, view.inputs, m):
        length = min(m, view.inputs - start)
        order = rng.random((view.channels, length)).argsort(1)
        order[0] = np.arange(length)
        order[-1] = np.arange(length)[::-1]
        np.put_along_axis(kept[:, start:], order[:, :n], True, axis=1)
    return Windowed.of(kept if view.axis == 0 else np.ascontiguousarray(kept.T), n, m, view.axis)


def weight(rng: np.random.Generator, shape: tuple[int, int], structure: str, kind: str, axis: int = 0) -> EncodedTensor:
    """``structure``: n:m, r x c (blocks of which a third is kept), or the fraction that is kept (then some rows are empty and some full)."""
    view = View(shape, axis)
    made: Structure
    if "x" in structure:
        r, c = map(int, structure.split("x"))
        blocks = rng.random((-(-view.channels // r), -(-view.inputs // c))) < 0.3
        blocks[-1, -1] = True
        made = Blocks.of(blocks, (r, c))
    elif ":" in structure:
        n, m = map(int, structure.split(":"))
        made = windowed(rng, view, n, m)
    else:
        kept = rng.random((view.channels, view.inputs)) < float(structure)
        kept[0] = True
        kept[1::7] = False
        made = Sparse.of(kept if axis == 0 else kept.T)
    return EncodedTensor(shape, "float32", values_of(rng, kind, made.held(view), view.channels), made, axis)


def compare(x: np.ndarray, w: EncodedTensor, level: str) -> None:
    dense = w.decode().astype(np.float64)
    if w.axis == 0:
        options = check("Gemm", [x, w.decode()], x.astype(np.float64) @ dense.T, {"transB": 1}, level=level, rtol=1e-5, atol=1e-4, weights={1: w})
    else:
        options = check("MatMul", [x, w.decode()], x.astype(np.float64) @ dense, level=level, rtol=1e-5, atol=1e-4, weights={1: w})
    assert any(option.kernel.startswith("sparse_window_") for option in options)


@every_level
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("structure", ["3:16", "7:32", "5:64", "0.1", "4x1"])
def test_kinds_of_values(level: str, kind: str, structure: str) -> None:
    rng = np.random.default_rng(1)
    for outputs, columns in ((17, 96), (65, 129)):
        compare(rng.standard_normal((2, columns)).astype(np.float32), weight(rng, (outputs, columns), structure, kind), level)
    compare(rng.standard_normal((1, 100)).astype(np.float32), weight(rng, (100, 70), structure, kind, axis=1), level)


@every_level
@pytest.mark.parametrize("structure", ["6:32", "1:32", "31:32", "16:16", "1:64", "0.03", "0.5", "4x4", "1x4"])
def test_odd_shapes(level: str, structure: str) -> None:
    rng = np.random.default_rng(6)
    for outputs, columns in SHAPES:
        for kind in ("fp32", "codebook4", "codebook4 short"):
            compare(rng.standard_normal((1, columns)).astype(np.float32), weight(rng, (outputs, columns), structure, kind), level)


@every_level
@pytest.mark.parametrize("structure", ["2:16", "3:32", "5:64", "0.1"])
def test_fewest_columns(level: str, structure: str) -> None:
    columns = int(structure.partition(":")[2]) if ":" in structure else RUN
    rng = np.random.default_rng(2)
    for outputs in (1, 33):
        compare(rng.standard_normal((1, columns)).astype(np.float32), weight(rng, (outputs, columns), structure, "fp32"), level)
    narrow = weight(rng, (5, columns - 1), structure, "fp32")
    site = site_of("Gemm", [np.zeros((1, columns - 1), np.float32), narrow.decode()], np.zeros((1, 5), np.float32), {"transB": 1}, {1: narrow}, level)
    assert not any("window" in option.kernel for option in lowerings(site))


@every_level
@pytest.mark.parametrize("kind", ["fp32", "fp16", "codebook4", "codebook4 short", "codebook7", "binary"])
@pytest.mark.parametrize("structure", ["3:32", "2:16", "5:64", "0.1"])
def test_absent_weights_take_nothing_from_what_is_not_finite(level: str, kind: str, structure: str) -> None:
    rng = np.random.default_rng(3)
    w = weight(rng, (70, 150), structure, kind)
    kept, dense = w.kept().reshape(70, 150), w.decode().astype(np.float64)
    for column, value in ((0, np.inf), (37, np.nan), (149, -np.inf), (64, np.inf)):
        x = rng.standard_normal((1, 150)).astype(np.float32)
        x[:, column] = value
        with np.errstate(invalid="ignore"):
            expected = np.where(kept, x.astype(np.float64) * dense, 0).sum(1)[None]
        options = check("Gemm", [x, w.decode()], expected, {"transB": 1}, level=level, rtol=1e-5, atol=1e-4, weights={1: w})
        assert any(option.kernel.startswith("sparse_window_") for option in options)


def test_bytes_are_those_of_places_and_values() -> None:
    """Six places of 5 bits in a word; with 4 bits of a codebook beside them, three."""
    rng = np.random.default_rng(4)
    for kind, bits in (("fp32", 32 + 32 / 6), ("fp16", 16 + 32 / 6), ("codebook4", 32 / 3), ("binary", 32 / 5), ("codebook6", 16.0)):
        w = weight(rng, (512, 1024), "6:32", kind)
        encoding = encoding_of(w, "rows")
        assert encoding is not None
        assert pack_windows(w, encoding, "rows").nbytes < 1.01 * w.held * bits / 8 + 8192


def test_elastic_windows_pad_less_than_fixed_ones() -> None:
    rng = np.random.default_rng(5)
    for density, most in ((0.2, 1.25), (0.1, 1.5), (0.05, 1.9)):
        w = EncodedTensor((512, 4096), "float32", values_of(rng, "fp32", 0, 512))
        structure = Sparse.of(rng.random((512, 4096)) < density)
        w = EncodedTensor((512, 4096), "float32", Plain(np.ones(structure.held(w.view), np.float32)), structure)
        encoding = encoding_of(w, "rows")
        assert encoding is not None
        slots = pack_windows(w, encoding, "rows").nbytes / (PANEL * (4 + 4 / 6) + 6)
        assert w.held / PANEL < slots < most * w.held / PANEL
    assert AHEAD > 1


@every_level
@pytest.mark.parametrize("kind", ["fp32", "fp16", "binary", "ternary", "codebook4 scaled", "codebook3 in groups"])
def test_windows_over_the_taps_of_convolutions(level: str, kind: str) -> None:
    """Each weight times vectors of positions; what is absent sees no Inf."""
    rng = np.random.default_rng(0)
    for shape, pads in (((17, 8, 3, 3), (1, 1, 1, 1)), ((33, 5, 5, 5), (2, 2, 2, 2)), ((7, 70, 1, 1), (0, 0, 0, 0))):
        matrix = weight(rng, (shape[0], int(np.prod(shape[1:]))), "3:32", kind)
        w = EncodedTensor(shape, "float32", matrix.values, matrix.structure)
        x = rng.standard_normal((2, shape[1], 9, 7)).astype(np.float32)
        padded = np.pad(x, ((0, 0), (0, 0), pads[:2], pads[:2])).astype(np.float64)
        padded[0, 1, 4, 3], x[0, 1, 4 - pads[0], 3 - pads[1]] = np.inf, np.inf
        expected = np.zeros((2, shape[0], 9, 7))
        for (o, c, ky, kx), value in np.ndenumerate(w.decode().astype(np.float64)):
            if w.kept().reshape(shape)[o, c, ky, kx]:
                with np.errstate(invalid="ignore"):
                    expected[:, o] += value * padded[:, c, ky:ky + 9, kx:kx + 7]
        site = site_of("Conv", [x, w.decode()], expected, {"pads": pads}, {1: w}, level)
        found = [option for option in lowerings(site) if option.kernel.startswith("sparse_spmm")]
        assert len(found) == 3
        for option in found:
            one, three = (run(site, option, [x, w.decode()], level, threads=threads) for threads in (1, 3))
            np.testing.assert_allclose(one, expected, rtol=1e-4, atol=1e-4)
            np.testing.assert_array_equal(one, three)
