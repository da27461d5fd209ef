"""The gemm family: every encoding × ISA level × awkward shapes against float64 NumPy on the decoded weights."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from native_harness import check, every_level, pytestmark, run, site_of  # noqa: F401
from thinfer.formats.tensor import Binary, Codebook, EncodedTensor, Plain, Sparse
from thinfer.kernels import ops
from thinfer.kernels.gemm.pack import pack, plan
from thinfer.kernels.gemm.planes import KEPT_BYTES
from thinfer.kernels.lowering import lowerings

RNG = np.random.default_rng(7)
ENCODINGS = ["fp32", "fp16", "binary", *(f"codebook{bits}" for bits in range(1, 9))]
GEMM = {"alpha": 1.0, "beta": 1.0, "transA": 0, "transB": 0}


def normal(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


def encoded(shape: tuple[int, ...], kind: str, axis: int = 0, groups: int = 1, scaled: bool = False,
            entries: str = "float32") -> EncodedTensor:
    size, channels = int(np.prod(shape)), shape[axis]
    if kind == "fp32":
        return EncodedTensor.dense(normal(*shape), axis=axis)
    if kind == "fp16":
        return EncodedTensor(shape, "float32", Plain(normal(size).astype(np.float16)), axis=axis)
    if kind == "binary":
        signs, scale = RNG.integers(0, 2, size).astype(np.uint8), RNG.uniform(0.5, 2, channels).astype(np.float32)
        return EncodedTensor(shape, "float32", Binary(signs, scale), axis=axis)
    bits = int(kind.removeprefix("codebook"))
    if entries in ("short", "mirrored"):
        short = (normal(groups, 2 ** bits).view(np.uint32) & np.uint32(0xffff0000)).view(np.float32)
        book = Codebook(RNG.integers(0, 2 ** bits, size).astype(np.uint8), bits, mirrored(short) if entries == "mirrored" else short)
        return EncodedTensor(shape, "float32", book, axis=axis)
    used = max(1, 2 ** bits - (bits > 2))  # not every index needs an entry
    table = RNG.integers(-100, 100, (groups, used)).astype(np.int8) if entries == "int8" else normal(groups, used).astype(entries)
    factors = RNG.uniform(0.5, 2, channels).astype(np.float32) if scaled else None
    return EncodedTensor(shape, "float32", Codebook(RNG.integers(0, used, size).astype(np.uint8), bits, table, factors), axis=axis)


def mirrored(entries: np.ndarray) -> np.ndarray:
    half = entries[:, :entries.shape[1] // 2]
    return np.concatenate([half, -half], axis=1)


def close(x: np.ndarray, w: np.ndarray) -> float:
    """A bound on the rounding of fp32 sums, from the sizes of what is summed."""
    return 4e-7 * float(np.abs(x).max() * np.abs(w).max()) * max(8.0, np.prod(w.shape) / w.shape[0])


def gemm(m: int, w: EncodedTensor, level: str, trans_b: int, bias: tuple[int, ...] | None = None, alpha: float = 1.0, beta: float = 1.0,
         low: float = -np.inf, high: float = np.inf) -> str:
    wide = w.decode().astype(np.float64)
    wide = wide.T if trans_b else wide
    arrays: list[np.ndarray | None] = [normal(m, wide.shape[0]), None]
    x = arrays[0]
    assert x is not None
    arrays[1] = w.decode()
    expected = alpha * (x.astype(np.float64) @ wide)
    if bias is not None:
        arrays.append(normal(*bias))
        expected = expected + beta * np.asarray(arrays[2], np.float64)
    expected = np.clip(expected, low, high)
    attrs = {**GEMM, "alpha": alpha, "beta": beta, "transB": trans_b}
    options = check("Gemm", arrays, expected, attrs, level=level, weights={1: w}, constants=(2,) if bias is not None else (),
                    atol=abs(alpha) * close(x, wide.T), low=low, high=high)
    return options[0].kernel


@every_level
@pytest.mark.parametrize("kind", ENCODINGS)
@pytest.mark.parametrize(("m", "k", "n"), [(1, 1, 1), (1, 67, 37), (1, 400, 130), (2, 31, 17), (9, 400, 50), (130, 33, 16)])
def test_encodings(level: str, kind: str, m: int, k: int, n: int) -> None:
    gemm(m, encoded((n, k), kind, scaled=True), level, 1, (n,))


@every_level
@pytest.mark.parametrize("kind", ["fp32", "fp16", "binary", "codebook2", "codebook4", "codebook5"])
@pytest.mark.parametrize("m", [1, 7])
def test_columns(level: str, kind: str, m: int) -> None:
    gemm(m, encoded((61, 35), kind, axis=1, scaled=True), level, 0)


@every_level
@pytest.mark.parametrize("kind", ["codebook1", "codebook2", "codebook3", "codebook4", "codebook6", "codebook8"])
@pytest.mark.parametrize("m", [1, 5])
@pytest.mark.parametrize(("n", "groups"), [(64, 2), (60, 7), (160, 5), (16, 1), (33, 33)])
def test_codebook_groups(level: str, kind: str, m: int, n: int, groups: int) -> None:
    gemm(m, encoded((n, 45), kind, groups=groups), level, 1)


@every_level
@pytest.mark.parametrize("entries", ["float16", "int8"])
def test_entries(level: str, entries: str) -> None:
    for m in (1, 3):
        gemm(m, encoded((20, 30), "codebook4", scaled=True, entries=entries), level, 1)


@every_level
@pytest.mark.parametrize("bias", [(), (1,), (21,), (1, 21), (1, 1)])
def test_bias_alpha_beta_clamp(level: str, bias: tuple[int, ...]) -> None:
    for m in (1, 4):
        gemm(m, encoded((21, 13), "fp32"), level, 1, bias, alpha=0.5, beta=-2.0, low=0.0, high=1.5)


@every_level
@pytest.mark.parametrize("m", [*range(2, 18), 127, 128, 129])
def test_rows(level: str, m: int) -> None:
    gemm(m, encoded((50, 20), "fp32"), level, 1)


@every_level
@pytest.mark.parametrize("n", [1, 15, 16, 17, 32, 47, 48, 49, 97])
def test_outputs(level: str, n: int) -> None:
    for m in (1, 11):
        gemm(m, encoded((n, 200), "codebook4"), level, 1, (n,))


@every_level
@pytest.mark.parametrize("kind", ["binary", "codebook1", "codebook2", "codebook3", "codebook4", "codebook5", "codebook6"])
@pytest.mark.parametrize("m", [2, 3, 4, 5, 7, 8, 9, 15])
def test_a_few_rows(level: str, kind: str, m: int) -> None:
    """With fewer weights, and 6 bits in several blocks of rows or of no vectors that permute floats, decoding first takes less time."""
    decoded = kind == "codebook6" and not (level.startswith("avx512") or (level == "avx2" and m <= 4))
    for n, k in ((65, 67), (1, 300), (16, 257)):
        assert gemm(m, encoded((n, k), kind), level, 1, (n,), low=-3.0, high=5.0) == ("gemm_codebook" if decoded else "few_codebook")
    for n, k in ((37, 67), (1, 1), (16, 5), (65, 31)):
        gemm(m, encoded((n, k), kind), level, 1, (n,), low=-3.0, high=5.0)
    gemm(m, encoded((60, 33), kind, groups=1 if kind == "binary" else 2), level, 1, alpha=0.5)


@every_level
@pytest.mark.parametrize(("kind", "n", "k"), [("fp32", 1030, 1025), ("fp32", 16 * 33, 2000), ("fp16", 1030, 2049)])
def test_matrices_larger_than_caches(level: str, kind: str, n: int, k: int) -> None:
    """Several panels at a time, and those that are left over."""
    assert gemm(1, encoded((n, k), kind), level, 1, (n,)) == f"gemv_{kind.replace('fp', 'f')}"


@every_level
@pytest.mark.parametrize("k", [1, 2, 3, 4, 5, 31, 260])
@pytest.mark.parametrize("groups", [1, 2, 3])
@pytest.mark.parametrize("bits", [6, 7, 8])
def test_columns_of_a_large_codebook(level: str, k: int, groups: int, bits: int) -> None:
    gemm(1, encoded((96, k), f"codebook{bits}", groups=groups), level, 1)


@every_level
@pytest.mark.parametrize("entries", ["short", "mirrored"])
@pytest.mark.parametrize("bits", [6, 7, 8])
def test_entries_of_two_bytes(level: str, bits: int, entries: str) -> None:
    for k in (1, 3, 5, 31, 64):
        for m in (1, 2):
            gemm(m, encoded((96, k), f"codebook{bits}", groups=2, entries=entries), level, 1)


@every_level
def test_few_weights_of_five_bits(level: str) -> None:
    """Enough for a table of pairs as a whole, but not for each of three threads; and too few."""
    for n, k in ((70, 105), (33, 67), (16, 255), (16, 256)):
        gemm(1, encoded((n, k), "codebook5"), level, 1)


@every_level
@pytest.mark.parametrize("entries", ["short", "mirrored"])
def test_infinite_entries_and_columns_that_are_not_there(level: str, entries: str) -> None:
    """An entry of Inf that only filled-up columns have, and one in the last column."""
    for k in (5, 6, 7, 8):
        book = encoded((21, k), "codebook8", entries=entries).values
        assert isinstance(book, Codebook)
        table = book.entries.copy()
        table[0, [0, 128]] = np.inf, -np.inf  # filled-up columns have index 0
        indices = np.maximum(book.indices % 128, 1)
        for last, finite in ((1, True), (128, False)):
            indices[-1] = last
            w = EncodedTensor((21, k), "float32", Codebook(indices.copy(), 8, table))
            x = normal(1, k)
            expected = x.astype(np.float64) @ w.decode().astype(np.float64).T
            assert np.isfinite(expected).all() == finite
            check("Gemm", [x, w.decode()], expected, {**GEMM, "transB": 1}, level=level, weights={1: w}, atol=close(x, table[:, 1:128]))


@every_level
@pytest.mark.parametrize("bits", range(1, 9))
@pytest.mark.parametrize(("m", "k", "n", "groups"), [(33, 1, 49, 1), (49, 385, 72, 1), (67, 200, 160, 5), (131, 3, 97, 1), (300, 193, 17, 1),
                                                     (49, 193, 130, 13)])
def test_weights_looked_up_ahead(level: str, bits: int, m: int, k: int, n: int, groups: int) -> None:
    """Several tiles and blocks of columns, work items that share weights, tables that change between panels and inside of them."""
    assert gemm(m, encoded((n, k), f"codebook{bits}", groups=groups, scaled=groups == 1), level, 1, (n,)) == "gemm_codebook"


@every_level
@pytest.mark.parametrize("bits", [1, 2])
def test_runs_longer_than_a_block(level: str, bits: int) -> None:
    w = encoded((129, 4500 // bits + 3), f"codebook{bits}")
    assert gemm(1, w, level, 1) == f"gemv_runs{bits}"


@every_level
@pytest.mark.parametrize("lead", [(), (1,), (4,), (2, 3, 2), (1, 1, 1)])
def test_mat_mul(level: str, lead: tuple[int, ...]) -> None:
    w = encoded((29, 18), "codebook3", axis=1)
    x = normal(*lead, 29)
    expected = x.astype(np.float64) @ w.decode().astype(np.float64)
    check("MatMul", [x, w.decode()], expected, level=level, weights={1: w}, atol=close(x, w.decode().T))


@every_level
@pytest.mark.parametrize(("a", "b"), [((5, 7), (7, 3)), ((1, 200), (200, 33)), ((2, 3, 4, 9), (2, 3, 9, 17)), ((3, 1, 13, 40), (2, 40, 50)),
                                      ((40,), (40, 6)), ((6, 40), (40,)), ((4, 5, 6), (6, 16)), ((2, 150, 8), (2, 8, 31))])
def test_mat_mul_of_activations(level: str, a: tuple[int, ...], b: tuple[int, ...]) -> None:
    x, y = normal(*a), normal(*b)
    expected = np.matmul(x.astype(np.float64), y.astype(np.float64))
    assert [option.kernel for option in check("MatMul", [x, y], expected, level=level, atol=close(x, y.T))] == ["gemm_rows"]


def conv(x: np.ndarray, w: EncodedTensor, level: str, bias: bool = True, **attrs: Any) -> list[str]:
    op = ops.get("Conv")
    full = {**op.attributes, **attrs}
    arrays: list[np.ndarray | None] = [x, w.decode()]
    if bias:
        arrays.append(normal(w.shape[0]))
    wide = [None if a is None else a.astype(np.float64) for a in arrays]
    (expected,) = op.run(full, *wide)
    options = check("Conv", arrays, expected, full, level=level, weights={1: w}, constants=(2,) if bias else (), atol=close(x, w.decode()))
    return [option.kernel for option in options]


@every_level
@pytest.mark.parametrize("case", [case for case in ops.get("Conv").cases if not case.bench], ids=lambda case: case.name)
def test_conv_cases(level: str, case: Any) -> None:
    for kind in ("fp32", "codebook4"):
        shape = case.args[1].shape
        conv(normal(*case.args[0].shape), encoded(shape, kind, scaled=True), level, len(case.args) > 2, **case.attrs)


@every_level
@pytest.mark.parametrize("kind", ENCODINGS)
def test_conv_encodings(level: str, kind: str) -> None:
    conv(normal(1, 24, 9, 7), encoded((35, 24, 3, 3), kind, scaled=True), level, pads=(1, 1, 1, 1))
    conv(normal(1, 24, 9, 7), encoded((35, 24, 1, 1), kind, scaled=True), level)
    conv(normal(1, 24, 1, 1), encoded((35, 24, 1, 1), kind, scaled=True), level)


@every_level
def test_conv_groups_of_codebooks(level: str) -> None:
    conv(normal(1, 12, 6, 5), encoded((64, 6, 3, 3), "codebook4", groups=4), level, group=2)
    conv(normal(1, 12, 6, 5), encoded((30, 6, 3, 3), "codebook4", groups=4), level, group=2)
    conv(normal(1, 12, 1, 1), encoded((30, 6, 1, 1), "codebook4", groups=4), level, group=2)


@every_level
@pytest.mark.parametrize("width", [1, 2, 3, 4, 5, 6, 7, 13, 14, 15, 27, 28, 29, 43])
@pytest.mark.parametrize(("stride", "outputs"), [(1, 5), (2, 16), (2, 33), (1, 48)])
def test_first_layers(level: str, width: int, stride: int, outputs: int) -> None:
    """Few channels, straight from NCHW: every split of a row into tiles, panels that are not full, several strips."""
    kernels = conv(normal(2, 3, 9, width), encoded((outputs, 3, 3, 3), "fp32"), level, strides=(stride, stride), pads=(1, 1, 1, 1))
    assert "conv_planes_f32" in kernels


@every_level
@pytest.mark.parametrize("kind", ["fp16", "codebook3", "codebook8"])
@pytest.mark.parametrize("attrs", [{"pads": (0, 2, 1, 0)}, {"dilations": (2, 3), "pads": (3, 0, 0, 5)}, {"strides": (3, 2)}])
def test_first_layers_otherwise(level: str, kind: str, attrs: dict[str, Any]) -> None:
    kernels = conv(normal(1, 2, 70, 18), encoded((20, 2, 5, 3), kind, scaled=True), level, **attrs)
    assert any(kernel.startswith("conv_planes") for kernel in kernels)


@every_level
@pytest.mark.parametrize("kind", ["fp16", "codebook4", "codebook8"])
def test_planes_of_weights_that_are_decoded_for_each_strip(level: str, kind: str) -> None:
    outputs = KEPT_BYTES // (4 * 40 * 9) + 1
    kernels = conv(normal(2, 40, 11, 15), encoded((outputs, 40, 3, 3), kind, scaled=True), level, pads=(1, 1, 1, 1), strides=(2, 2))
    assert any(kernel.startswith("conv_planes") for kernel in kernels)


@every_level
def test_infinities_meet_no_padding(level: str) -> None:
    """Inf and NaN stay in the sums that they belong to; the zeros that fill up panels and words touch nothing."""
    for kind in ("fp32", "codebook8", "codebook7", "codebook6", "codebook4", "codebook2", "codebook1", "binary"):
        w = encoded((37, 19), kind)
        for m in (1, 3):
            x = normal(m, 19)
            x[0, 3], x[m - 1, 18] = np.inf, np.nan
            expected = x @ w.decode().T
            check("Gemm", [x, w.decode()], expected, {**GEMM, "transB": 1}, level=level, weights={1: w}, atol=1e-4)


@every_level
def test_every_half(level: str) -> None:
    """All 65536 halves decode exactly: subnormals, infinities, NaN."""
    halves = np.arange(65536, dtype=np.uint16).view(np.float16)
    w = EncodedTensor((65536, 1), "float32", Plain(halves))
    for m in (1, 2):
        x = np.ones((m, 1), np.float32)
        site = site_of("Gemm", [x, w.decode()], np.empty((m, 65536)), {**GEMM, "transB": 1}, {1: w}, level)
        found = run(site, lowerings(site)[0], [x, w.decode()], level)
        np.testing.assert_array_equal(found[0], halves.astype(np.float32))


def test_not_for_panels() -> None:
    w = encoded((8, 8), "fp32")
    sparse = EncodedTensor((8, 8), "float32", Plain(normal(64)), Sparse.of(np.ones((8, 8), bool)))
    along_inputs = encoded((8, 8), "codebook2", axis=0, scaled=True)
    assert plan(w, 1, "rows") is not None
    assert plan(sparse, 1, "rows") is None
    assert plan(along_inputs, 1, "columns") is None


@pytest.mark.parametrize(("kind", "weight_bits"), [("fp32", 32), ("fp16", 16), ("codebook8", 8), ("codebook4", 4), ("codebook2", 2),
                                                   ("binary", 1)])
def test_packed_size(kind: str, weight_bits: int) -> None:
    """In RAM a weight takes its bits; tables, scales and filling up are small beside it."""
    w = encoded((256, 640), kind)
    layout = plan(w, 1, "rows")
    assert layout is not None
    assert pack(w, layout).nbytes <= w.size * weight_bits / 8 + 4 * 256 + 4 * 256


@every_level
@pytest.mark.parametrize("threads", [2, 3, 7])
def test_cut_for_threads(level: str, threads: int) -> None:
    """However a product is cut into work items, its bits are the same."""
    op = ops.get("Conv")
    for x_shape, w_shape, attrs in [((1, 40, 7, 7), (150, 40, 3, 3), {"pads": (1, 1, 1, 1)}), ((1, 20, 33, 31), (18, 20, 3, 3), {}),
                                    ((1, 96, 7, 7), (170, 96, 1, 1), {}), ((2, 64, 20, 20), (50, 32, 1, 1), {"group": 2}),
                                    ((1, 50, 14, 14), (50, 1, 3, 3), {"group": 50, "pads": (1, 1, 1, 1)})]:
        x, w = normal(*x_shape), encoded(w_shape, "codebook4")
        full = {**op.attributes, **attrs}
        (expected,) = op.run(full, x, w.decode())
        site = site_of("Conv", [x, w.decode()], expected, full, {1: w}, level)
        many = replace(site, threads=threads)
        for one, other in zip(lowerings(site), lowerings(many)):
            found = run(site, one, [x, w.decode()], level)
            np.testing.assert_allclose(found, expected, rtol=1e-4, atol=close(x, w.decode()))
            np.testing.assert_array_equal(run(many, other, [x, w.decode()], level, threads=threads), found, err_msg=other.kernel)
