"""The family sparse: every kernel at every ISA level, every kind of value, on odd shapes, against float64 NumPy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from native_harness import LEVELS, Recorder, check, every_level, pytestmark, site_of  # noqa: F401
from thinfer.formats.tensor import Binary, Codebook, EncodedTensor, Plain, Sparse, Values
from thinfer.kernels import costs, ops
from thinfer.kernels.lowering import Ref, lowerings
from thinfer.kernels.sparse import grid
from thinfer.kernels.sparse import pack as packing
from thinfer.kernels.sparse.pack import kind_of

RNG = np.random.default_rng(3)
KINDS = ["fp32", "fp16", "codebook4", "codebook5", "codebook6", "codebook7", "codebook8", "codebook3 in groups", "binary"]


def floats(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


def sparse(shape: tuple[int, ...], kind: str, density: float, axis: int = 0) -> EncodedTensor:
    """Random weights; some rows are empty, some are full."""
    kept = RNG.random(shape) < density
    by_row = np.moveaxis(kept, axis, 0)
    if len(by_row) > 4:
        by_row[1], by_row[3] = False, True
    held, channels = int(kept.sum()), shape[axis]
    values: Values
    if kind == "binary":
        values = Binary(RNG.integers(0, 2, held).astype(np.uint8), np.abs(floats(channels)) + np.float32(0.1))
    elif kind.startswith("codebook"):
        bits, groups = int(kind[8]), min(3, channels) if "groups" in kind else 1
        scale = np.abs(floats(channels)) if bits == 4 else None
        values = Codebook(RNG.integers(0, 2 ** bits - 1, held).astype(np.uint8), bits, floats(groups, 2 ** bits - 1), scale)
    else:
        values = Plain(floats(held).astype(np.float16 if kind == "fp16" else np.float32))
    return EncodedTensor(shape, "float32", values, Sparse.of(kept), axis)


def wide(tensor: EncodedTensor) -> np.ndarray:
    return tensor.decode().astype(np.float64)


@every_level
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("rows", "outputs", "columns"), [(1, 1, 1), (1, 16, 33), (3, 17, 40), (1, 70, 129), (2, 300, 90), (19, 100, 37),
                                                          (65, 33, 20), (130, 5, 64)])
def test_gemm(level: str, kind: str, rows: int, outputs: int, columns: int) -> None:
    x, bias = floats(rows, columns), floats(outputs)
    for transposed in (1, 0):
        shape = (outputs, columns) if transposed else (columns, outputs)
        w = sparse(shape, kind, 0.2, axis=0 if transposed else 1)
        matrix = wide(w).T if transposed else wide(w)
        expected = 0.5 * (x.astype(np.float64) @ matrix) + 2.0 * bias
        attrs = {"transB": transposed, "alpha": 0.5, "beta": 2.0}
        for low, high in ((-np.inf, np.inf), (0.0, 1.0)):
            check("Gemm", [x, w.decode(), bias], np.clip(expected, low, high), attrs, level=level, rtol=1e-5, atol=1e-5, low=low, high=high,
                  weights={1: w}, constants=(2,), least=1 if rows == 1 else 2)


@every_level
@pytest.mark.parametrize("kind", KINDS)
def test_mat_mul(level: str, kind: str) -> None:
    x, w = floats(2, 7, 50), sparse((50, 35), kind, 0.1, axis=1)
    check("MatMul", [x, w.decode()], x.astype(np.float64) @ wide(w), level=level, rtol=1e-5, atol=1e-5, weights={1: w}, least=2)


CONVS: list[tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]] = [
    ((1, 20, 7, 7), (33, 20, 1, 1), {}),
    ((2, 20, 9, 8), (17, 20, 1, 1), {}),
    ((2, 5, 1, 3), (4, 5, 1, 1), {}),
    ((1, 12, 13, 11), (18, 12, 1, 1), {"strides": (2, 2)}),
    ((1, 3, 12, 15), (16, 3, 3, 3), {"pads": (1, 1, 1, 1)}),
    ((2, 4, 11, 9), (7, 4, 3, 3), {"strides": (2, 2), "pads": (0, 1, 2, 1)}),
    ((1, 3, 23, 75), (7, 3, 11, 11), {"strides": (4, 4), "pads": (2, 2, 2, 2)}),
    ((1, 6, 9, 17), (10, 3, 3, 2), {"group": 2, "dilations": (2, 3), "pads": (2, 1, 1, 2)}),
    ((1, 9, 10, 10), (9, 1, 3, 3), {"group": 9, "pads": (1, 1, 1, 1)}),
    ((1, 5, 6, 6), (10, 1, 5, 5), {"group": 5, "auto_pad": "SAME_UPPER", "strides": (2, 2)}),
    ((3, 8, 4, 4), (21, 8, 4, 4), {}),
    ((3, 8, 4, 4), (22, 4, 4, 4), {"group": 2}),
    ((2, 6, 40), (11, 6, 5), {"pads": (2, 2)}),
    ((2, 4, 5, 6, 7), (6, 2, 2, 3, 3), {"group": 2, "pads": (1, 0, 1, 0, 1, 2), "strides": (2, 1, 2), "dilations": (1, 2, 1)}),
]


@every_level
@pytest.mark.parametrize("case", CONVS, ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_conv(level: str, case: tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]], kind: str) -> None:
    shape, kernel, attrs = case
    x, w, bias = floats(*shape), sparse(kernel, kind, 0.3), floats(kernel[0])
    spec = ops.get("Conv")
    (expected,) = spec.run({**spec.attributes, **attrs}, x.astype(np.float64), wide(w), bias.astype(np.float64))
    for low, high in ((-np.inf, np.inf), (0.0, 6.0)):
        check("Conv", [x, w.decode(), bias], np.clip(expected, low, high), attrs, level=level, rtol=1e-5, atol=1e-5, low=low, high=high,
              weights={1: w}, constants=(2,), least=2)


@every_level
@pytest.mark.parametrize("case", CONVS, ids=str)
@pytest.mark.parametrize("cost", [0.0, 1e9], ids=["planes", "a plane for each tap"])
def test_taps_by_offsets_and_copied(level: str, case: tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]], cost: float,
                                    monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways, whichever the costs prefer; blocks and chunks of few positions and columns, too."""
    monkeypatch.setitem(costs.SPARSE, "taps", cost)
    test_conv(level, case, "fp32")
    monkeypatch.setattr(grid, "L1_FLOATS", 256)
    monkeypatch.setattr(grid, "PLANES", 0)
    monkeypatch.setattr(grid, "SCRATCH", 1 << 12)
    test_conv(level, case, "codebook4")


@every_level
@pytest.mark.parametrize("kind", KINDS)
def test_absent_weights_take_nothing_from_infinite_activations(level: str, kind: str) -> None:
    for rows in (1, 20):
        x, w = floats(rows, 40), sparse((37, 40), kind, 0.3)
        kept = w.kept().reshape(37, 40)
        for column, value in ((0, np.inf), (7, np.nan), (39, -np.inf)):
            x[:, column] = value
        with np.errstate(invalid="ignore"):
            products = np.where(kept, x[:, None].astype(np.float64) * wide(w), 0)
            expected = products.sum(-1)
        check("Gemm", [x, w.decode()], expected, {"transB": 1}, level=level, rtol=1e-5, atol=1e-5, weights={1: w})


@every_level
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind[:2] != "fp"])
def test_columns_apart_from_values(level: str, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where a column and a symbol do not fit into a word, which takes many columns otherwise."""
    monkeypatch.setattr(packing, "WORD_BITS", 0)
    for rows, outputs, columns in ((1, 70, 129), (19, 100, 37), (2, 17, 5)):
        x, w = floats(rows, columns), sparse((outputs, columns), kind, 0.2)
        check("Gemm", [x, w.decode()], x.astype(np.float64) @ wide(w).T, {"transB": 1}, level=level, rtol=1e-5, atol=1e-5, weights={1: w})
    test_absent_weights_take_nothing_from_infinite_activations(level, kind)


@every_level
@pytest.mark.parametrize(("columns", "entries", "bits"), [
    (65536, 1, 0), (32768, 2, 1), (4096, 9, 4), (4096, 16, 4), (4097, 16, None), (2048, 17, 5), (2049, 17, None), (1024, 64, 6), (512, 65, 7),
    (256, 256, 8), (257, 256, None)])
def test_words_filled_to_their_last_bit(level: str, columns: int, entries: int, bits: int | None) -> None:
    kept = RNG.random((35, columns)) < 0.05
    kept[:, -1] = True
    indices = RNG.integers(0, entries, int(kept.sum())).astype(np.uint8)
    indices[-1] = entries - 1
    w = EncodedTensor((35, columns), "float32", Codebook(indices, 8, floats(1, entries)), Sparse.of(kept), 0)
    assert packing.symbol_bits(w, "codebook", columns) == bits
    for rows in (1, 17):
        x = floats(rows, columns)
        check("Gemm", [x, w.decode()], x.astype(np.float64) @ wide(w).T, {"transB": 1}, level=level, rtol=1e-4, atol=1e-3, weights={1: w})


class Layouts(Recorder):
    """Also keeps the names of the packed weights' layouts."""

    def weight(self, i: int, layout: str, pack: Callable[[EncodedTensor], np.ndarray]) -> Ref:
        self.names = [*getattr(self, "names", []), layout]
        return super().weight(i, layout, pack)


@pytest.mark.parametrize(("kind", "columns", "name"), [
    ("codebook5", 800, "sell16 packed codebook5 rows"), ("codebook5", 2049, "sell16 codebook rows"), ("binary", 32768, "sell16 packed binary rows"),
    ("binary", 32769, "sell16 binary rows"), ("fp16", 20, "sell16 f16 rows")])
def test_layouts_name_what_is_packed(kind: str, columns: int, name: str) -> None:
    x, w = floats(1, columns), sparse((3, columns), kind, 0.1)
    site = site_of("Gemm", [x, w.decode()], np.empty((1, 3), np.float32), {"transB": 1}, {1: w}, LEVELS[0])
    names = {}
    for option in lowerings(site):
        em = Layouts([x, None], site.weights, option)
        option.emit(em)
        names[option.kernel.split("_")[1]] = next(found for found in em.names if "scale" not in found)
    packed = {"binary": "codebook1", "fp16": "f16"}.get(kind, kind)
    assert names == {"gemv": name, "window": f"window16 elastic windows of 32, {packed} rows"}


@every_level
@pytest.mark.parametrize("kind", ["fp32", "codebook4", "codebook3 in groups", "binary"])
def test_more_columns_than_16_bits_can_name(level: str, kind: str) -> None:
    columns = packing.NARROW + 77
    x, w = floats(2, columns), sparse((5, columns), kind, 0.01)
    expected = x.astype(np.float64) @ wide(w).T
    check("Gemm", [x, w.decode()], expected, {"transB": 1}, level=level, rtol=1e-4, atol=1e-3, weights={1: w}, least=2)


@every_level
@pytest.mark.parametrize("kind", KINDS)
def test_scales_and_tables_along_the_inputs(level: str, kind: str) -> None:
    for shape in ((26, 35), (26,)):
        x, w = floats(5, 26), sparse(shape, kind, 0.5, axis=0)
        options = check("MatMul", [x, w.decode()], x.astype(np.float64) @ wide(w), level=level, rtol=1e-5, atol=1e-5, weights={1: w})
        assert all("sparse" in option.kernel for option in options)


@every_level
@pytest.mark.parametrize("kind", KINDS)
def test_weight_on_the_left(level: str, kind: str) -> None:
    w = sparse((21, 30), kind, 0.3)
    for shape in ((30, 3), (2, 30, 67)):
        x = floats(*shape)
        check("MatMul", [w.decode(), x], wide(w) @ x.astype(np.float64), level=level, rtol=1e-5, atol=1e-5, weights={0: w})


@every_level
def test_transposed_activations(level: str) -> None:
    w = sparse((21, 30), "codebook4", 0.3)
    for rows in (1, 5, 70):
        x = floats(30, rows)
        check("Gemm", [x, w.decode()], x.T.astype(np.float64) @ wide(w).T, {"transA": 1, "transB": 1}, level=level, rtol=1e-5, atol=1e-5,
              weights={1: w})


@every_level
def test_bias_that_is_not_one_row(level: str) -> None:
    x, w = floats(3, 20), sparse((17, 20), "fp32", 0.3)
    for shape in ((3, 1), (3, 17)):
        bias = floats(*shape)
        expected = np.clip(x.astype(np.float64) @ wide(w).T + 3.0 * bias, 0, 2)
        check("Gemm", [x, w.decode(), bias], expected, {"transB": 1, "beta": 3.0}, level=level, rtol=1e-5, atol=1e-5, low=0.0, high=2.0,
              weights={1: w}, constants=(2,), least=2)


@pytest.mark.parametrize("order", ["rows", "columns"])
def test_packing_in_chunks_changes_nothing(monkeypatch: pytest.MonkeyPatch, order: packing.Order) -> None:
    for kind in KINDS:
        w = sparse((48, 52), kind, 0.3, axis=0 if order == "rows" else 1)
        values = kind_of(w, order)
        assert values is not None
        whole = packing.pack(w, values, order, w.channels, 2)
        with monkeypatch.context() as patch:
            patch.setattr(packing, "CHUNK", 64)
            np.testing.assert_array_equal(packing.pack(w, values, order, w.channels, 2), whole)


def test_packed_bytes_are_near_what_is_kept() -> None:
    w = sparse((512, 512), "fp32", 0.1)
    assert packing.pack(w, "f32", "rows", 512, 1).nbytes < 1.1 * w.held * 6 + 16 * 512 * 6
    for kind, values in (("codebook7", "codebook"), ("binary", "binary")):
        w = sparse((512, 512), kind, 0.1)
        assert packing.pack(w, values, "rows", 512, 1).nbytes < 1.1 * w.held * 2 + 16 * 512 * 2
