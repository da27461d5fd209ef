"""Integer products whose weights keep their few bits in RAM: bit for bit what loops over int64 give, and the bytes that they promise."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from test_native_integer import sums_of
from thinfer import runtime
from thinfer.formats.graph import ActivationQuantization, Graph, Node, ValueInfo
from thinfer.formats.tensor import Affine, Binary, Codebook, EncodedTensor, Ternary
from thinfer.formats.values import Symbols
from thinfer.kernels import isa
from thinfer.kernels.quantized import quantize

F = np.float32
LEVELS = isa.levels()
pytestmark = pytest.mark.skipif(not LEVELS, reason="no compiled kernels")
INT8, UINT8 = ActivationQuantization("static", "int8", float(F(0.021)), -7), ActivationQuantization("static", "uint8", float(F(0.017)), 119)
ROW = ActivationQuantization("dynamic", "int8", granularity="row")

CONVS: dict[str, tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]] = {
    "pointwise": ((1, 64, 5, 5), (48, 64, 1, 1), {}),
    "pointwise tails": ((2, 71, 5, 3), (67, 71, 1, 1), {}),
    "many rows": ((1, 45, 13, 17), (17, 45, 1, 1), {}),
    "3x3": ((1, 13, 6, 7), (33, 13, 3, 3), {"pads": (1, 1, 1, 1), "strides": (2, 1)}),
    "grouped": ((1, 66, 5, 5), (40, 33, 1, 1), {"group": 2}),
}


def encoded(kind: str, shape: tuple[int, ...], rng: np.random.Generator) -> tuple[Symbols, np.ndarray, np.ndarray]:
    """(values, int64 integers in ``shape``, float32 scale of each output)."""
    outputs, count = shape[0], int(np.prod(shape))
    scale = rng.uniform(0.001, 0.01, outputs).astype(F)
    if kind == "binary":
        symbols = rng.integers(0, 2, count).astype(np.uint8)
        return Binary(symbols, scale), np.where(symbols, 1, -1).reshape(shape), scale
    if kind == "ternary":
        symbols = rng.integers(0, 3, count).astype(np.uint8)
        return Ternary(symbols, scale), symbols.astype(np.int64).reshape(shape) - 1, scale
    name, bits = kind.split()[0], int(kind.split()[1])
    symbols = rng.integers(0, 1 << bits, count).astype(np.uint8)
    if name == "affine":
        zero = 1 if "zero" in kind else None
        tables = (np.full((1, 1), zero, np.uint8), scale[:1, None]) if zero is not None else (None, scale[:, None])
        integers = symbols.astype(np.int64).reshape(shape) - (1 << (bits - 1) if zero is None else zero)
        return Affine(symbols, bits, tables[1], tables[0], count // outputs), integers, scale if zero is None else scale[:1].repeat(outputs)
    groups = 2 if "groups" in kind else 1
    entries = rng.integers(-127, 128, (groups, 1 << bits)).astype(np.int8)
    run = -(-outputs // groups)
    integers = entries[np.arange(outputs) // run][np.arange(outputs)[:, None], symbols.reshape(outputs, -1)].astype(np.int64).reshape(shape)
    return Codebook(symbols, bits, entries, scale), integers, scale


def summed(codes: np.ndarray, w: np.ndarray, attrs: dict[str, Any]) -> np.ndarray:
    return sums_of(codes, w, attrs.get("group", 1), attrs.get("strides", (1, 1)), attrs.get("pads", (0,) * 4), (1, 1))


def convolution(shape: tuple[int, ...], values: Symbols, w_shape: tuple[int, ...], made: tuple[int, ...], attrs: dict[str, Any],
                how: ActivationQuantization = INT8) -> Graph:
    return Graph((ValueInfo("x", "float32", shape),), (ValueInfo("y", "float32", made),), (Node("Conv", ("x", "w"), ("y",), attrs),),
                 {"w": EncodedTensor(w_shape, "float32", values)}, {"x": how})


KINDS = ("codebook 4", "codebook 3", "codebook 2", "codebook 1", "affine 4", "affine 3", "affine 2", "affine 4 zero", "binary", "ternary")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", CONVS)
def test_convolution(name: str, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    shape, w_shape, attrs = CONVS[name]
    rng = np.random.default_rng(3)
    held, w, scale = encoded(kind, w_shape, rng)
    x = rng.normal(0, 2, shape).astype(F)
    for how in (INT8, UINT8):
        sums = summed(quantize(x, how).values, w, attrs)
        expected = sums.astype(F) * (F(how.scale) * scale)[:, None, None]
        graph = convolution(shape, held, w_shape, expected.shape, attrs, how)
        for level in LEVELS:
            monkeypatch.setenv("THINFER_ISA", level)
            for threads in (1, 3):
                session = runtime.load(graph, threads=threads)
                np.testing.assert_array_equal(session.run({"x": x})["y"], expected, err_msg=f"{level}, {threads} threads")
                assert bits_in(session) == {held.bits}


@pytest.mark.parametrize("kind", ["codebook 4", "codebook 3", "affine 2"])
def test_rows_of_a_matrix(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also with a scale of its own for each row, and a matrix that lies the other way round."""
    rng = np.random.default_rng(5)
    held, w, scale = encoded(kind, (50, 67), rng)
    x, tensor = rng.normal(0, 2, (9, 67)).astype(F), EncodedTensor((50, 67), "float32", held)
    for how in (INT8, ROW):
        found = quantize(x, how)
        sums = (found.values.astype(np.int64) @ w.T).astype(F)
        graph = Graph((ValueInfo("x", "float32", (9, 67)),), (ValueInfo("y", "float32", (9, 50)),),
                      (Node("Gemm", ("x", "w"), ("y",), {"transB": 1}),), {"w": tensor}, {"x": how})
        expected = sums * (F(how.scale) * scale if how.kind == "static" else found.scale * scale)
        for level in LEVELS:
            monkeypatch.setenv("THINFER_ISA", level)
            session = runtime.load(graph)
            np.testing.assert_array_equal(session.run({"x": x})["y"], expected, err_msg=level)
            assert bits_in(session) == {held.bits}


def test_two_tables_in_one_panel_lie_as_bytes() -> None:
    """Panels are of 16 outputs: two tables for 24 do not part there, for 32 they do."""
    rng = np.random.default_rng(6)
    for outputs, bits in ((24, set()), (32, {4})):
        held, w, scale = encoded("codebook 4 groups", (outputs, 64, 1, 1), rng)
        x = rng.normal(0, 2, (1, 64, 3, 3)).astype(F)
        expected = summed(quantize(x, INT8).values, w, {}).astype(F) * (F(INT8.scale) * scale)[:, None, None]
        graph = convolution(x.shape, held, (outputs, 64, 1, 1), expected.shape, {})
        session = runtime.load(graph)
        np.testing.assert_array_equal(session.run({"x": x})["y"], expected)
        assert bits_in(session) == bits


def test_bytes_in_ram() -> None:
    """Four bits take half of a byte for each weight, two a quarter: less than a twentieth more, with all tables."""
    for kind, share in (("codebook 4", 1 / 2), ("codebook 3", 3 / 8), ("affine 2", 1 / 4)):
        held, _, _ = encoded(kind, (256, 1024, 1, 1), np.random.default_rng(7))
        graph = convolution((1, 1024, 4, 4), held, (256, 1024, 1, 1), (1, 256, 4, 4), {})
        session = runtime.load(graph)
        session.run({"x": np.zeros((1, 1024, 4, 4), F)})
        packed = [nbytes for layout, nbytes in layouts(session) if "panel16" in layout]
        assert len(packed) == 1
        assert share < packed[0] / (256 * 1024) < 1.05 * share + 0.02


def test_a_length_that_is_open_is_planned_for_several() -> None:
    """One row has kernels of its own, which read the weight in another layout: it is packed for those when a run has one."""
    held, w, scale = encoded("codebook 4", (512, 256), np.random.default_rng(8))
    graph = Graph((ValueInfo("x", "float32", ("N", "length", 256)),), (ValueInfo("y", "float32", ("N", "length", 512)),),
                  (Node("MatMul", ("x", "w"), ("y",)),), {"w": EncodedTensor((256, 512), "float32", held.with_symbols(
                      held.symbols.reshape(512, 256).T.ravel()), axis=1)}, {"x": ROW})
    session = runtime.load(graph)
    packed = layouts(session)
    for length in (2, 7, 1):
        x = np.random.default_rng(length).normal(0, 2, (1, length, 256)).astype(F)
        found = quantize(x, ROW)
        np.testing.assert_array_equal(session.run({"x": x})["y"], (found.values.astype(np.int64) @ w.T).astype(F) * (found.scale * scale))
        assert length == 1 or layouts(session) == packed


def layouts(session: runtime.Session) -> list[tuple[str, int]]:
    return [(str(held["layout"]), int(held["nbytes"])) for held in session.weight_memory().values()]


def bits_in(session: runtime.Session) -> set[int]:
    """Of weights that keep them."""
    found = {layout.split()[1] for layout, _ in layouts(session) if layout.startswith("panel16")}
    return {int(bits) for bits in found - {"int8"}}
