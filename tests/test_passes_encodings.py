"""Affine and ternary weights, windows and blocks: against loops, exhaustive search and the plain rule that takes the largest value."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from thinfer.formats.graph import Graph, Node, ValueInfo, verify
from thinfer.formats.tensor import Affine, Blocks, EncodedTensor, Plain, Sparse, Ternary, Windowed
from thinfer.toolchain.passes.encode import EncodingError
from thinfer.toolchain.passes.prune_weights import Pruning, prune_weights
from thinfer.toolchain.passes.quantize_weights import Grid, quantize_tensor
from thinfer.toolchain.passes.ternarize import ternarize_tensor
from thinfer.toolchain.pipeline import weights_compressed
from thinfer.toolchain.recipe import parse

RNG = np.random.default_rng(0)


def dense(*shape: int, axis: int = 0, seed: int = 0) -> EncodedTensor:
    return EncodedTensor.dense(np.random.default_rng(seed).standard_normal(shape).astype(np.float32), axis=axis)


def graph_of(**weights: EncodedTensor) -> Graph:
    """A chain of Gemm nodes, one for each weight, none of which has to fit the one before."""
    nodes = tuple(Node("Gemm", ("x", name), (f"y_{name}",), {"transB": 1}) for name in weights)
    return verify(Graph((ValueInfo("x", "float32", (1, "k")),), (), nodes, weights))


def error(a: EncodedTensor, b: EncodedTensor) -> float:
    return float(((a.decode().astype(np.float64) - b.decode()) ** 2).sum())


def by_largest_value(rows: np.ndarray, bits: int) -> float:
    """Squared error of symmetric codes whose scale is the largest magnitude / (2^(bits-1) - 1), row by row."""
    total = 0.0
    for row in rows.astype(np.float64):
        step = max(np.abs(row).max(), 1e-30) / (2 ** (bits - 1) - 1)
        total += float(((np.round(row / step) * step - row) ** 2).sum())
    return total


@pytest.mark.parametrize("bits", range(2, 9))
@pytest.mark.parametrize("scale", ["tensor", "channel", "block"])
def test_affine_errs_less_than_scales_by_the_largest_value(scale: str, bits: int) -> None:
    tensor = dense(24, 256, seed=bits)
    found = quantize_tensor("w", tensor, Grid(bits, scale, 32))  # type: ignore[arg-type]
    rows = tensor.decode().reshape({"tensor": (1, -1), "channel": (24, -1), "block": (-1, 32)}[scale])
    assert error(tensor, found) <= by_largest_value(rows, bits) * (1.0 if bits == 8 else 0.97)
    assert isinstance(found.values, Affine)
    assert found.values.scale.shape == {"tensor": (1, 1), "channel": (24, 1), "block": (24, 8)}[scale]
    assert (found.values.scale > 0).all()
    assert found.values.zero_point is None


@pytest.mark.parametrize("bits", [2, 3])
def test_affine_is_near_the_best_scale_there_is(bits: int) -> None:
    """Within 6 % of the best of 1500 scales, each with every zero point where these are free."""
    tensor = EncodedTensor.dense(np.random.default_rng(5).standard_normal((6, 40)).astype(np.float32) + np.float32(0.4))
    for symmetric in (True, False):
        found = quantize_tensor("w", tensor, Grid(bits, symmetric=symmetric)).decode()
        for row, got in zip(tensor.decode().astype(np.float64), found):
            best = np.inf
            for z in ([2 ** (bits - 1)] if symmetric else range(2**bits)):
                for step in np.linspace(0.01, 4, 1500):
                    q = np.clip(np.rint(row / step) + z, 0, 2**bits - 1) - z
                    best = min(best, float(((q * step - row) ** 2).sum()))
            assert float(((got - row) ** 2).sum()) <= 1.06 * best


def test_zero_points_help_values_that_are_all_of_one_sign() -> None:
    tensor = EncodedTensor.dense(np.abs(dense(8, 64).decode()))
    symmetric, shifted = (quantize_tensor("w", tensor, Grid(4, symmetric=s)) for s in (True, False))
    assert error(tensor, shifted) < 0.4 * error(tensor, symmetric)
    assert isinstance(shifted.values, Affine)
    assert shifted.values.zero_point is not None


def test_affine_leaves_what_is_on_a_grid_as_it_is() -> None:
    codes = RNG.integers(-8, 8, (5, 64))
    codes[:, 0], codes[:, 1] = -8, 7
    tensor = EncodedTensor.dense((codes * 0.125).astype(np.float32))
    np.testing.assert_array_equal(quantize_tensor("w", tensor, Grid(4)).decode(), tensor.decode())


@pytest.mark.parametrize("shape", [(), (3,), (0, 4), (4, 0), (1, 1), (3, 5, 3, 3)])
@pytest.mark.parametrize("scale", ["tensor", "channel", "block"])
def test_any_shape_can_be_affine_and_ternary(shape: tuple[int, ...], scale: str) -> None:
    tensor = dense(*shape)
    for found in (quantize_tensor("w", tensor, Grid(4, scale, symmetric=False)), ternarize_tensor("w", tensor)):  # type: ignore[arg-type]
        verify(Graph((), (), (), {"w": found}))
    zeros = EncodedTensor.dense(np.zeros(shape, np.float32))
    assert not quantize_tensor("w", zeros, Grid(4, scale)).decode().any()  # type: ignore[arg-type]
    assert not ternarize_tensor("w", zeros).decode().any()


def test_ternary_is_the_best_that_exhaustive_search_finds() -> None:
    tensor = dense(6, 9, axis=1)
    found = ternarize_tensor("w", tensor)
    assert isinstance(found.values, Ternary)
    for channel in range(9):
        w = tensor.decode()[:, channel].astype(np.float64)
        best = np.inf
        for signs in itertools.product((-1, 0, 1), repeat=6):
            t = np.array(signs, np.float64)
            scale = max(w @ t / (t @ t), 0) if t.any() else 0.0
            best = min(best, float(((w - scale * t) ** 2).sum()))
        assert float(((w - found.decode()[:, channel]) ** 2).sum()) <= best * (1 + 1e-6)


def test_absent_weights_stay_absent_and_do_not_count() -> None:
    tensor = dense(8, 64)
    kept = RNG.random((8, 64)) < 0.4
    sparse = EncodedTensor(tensor.shape, "float32", Plain(tensor.decode()[kept]), Sparse.of(kept))
    for found in (quantize_tensor("w", sparse, Grid(3)), ternarize_tensor("w", sparse)):
        assert np.array_equal(found.kept(), kept.ravel())
        alone = [float(((row[some] - got[some]) ** 2).sum()) for row, got, some in zip(tensor.decode(), found.decode(), kept)]
        again = [ternarize_tensor("w", EncodedTensor.dense(row[some][None])) if isinstance(found.values, Ternary)
                 else quantize_tensor("w", EncodedTensor.dense(row[some][None]), Grid(3)) for row, some in zip(tensor.decode(), kept)]
        expected = [float(((row[some] - other.decode()[0]) ** 2).sum()) for row, some, other in zip(tensor.decode(), kept, again)]
        np.testing.assert_allclose(alone, expected, rtol=1e-5)


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize(("n", "m"), [(4, 16), (1, 32), (8, 32), (30, 64), (16, 16)])
def test_windows_keep_their_largest(n: int, m: int, axis: int) -> None:
    tensor = dense(5, 75, axis=axis) if axis == 0 else dense(75, 5, axis=axis)
    found = prune_weights(graph_of(w=tensor), {"w": Pruning(windows=(n, m))}).weights["w"]
    assert isinstance(found.structure, Windowed)
    before, after = np.moveaxis(tensor.decode(), axis, 0), np.moveaxis(found.decode(), axis, 0)
    for row, got in zip(before, after):
        for start in range(0, 75, m):
            window, stays = row[start:start + m], got[start:start + m]
            largest = sorted(np.abs(window), reverse=True)[:n]
            assert sorted(np.abs(stays[stays != 0]), reverse=True) == largest
            assert np.array_equal(stays[stays != 0], window[stays != 0])


@pytest.mark.parametrize("shape", [(1, 4), (4, 1), (4, 4)])
def test_blocks_keep_those_of_largest_norm(shape: tuple[int, int]) -> None:
    tensor, (r, c) = dense(12, 20), shape
    found = prune_weights(graph_of(w=tensor), {"w": Pruning(0.75, blocks=shape)}).weights["w"]
    assert isinstance(found.structure, Blocks)
    norms = {(i, j): float((tensor.decode()[i:i + r, j:j + c].astype(np.float64) ** 2).sum()) for i in range(0, 12, r) for j in range(0, 20, c)}
    stays = sorted(norms, key=lambda place: norms[place])[int(0.75 * len(norms)):]
    expected = np.zeros((12, 20), np.float32)
    for i, j in stays:
        expected[i:i + r, j:j + c] = tensor.decode()[i:i + r, j:j + c]
    np.testing.assert_array_equal(found.decode(), expected)


def test_blocks_of_all_tensors_together() -> None:
    small, large = dense(8, 32), EncodedTensor.dense(dense(8, 32, seed=1).decode() * 10)
    after = prune_weights(graph_of(a=small, b=large), {name: Pruning(0.5, scope="global", blocks=(4, 1)) for name in "ab"}).weights
    assert after["a"].held == 0
    assert after["b"].held == after["b"].size


def test_windows_and_blocks_of_odd_shapes() -> None:
    for shape in [(), (3,), (1, 1), (0, 5), (5, 0), (3, 3, 3, 3), (2, 70)]:
        for choice in (Pruning(windows=(3, 16)), Pruning(0.5, blocks=(4, 4)), Pruning(0.5, blocks=(1, 4))):
            tensor = dense(*shape)
            verify(prune_weights(Graph((), (), (), {"w": tensor}), {"w": choice}))


@pytest.mark.parametrize("values", [
    "fp16", "{kind: codebook, bits: 4, scale: channel}", "{kind: affine, bits: 4, scale: block}", "binary", "ternary"])
@pytest.mark.parametrize("pruning", ["{structure: windowed, n: 8, m: 32}", "{structure: blocks, shape: 4x1, sparsity: 0.5}", "{sparsity: 0.5}"])
def test_recipes_combine_structures_and_values(pruning: str, values: str) -> None:
    tensor = dense(32, 128)
    recipe = parse(f"prune_weights: {pruning}\nvalues: {values}\ncoder: huffman")
    found = weights_compressed(graph_of(w=tensor), recipe).weights["w"]
    pruned = weights_compressed(graph_of(w=tensor), parse(f"prune_weights: {pruning}")).weights["w"]
    assert np.array_equal(found.kept(), pruned.kept())
    assert 0.05 < found.held / found.size < 0.6
    verify(graph_of(w=found))
    size = float((pruned.decode() ** 2).sum())
    assert error(pruned, found) < 0.35 * size  # only what is held is represented: zeros would draw centroids and scales towards them


def test_values_that_are_not_finite_are_refused() -> None:
    tensor = EncodedTensor.dense(np.array([[1, np.nan]], np.float32))
    for make in (lambda: quantize_tensor("w", tensor, Grid(4)), lambda: ternarize_tensor("w", tensor),
                 lambda: prune_weights(graph_of(w=tensor), {"w": Pruning(windows=(1, 16))}),
                 lambda: prune_weights(graph_of(w=tensor), {"w": Pruning(0.5, blocks=(1, 4))})):
        with pytest.raises(EncodingError, match="'w' holds NaN"):
            make()
