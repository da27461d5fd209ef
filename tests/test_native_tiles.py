"""Products with weights of any structure and values, decoded tile by tile, against the expanded weight in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from graphs import encode
from hypothesis import given, settings
from hypothesis import strategies as st
from native_harness import LEVELS, check, every_level, pytestmark, site_of
from random_weights import STRUCTURES, VALUES, random_weight, random_windows
from thinfer import runtime
from thinfer.formats.graph import Graph, Node, ValueInfo
from thinfer.formats.tensor import Affine, EncodedTensor, Symbols, View
from thinfer.kernels import ops
from thinfer.kernels.gemm.tiles import UNIT, plan_tiles
from thinfer.kernels.lowering import lowerings

__all__ = ["pytestmark"]

TAKEN = [(s, v) for s in STRUCTURES for v in VALUES if (s, v) not in {("dense", "plain"), ("dense", "fp16")}]
each_encoding = pytest.mark.parametrize(("structure", "values"), TAKEN)


def expected_of(op: str, x: np.ndarray, tensor: EncodedTensor, attrs: dict[str, Any]) -> tuple[np.ndarray, float]:
    """The node's output in float64, and the largest sum of |products|."""
    run, full = ops.get(op).run, {**ops.get(op).attributes, **attrs}
    w = tensor.decode().astype(np.float64)
    return run(full, x.astype(np.float64), w)[0], float(np.abs(run(full, np.abs(x).astype(np.float64), np.abs(w))[0]).max(initial=1e-30))


def compare(op: str, x: np.ndarray, tensor: EncodedTensor, level: str, **attrs: Any) -> None:
    expected, size = expected_of(op, x, tensor, attrs)
    check(op, [x, tensor.decode()], expected.astype(np.float32), attrs, level=level, rtol=0, atol=2e-6 * size, weights={1: tensor})


@every_level
@each_encoding
def test_gemm_of_odd_shapes(structure: str, values: str, level: str) -> None:
    rng = np.random.default_rng(1)
    for rows, outputs, columns in [(1, 1, 1), (1, 17, 63), (3, 33, 64), (2, 5, 65), (1, 40, 200), (9, 50, 450)]:
        x = rng.standard_normal((rows, columns)).astype(np.float32)
        compare("Gemm", x, random_weight(rng, (outputs, columns), structure, values), level, transB=1)
        compare("MatMul", x, random_weight(rng, (columns, outputs), structure, values, axis=1), level)


@every_level
@pytest.mark.parametrize("shape", [(6, 1), (1, 1), (6, 20)])
def test_biases_that_differ_between_rows_are_added_and_then_clamped(shape: tuple[int, int], level: str) -> None:
    rng = np.random.default_rng(5)
    x, bias = rng.standard_normal((6, 70)).astype(np.float32), rng.standard_normal(shape).astype(np.float32)
    tensor, attrs = random_weight(rng, (20, 70), "windowed", "affine"), {"transB": 1, "alpha": 0.5, "beta": -2.0}
    expected = 0.5 * (x.astype(np.float64) @ tensor.decode().astype(np.float64).T) - 2.0 * bias
    for low, high in ((-np.inf, np.inf), (0.0, 1.0)):
        check("Gemm", [x, tensor.decode(), bias], np.clip(expected, low, high).astype(np.float32), attrs, level=level, rtol=0, atol=2e-5,
              low=low, high=high, weights={1: tensor}, constants=[2])


@every_level
@each_encoding
def test_conv_of_many_kinds(structure: str, values: str, level: str) -> None:
    rng = np.random.default_rng(2)
    for x, w, attrs in [((1, 5, 7, 6), (18, 5, 3, 3), {"pads": (1, 1, 1, 1)}), ((2, 70, 3, 3), (7, 70, 1, 1), {}),
                        ((1, 24, 6, 6), (33, 24, 5, 5), {"strides": (2, 2), "pads": (2, 1, 2, 1)}), ((1, 3, 4, 4), (5, 3, 4, 4), {}),
                        ((1, 8, 5, 5), (12, 2, 3, 3), {"group": 4}), ((1, 8, 5, 5), (12, 4, 3, 3), {"group": 2}),
                        ((1, 19, 9, 8), (19, 1, 3, 3), {"group": 19}), ((1, 4, 20), (6, 4, 15), {}), ((1, 2, 18, 18), (4, 2, 16, 16), {}),
                        ((1, 3, 3, 4, 5), (4, 3, 2, 2, 2), {})]:
        data = rng.standard_normal(x).astype(np.float32)
        compare("Conv", data, random_weight(rng, w, structure, values), level, **attrs)


@every_level
@each_encoding
def test_channels_along_another_axis_run_where_values_are_alike(structure: str, values: str, level: str) -> None:
    rng = np.random.default_rng(3)
    x = rng.standard_normal((4, 70)).astype(np.float32)
    for _ in range(6):
        tensor = random_weight(rng, (20, 70), structure, values, axis=1)
        expected, _ = expected_of("Gemm", x, tensor, {"transB": 1})
        site = site_of("Gemm", [x, tensor.decode()], expected.astype(np.float32), {"transB": 1}, {1: tensor}, level)
        if lowerings(site):
            compare("Gemm", x, tensor, level, transB=1)
        else:
            assert values in ("codebook", "affine", "binary", "ternary")


@every_level
@settings(max_examples=60, deadline=None)
@given(st.sampled_from(TAKEN), st.integers(1, 40), st.integers(1, 300), st.integers(1, 12), st.sampled_from([0.02, 0.3, 0.7, 1.0]),
       st.integers(0, 2**32 - 1))
def test_any_encoding(level: str, encoding: tuple[str, str], outputs: int, columns: int, rows: int, kept: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((rows, columns)).astype(np.float32)
    compare("Gemm", x, random_weight(rng, (outputs, columns), *encoding, kept=kept), level, transB=1)


@every_level
@pytest.mark.parametrize("bits", range(2, 9))
@pytest.mark.parametrize("block", [1, 5, 16, 32, 400])
def test_grids_that_change_along_a_row(bits: int, block: int, level: str) -> None:
    """One row of x: runs that end within words and at their ends, with zero points and without, per output and for all."""
    rng = np.random.default_rng(bits)
    for i, (outputs, columns) in enumerate(((1, 1), (16, 31), (17, 32), (33, 97), (15, 160))):
        view, x = View((outputs, columns)), rng.standard_normal((1, columns)).astype(np.float32)
        for per_output, zeros in ((True, False), (True, True), (False, True)):
            table = (outputs if per_output else 1, -(-columns // block))
            zero = rng.integers(0, 2**bits, table).astype(np.uint8) if zeros else None
            codes = rng.integers(0, 2**bits, view.size).astype(np.uint8)
            tensor = EncodedTensor(view.shape, "float32", Affine(codes, bits, rng.uniform(0.01, 0.1, table).astype(np.float32), zero, block))
            compare("Gemm", x, tensor, level, transB=1)
            if table[1] > 1:
                site = site_of("Gemm", [x, tensor.decode()], np.zeros((1, outputs), np.float32), {"transB": 1}, {1: tensor}, level)
                assert [option.kernel for option in lowerings(site)] == ["gemv_affine"]
        x[0, columns // 2] = (np.inf, -np.inf, np.nan)[i % 3]
        with np.errstate(invalid="ignore"):
            expected = x @ tensor.decode().T
        check("Gemm", [x, tensor.decode()], expected, {"transB": 1}, level=level, rtol=1e-5, atol=1e-4, weights={1: tensor})


@every_level
@pytest.mark.parametrize("length", [16, 32, 64])
def test_grids_in_windows(length: int, level: str) -> None:
    """One row of x: last windows that are shorter, runs of one window and of several, and x that is not finite where nothing is held."""
    rng = np.random.default_rng(length)
    for i, (outputs, columns, n) in enumerate(((1, 1, 1), (16, 65, 3), (17, 127, 8), (33, 200, length), (15, 320, 5))):
        view, x = View((outputs, columns)), rng.standard_normal((1, columns)).astype(np.float32)
        structure = random_windows(rng, view, n, length)
        for bits, block, zeros in ((4, length, False), (2, 2 * length, True), (8, columns, True), (5, length, True), (3, length + 1, False)):
            table, held = (outputs, -(-columns // block)), structure.held(view)
            zero = rng.integers(0, 2**bits, table).astype(np.uint8) if zeros else None
            codes = rng.integers(0, 2**bits, held).astype(np.uint8)
            scale = rng.uniform(0.01, 0.1, table).astype(np.float32)
            tensor = EncodedTensor(view.shape, "float32", Affine(codes, bits, scale, zero, block), structure)
            compare("Gemm", x, tensor, level, transB=1)
            site = site_of("Gemm", [x, tensor.decode()], np.zeros((1, outputs), np.float32), {"transB": 1}, {1: tensor}, level)
            kernels = {option.kernel for option in lowerings(site)}
            assert ("gemv_affine" in kernels) == (block % length == 0 or block >= columns)
            other = x.copy()
            other[0, columns // 2] = (np.inf, -np.inf, np.nan)[i % 3]
            kept = tensor.kept().reshape(view.shape)
            with np.errstate(invalid="ignore"):
                expected = np.where(kept, tensor.decode() * other, 0).sum(axis=1, dtype=np.float64)[None]
            check("Gemm", [other, tensor.decode()], expected, {"transB": 1}, level=level, rtol=1e-5, atol=1e-4, weights={1: tensor})


@each_encoding
def test_bytes_in_ram_are_those_of_the_encoding(structure: str, values: str) -> None:
    """Within a twentieth, and what fills up words of 32 bits, eights of a unit, and sections."""
    rng = np.random.default_rng(4)
    for _ in range(8):
        tensor = random_weight(rng, (256, 1024), structure, values)
        layout = plan_tiles(tensor, 1, "rows")
        assert layout is not None
        nbytes = layout.pack(tensor).nbytes
        held = tensor.held * (tensor.values.bits / 8 if isinstance(tensor.values, Symbols) else tensor.values.data.itemsize)
        encoded = tensor.structure.nbytes + held + tensor.values.nbytes_tables
        words = 1.15 if structure in ("dense", "windowed") else 1.0  # 32 // bits symbols in a word
        units = (256 // 16) * (1024 // UNIT)
        assert nbytes <= 1.05 * words * encoded + units * 16 + 16384, (layout.name, nbytes, encoded)


def test_levels_are_tested() -> None:
    assert LEVELS


@every_level
@pytest.mark.parametrize("channel", [0, 31])
def test_biases_are_added_once_beside_what_is_not_finite(channel: int, level: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """288 columns are two blocks; an Inf in the first or the last of them leaves outputs that do not see it as they were."""
    monkeypatch.setenv("THINFER_ISA", level)
    rng = np.random.default_rng(0)
    weights = {"w": encode(rng.standard_normal((8, 32, 3, 3)).astype(np.float32), "1x4 fp32", 0, 1),
               "b": EncodedTensor.dense(np.full(8, 100, np.float32))}
    graph = Graph((ValueInfo("x", "float32", (1, 32, 8, 8)),), (ValueInfo("y", "float32", (1, 8, 8, 8)),),
                  (Node("Conv", ("x", "w", "b"), ("y",), {"pads": (1, 1, 1, 1)}),), weights)
    session, x = runtime.load(graph), rng.standard_normal((1, 32, 8, 8)).astype(np.float32)
    expected = session.run({"x": x})["y"]
    x[0, channel, 0, 0] = np.inf
    np.testing.assert_allclose(session.run({"x": x})["y"][:, :, 3:], expected[:, :, 3:], rtol=1e-4, atol=1e-4)


@every_level
@pytest.mark.parametrize(("shape", "size"), [((40, 3, 3, 3), 33), ((40, 32, 3, 3), 11)])
def test_bits_beside_infinities_do_not_hang_on_threads(shape: tuple[int, ...], size: int, level: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One block of columns and two. Rows of an image that share a work item with an Inf on one thread do not share it on three."""
    monkeypatch.setenv("THINFER_ISA", level)
    rng = np.random.default_rng(0)
    weights = {"w": encode(rng.standard_normal(shape).astype(np.float32), "4x1 fp32", 0, 1)}
    graph = Graph((ValueInfo("x", "float32", (1, shape[1], size, size)),), (ValueInfo("y", "float32", (1, 40, size, size)),),
                  (Node("Conv", ("x", "w"), ("y",), {"pads": (1, 1, 1, 1)}),), weights)
    x = rng.standard_normal((1, shape[1], size, size)).astype(np.float32)
    finite = runtime.load(graph, threads=1)(x)
    x[0, :3, size // 2, 4] = np.inf, -np.inf, np.nan
    one = runtime.load(graph, threads=1)(x)
    assert not np.isfinite(one[:, :, size // 2 - 1:size // 2 + 2, 3:6]).all()
    np.testing.assert_array_equal(one[:, :, :size // 2 - 1], finite[:, :, :size // 2 - 1])
    for threads in (2, 3):
        np.testing.assert_array_equal(runtime.load(graph, threads=threads)(x), one)
