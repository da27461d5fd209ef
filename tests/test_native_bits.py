"""Products of one row of codes with weights of few bits: the bits of exact integer sums, at every ISA level."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from graphs import encode
from native_harness import NATIVE, Recorder, check, every_level, pytestmark  # noqa: F401
from thinfer import runtime
from thinfer.formats.graph import ActivationQuantization, Graph, Node, ValueInfo
from thinfer.formats.tensor import Affine, Binary, Codebook, EncodedTensor
from thinfer.kernels.bits import signs
from thinfer.kernels.bits.pack import pack, plan
from thinfer.kernels.lowering import Ref, Site, lowerings
from thinfer.kernels.ops._integer import SCALE
from thinfer.kernels.ops._op import HOW, Type
from thinfer.kernels.quantized import quantize, weight_integers, weight_scale

HOWS = {
    "dynamic int8": ActivationQuantization("dynamic", "int8", granularity="row"),
    "dynamic uint8": ActivationQuantization("dynamic", "uint8"),
    "static int8": ActivationQuantization("static", "int8", float(np.float32(0.0371)), 0),
    "static int8, -7": ActivationQuantization("static", "int8", float(np.float32(0.0371)), -7),
    "binary": ActivationQuantization("dynamic", "binary", granularity="row"),
    "static uint8": ActivationQuantization("static", "uint8", float(np.float32(0.0371)), 113),
}
KINDS = ("int8 codebook1", "int8 codebook2", "int8 codebook3", "int8 codebook4", "int8 codebook5", "int8 codebook6", "int8 codebook7",
         "int8 codebook8", "groups", "binary", "ternary", "affine2-channel", "affine3-tensor", "affine4-channel", "affine5-channel-symmetric",
         "affine8-channel", "affine8-channel-symmetric")
SIZES = ((1, 1), (15, 31), (16, 32), (17, 33), (63, 7), (64, 64), (65, 127), (101, 97), (113, 16), (176, 8))


def weight(kind: str, outputs: int, columns: int, by_rows: bool, seed: int) -> EncodedTensor:
    rng = np.random.default_rng(seed)
    shape, axis = ((outputs, columns), 0) if by_rows else ((columns, outputs), 1)
    if not (kind.startswith("int8") or kind == "groups"):
        return encode(np.zeros(shape, np.float32), kind, axis, seed)
    bits = 8 if kind == "groups" else int(kind[-1])
    entries = rng.integers(-128, 128, (min(3, outputs) if kind == "groups" else 1, 2 ** bits)).astype(np.int8)
    entries[entries == -128] = -127
    if seed % 2:
        entries[0, 0] = -128
    scale = rng.uniform(0.5, 1.5, outputs).astype(np.float32)
    indices = rng.integers(0, 2 ** bits, outputs * columns).astype(np.uint8)
    return EncodedTensor(shape, "float32", Codebook(indices, bits, entries, scale), axis=axis)


def product(tensor: EncodedTensor, how: ActivationQuantization, level: str, *, columns: int, outputs: int, by_rows: bool = True,
            alpha: float = 1.0, beta: float = 1.0, low: float = -np.inf, high: float = np.inf, seed: int = 0) -> None:
    """Checks one product against int64 sums and the roundings of docs/quantization.md."""
    rng = np.random.default_rng(seed)
    codes = rng.integers(-128 if how.kind == "static" else -127, 128, (1, columns)).astype(np.int8)
    if how.dtype == "uint8":
        codes = codes.view(np.uint8)
    if how.dtype == "binary":
        codes = np.where(codes >= 0, 1, -1).astype(np.int8)
    beside = [] if how.kind == "static" else [np.full((1,) if how.granularity == "row" else (), 0.0123, np.float32)]
    zero = how.zero_point
    if how.kind == "dynamic" and how.dtype == "uint8":
        zero = 91
        beside.append(np.full((), zero, np.uint8))
    integers, scale = weight_integers(tensor).decode().astype(np.int64), weight_scale(tensor)
    assert scale is not None
    bias = rng.standard_normal(outputs).astype(np.float32)
    sums = (codes.astype(np.int64) - zero) @ (integers.T if by_rows else integers)
    factor = np.float32(beside[0].reshape(()) if beside else how.scale) * scale
    factor = factor if alpha == 1 else factor * np.float32(alpha)
    expected = sums.astype(np.float32) * factor
    if beta:
        expected = expected + bias * np.float32(beta)
    expected = np.clip(expected, np.float32(low), np.float32(high))
    attrs = {"transB": int(by_rows), "alpha": alpha, "beta": beta, HOW: (how, None), SCALE: (scale,)}
    options = check("thinfer::Gemm", [codes, integers.astype(np.float32), bias, *beside], expected, attrs, level=level, rtol=0, atol=0, low=low,
                    high=high, weights={1: tensor}, constants=(2,))
    kernels = {option.kernel for option in options}
    assert "bits_gemv" in kernels
    assert ("xnor_gemv" in kernels) == (how.dtype == "binary" and isinstance(tensor.values, Binary))


@every_level
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_weight_at_every_size(kind: str, level: str) -> None:
    for seed, (outputs, columns) in enumerate(SIZES):
        how = list(HOWS.values())[seed % len(HOWS)]
        product(weight(kind, outputs, columns, True, seed), how, level, columns=columns, outputs=outputs, seed=seed)


@every_level
@pytest.mark.parametrize("how", HOWS)
def test_every_kind_of_codes(how: str, level: str) -> None:
    for kind in ("int8 codebook2", "int8 codebook3", "affine4-channel", "affine8-channel"):
        product(weight(kind, 85, 131, False, 5), HOWS[how], level, columns=131, outputs=85, by_rows=False, alpha=0.7, beta=-1.3, low=-2.0, high=40.0)


@every_level
@pytest.mark.parametrize("by_rows", [True, False])
def test_binary_activations_with_binary_weights(by_rows: bool, level: str) -> None:
    for seed, (outputs, columns) in enumerate((*SIZES, (8, 64), (31, 63), (33, 65), (65, 129), (100, 1000))):
        tensor = weight("binary", outputs, columns, by_rows, seed)
        product(tensor, HOWS["binary"], level, columns=columns, outputs=outputs, by_rows=by_rows, seed=seed,
                alpha=(1.0, 0.3)[seed % 2], beta=(1.0, 0.0, 2.5)[seed % 3])


def by_halves(values: list[float]) -> np.float32:
    """Σ|x|, one float32 addition at a time."""
    found = [np.float32(abs(value)) for value in values]
    while len(found) & (len(found) - 1):
        found.append(np.float32(0))
    while len(found) > 1:
        half = len(found) // 2
        found = [np.float32(a + b) for a, b in zip(found[:half], found[half:])]
    return found[0]


@every_level
@pytest.mark.parametrize("granularity", ["row", "sample", "tensor"])
def test_codes_of_binary_activations(granularity: str, level: str) -> None:
    rng = np.random.default_rng(0)
    for shape in ((1, 1), (2, 3), (3, 64), (1, 4, 33), (2, 2, 5, 7), (5, 1000)):
        x = rng.standard_normal(shape).astype(np.float32)
        x.reshape(-1)[::5] = 0
        x.reshape(-1)[1::11] = -0.0
        how = ActivationQuantization("dynamic", "binary", granularity=granularity)
        groups = x.reshape({"row": (-1, shape[-1]), "sample": (shape[0], -1), "tensor": (1, -1)}[granularity])
        scale = np.array([by_halves(group.tolist()) / np.float32(len(group)) for group in groups], np.float32)
        found = quantize(x, how)
        np.testing.assert_array_equal(found.values, np.where(x < 0, -1, 1))
        np.testing.assert_array_equal(found.scale.reshape(-1), scale)
        codes, scales = binarized(x, how, len(groups), level)
        np.testing.assert_array_equal(codes, found.values)
        np.testing.assert_array_equal(scales, scale)


def binarized(x: np.ndarray, how: ActivationQuantization, groups: int, level: str) -> tuple[np.ndarray, np.ndarray]:
    """(codes, scales) of the native kernel."""
    node = Node("thinfer::Quantize", ("x",), ("codes", "scale"), {HOW: how})
    kinds = (Type("int8", x.shape), Type("float32", (groups,)))
    (option,) = lowerings(Site(node, node.attrs, (Type("float32", x.shape),), kinds, {}, 1, level))
    codes, scales = np.zeros(x.shape, np.int8), np.zeros(groups, np.float32)

    class Two(Recorder):
        def output(self, i: int = 0) -> Ref:
            return Ref("value", i)

    em = Two([x], {}, option)
    option.emit(em)
    ((kernel, buffers, params, items),) = em.steps
    assert (kernel, buffers[1].key, buffers[2].key) == ("binarize", 0, 1)
    code = [1, 0, items, 3, 1, buffers[0].key, 0, 3, 0, 0, 3, 1, 0, len(params), *params]
    engine = NATIVE.Engine(np.array(code, np.int64), [kernel], level, em.consts, [], [codes.nbytes, scales.nbytes], 0, em.scratch,
                           NATIVE.ThreadPool(1))
    engine.run((), (codes, scales))
    return codes, scales


@every_level
def test_codes_and_entries_at_their_ends(level: str) -> None:
    """Sums that 16-bit intermediates would saturate, of two products or of four."""
    outputs = 80
    for bits, columns in ((2, 80), (4, 88), (8, 20)):
        for entry in (-128, 127):
            entries = np.full((1, 2 ** bits), entry, np.int8)
            tensor = EncodedTensor((outputs, columns), "float32", Codebook(np.zeros(columns * outputs, np.uint8), bits, entries))
            for code in (-128, -127, -64, -63, 63, 64, 127):
                codes, how = np.full((1, columns), code, np.int8), ActivationQuantization("static", "int8", 1.0, 0)
                expected = np.full((1, outputs), columns * entry * code, np.float32)
                attrs = {"transB": 1, HOW: (how, None), SCALE: (np.ones(1, np.float32),)}
                arrays = [codes, np.zeros((outputs, columns), np.float32)]
                check("thinfer::Gemm", arrays, expected, attrs, level=level, rtol=0, atol=0, weights={1: tensor})


@every_level
@pytest.mark.parametrize("bits", [1, 2, 3, 4])
def test_grids_at_their_ends(bits: int, level: str) -> None:
    """Tables whose entries are equally far from each other: all indices the largest, or any, times codes that sums of 16 bits hold the fewest of."""
    outputs, columns, rng = 70, 517, np.random.default_rng(bits)
    how, step = ActivationQuantization("static", "int8", 1.0, 0), 255 // (2**bits - 1)
    entries = (np.arange(2**bits) * step - 128).astype(np.int8)[None]
    for indices in (np.full(outputs * columns, 2**bits - 1), rng.integers(0, 2**bits, outputs * columns)):
        tensor = EncodedTensor((outputs, columns), "float32", Codebook(indices.astype(np.uint8), bits, entries))
        layout = plan(tensor, True, False)
        assert layout is not None
        assert layout.grid == step
        for codes in (np.full((1, columns), -128), np.full((1, columns), 127), rng.integers(-128, 128, (1, columns))):
            expected = (codes @ tensor.decode().astype(np.int64).T).astype(np.float32)
            attrs = {"transB": 1, HOW: (how, None), SCALE: (np.ones(1, np.float32),)}
            arrays = [codes.astype(np.int8), np.zeros((outputs, columns), np.float32)]
            check("thinfer::Gemm", arrays, expected, attrs, level=level, rtol=0, atol=0, weights={1: tensor})


def test_what_is_no_grid() -> None:
    """Entries at other distances, and rows so long that sums of indices could wrap."""
    for columns, entries, expected in ((64, (-3, 0, 3, 6), 3), (64, (-3, 0, 3, 7), 0), (1 << 17, (-3, 0, 3, 6), 0)):
        tensor = EncodedTensor((1, columns), "float32", Codebook(np.zeros(columns, np.uint8), 2, np.array([entries], np.int8)))
        layout = plan(tensor, True, False)
        assert layout is not None
        assert layout.grid == expected


def test_weights_take_their_bits_in_memory() -> None:
    for kind, bits in (("int8 codebook1", 1), ("int8 codebook2", 2), ("int8 codebook3", 3), ("int8 codebook4", 4), ("int8 codebook6", 6),
                       ("affine8-channel", 8)):
        tensor = weight(kind, 128, 256, True, 0)
        layout = plan(tensor, True, False)
        assert layout is not None
        assert pack(tensor, layout).nbytes - 128 * 8 - 256 * (bits < 8) == 128 * 256 * bits // 8, "beside zeros, scale and table"


def test_signs_take_a_bit_in_memory() -> None:
    tensor = weight("binary", 128, 256, True, 0)
    layout = signs.plan(tensor, True)
    assert layout is not None
    assert signs.pack(tensor, layout).nbytes == 128 * 256 // 8 + 4 * 128


def test_sums_that_could_wrap_are_left_to_numpy() -> None:
    tensor = weight("int8 codebook2", 16, 131072, True, 0)
    wide = replace(tensor, values=replace(tensor.values, entries=np.full((1, 4), -128, np.int8)))
    how = ActivationQuantization("static", "int8", 1.0, 0)
    attrs = {"transB": 1, HOW: (how, None), SCALE: (np.ones(16, np.float32),)}
    codes = np.zeros((1, 131072), np.int8)
    check("thinfer::Gemm", [codes, None], np.zeros((1, 16), np.float32), attrs, level="baseline", least=0, weights={1: wide})


@pytest.mark.parametrize("how", ["dynamic int8", "static uint8", "binary"])
@pytest.mark.parametrize("kind", ["int8 codebook2", "binary"])
def test_a_session_has_the_bits_of_the_numpy_backend(how: str, kind: str) -> None:
    columns, outputs = 300, 130
    tensor = weight(kind, outputs, columns, False, 3)
    graph = Graph((ValueInfo("x", "float32", (1, columns)),), (ValueInfo("y", "float32", (1, outputs)),),
                  (Node("MatMul", ("x", "w"), ("h",)), Node("Relu", ("h",), ("y",))), {"w": tensor}, quantized={"x": HOWS[how]})
    x = np.random.default_rng(0).standard_normal((1, columns)).astype(np.float32)
    native, plain = runtime.load(graph), runtime.load(graph, backend="numpy")
    np.testing.assert_array_equal(native.run({"x": x})["y"], plain.run({"x": x})["y"])


def test_affine_weights_in_blocks_are_not_taken() -> None:
    values = Affine(np.zeros(64 * 64, np.uint8), 4, np.ones((64, 2), np.float32), None, 32)
    assert plan(EncodedTensor((64, 64), "float32", values), True, False) is None
