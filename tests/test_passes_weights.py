"""Passes on weights: k-means against the kmeans1d library, everything else against its definition."""

from __future__ import annotations

import kmeans1d
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from thinfer.formats.graph import Graph, Node, ValueInfo, verify
from thinfer.formats.tensor import Binary, Codebook, Dense, EncodedTensor, Plain, Sparse
from thinfer.toolchain.passes import _kmeans
from thinfer.toolchain.passes._mirrored import rounded
from thinfer.toolchain.passes.binarize import binarize
from thinfer.toolchain.passes.cluster import Clustering, cluster
from thinfer.toolchain.passes.encode import EncodingError, encode
from thinfer.toolchain.passes.halve import halve
from thinfer.toolchain.passes.prune_weights import Pruning, prune_weights, sparsify


def net(**weights: np.ndarray | EncodedTensor) -> Graph:
    """A chain of MatMuls, one per weight; only the weights matter here."""
    table = {name: w if isinstance(w, EncodedTensor) else EncodedTensor.dense(w) for name, w in weights.items()}
    names = ["x", *(f"v{place}" for place in range(len(table)))]
    nodes = tuple(Node("MatMul", (before, name), (after,)) for before, after, name in zip(names, names[1:], table))
    return verify(Graph((ValueInfo("x", "float32", ("N", 1)),), (ValueInfo(names[-1], "float32", ("N", 1)),), nodes, table))


def gaussian(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


def sse(data: np.ndarray, centroids: np.ndarray) -> float:
    """Sum of squared distances to the nearest centroid, by the definition."""
    wide = data.astype(np.float64).ravel()
    return float(sum((np.abs(part[:, None] - centroids[None]).min(1) ** 2).sum() for part in np.array_split(wide, wide.size // 5000 + 1)))


def optimal(data: np.ndarray, k: int) -> float:
    """The least sum of squared distances, by an independent implementation."""
    return sse(data, np.array(kmeans1d.cluster(data.astype(np.float64).ravel(), k)[1]))


# ---------------------------------------------------------------- k-means

DISTRIBUTIONS = {
    "normal": lambda rng, n: rng.normal(size=n),
    "laplace": lambda rng, n: rng.laplace(size=n),
    "outliers": lambda rng, n: rng.standard_t(2, size=n),
    "far from zero": lambda rng, n: 1000 + rng.normal(size=n),
    "two hills": lambda rng, n: np.where(rng.random(n) < 0.3, rng.normal(-5, 0.1, n), rng.normal(2, 1, n)),
    "few values": lambda rng, n: rng.integers(0, 40, n).astype(float),
}


@pytest.mark.parametrize("kind", DISTRIBUTIONS)
@pytest.mark.parametrize(("count", "k"), [(1, 1), (2, 2), (17, 3), (400, 16), (3000, 256), (20000, 8)])
def test_kmeans_is_optimal(kind: str, count: int, k: int) -> None:
    data = DISTRIBUTIONS[kind](np.random.default_rng(count), count).astype(np.float32)
    found = _kmeans.kmeans(data, k)
    assert (np.diff(found) > 0).all()
    assert sse(data, found) <= optimal(data, min(k, np.unique(data).size)) * (1 + 1e-6) + 1e-18


@settings(deadline=None, max_examples=200)
@given(st.lists(st.floats(-100, 100, width=32), min_size=1, max_size=40), st.integers(1, 8))
def test_kmeans_is_optimal_on_anything_small(values: list[float], k: int) -> None:
    data = np.array(values, np.float32)
    found = _kmeans.kmeans(data, k)
    assert sse(data, found) <= optimal(data, min(k, np.unique(data).size)) * (1 + 1e-6) + 1e-9


@pytest.mark.parametrize("kind", ["normal", "laplace", "outliers", "two hills"])
@pytest.mark.parametrize("k", [4, 16, 256])
@pytest.mark.parametrize("in_bins", [False, True])
def test_large_tensors_are_within_a_percent(kind: str, k: int, in_bins: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    data = DISTRIBUTIONS[kind](np.random.default_rng(k), 20000).astype(np.float32)
    monkeypatch.setattr(_kmeans, "EXACT_WORK", 0)
    if in_bins:
        monkeypatch.setattr(_kmeans, "SORT_LIMIT", 0)
    assert sse(data, _kmeans.kmeans(data, k)) <= optimal(data, k) * 1.01


def test_many_values_few_of_them_distinct_are_kept_exactly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_kmeans, "SORT_LIMIT", 0)
    values = np.array([1, np.nextafter(np.float32(1), np.float32(2)), 3], np.float32)
    np.testing.assert_array_equal(_kmeans.kmeans(np.repeat(values, 1000), 4), values)


def test_bins_hold_every_value_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_kmeans, "SORT_LIMIT", 0)
    monkeypatch.setattr(_kmeans, "CHUNK", 1000)
    data = np.concatenate([gaussian(5000), np.array([0.0, -0.0, 1e-42, -1e-42], np.float32)])
    points = _kmeans.points_of(data)
    assert points.weight.sum() == data.size
    assert (np.diff(points.x) > 0).all()
    np.testing.assert_allclose((points.x * points.weight).sum(), data.astype(np.float64).sum(), rtol=1e-9)
    ends = _kmeans.points_of(np.array([3e38, -3e38, 1], np.float32)).x
    np.testing.assert_array_equal(ends.astype(np.float32), np.array([-3e38, 1, 3e38], np.float32))


def test_nearest_by_the_definition() -> None:
    data, centroids = gaussian(40, 50), np.sort(gaussian(16, seed=1).astype(np.float64))
    np.testing.assert_array_equal(_kmeans.nearest(data, centroids), np.abs(data[..., None].astype(np.float64) - centroids).argmin(-1))


# ---------------------------------------------------------------- cluster


def codebook_of(graph: Graph, name: str) -> Codebook:
    values = verify(graph).weights[name].values
    assert isinstance(values, Codebook)
    return values


@pytest.mark.parametrize("bits", range(1, 9))
def test_cluster_reaches_the_optimum(bits: int) -> None:
    w = gaussian(30, 40)
    graph = cluster(net(w=w), {"w": Clustering(bits)})
    assert codebook_of(graph, "w").bits == bits
    distance = float(((graph.weights["w"].decode().astype(np.float64) - w) ** 2).sum())
    assert distance <= optimal(w, 2 ** bits) * (1 + 1e-6)


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("groups", [1, 3, 4, 7, 100])
def test_each_group_of_channels_has_the_best_codebook(axis: int, groups: int) -> None:
    w = gaussian(10, 10, 7) * np.geomspace(0.1, 10, 10, dtype=np.float32)[:, None, None]
    w = np.moveaxis(w, 0, axis)
    tensor = cluster(net(w=EncodedTensor.dense(w, axis=axis)), {"w": Clustering(2, groups=groups)}).weights["w"]
    per_group = -(-10 // min(groups, 10))
    for start in range(0, 10, per_group):
        own = np.take(w, range(start, min(start + per_group, 10)), axis)
        found = np.take(tensor.decode(), range(start, min(start + per_group, 10)), axis)
        assert ((found.astype(np.float64) - own) ** 2).sum() <= optimal(own, 4) * (1 + 1e-6)
    assert isinstance(tensor.values, Codebook)
    assert len(tensor.values.entries) == -(-10 // per_group)


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("entries", ["float32", "float16", "int8"])
def test_scaled_channels_share_one_codebook(axis: int, entries: str) -> None:
    sizes = np.geomspace(1e-3, 1e3, 12, dtype=np.float32)
    w = np.moveaxis(gaussian(12, 9, 11) * sizes[:, None, None], 0, axis)
    options = Clustering(4, entries=entries, scale="channel")  # type: ignore[arg-type]
    tensor = cluster(net(w=EncodedTensor.dense(w, axis=axis)), {"w": options}).weights["w"]
    values = tensor.values
    assert isinstance(values, Codebook)
    assert values.entries.dtype.name == entries
    assert values.scale is not None
    assert values.scale.shape == (12,)
    others = tuple(other for other in range(3) if other != axis)
    error = np.sqrt(((tensor.decode() - w) ** 2).sum(others) / (w ** 2).sum(others))
    assert error.max() < 0.2  # 16 levels bring a normal distribution to about 0.1
    assert np.sqrt((error ** 2).mean()) < 0.12


@pytest.mark.parametrize(("bits", "groups"), [(6, 2), (8, 1)])
@pytest.mark.parametrize("kind", ["even", "positive", "tiny", "huge"])
def test_bfloat16_entries(kind: str, bits: int, groups: int) -> None:
    """8 significant bits, and nearly the error of free entries; of both signs alike where weights are."""
    half = np.random.default_rng(3).standard_normal((20, 150))
    values = np.concatenate([half, half + 0.1 if kind == "huge" else -half], axis=1)
    w = np.clip({"even": values, "positive": np.abs(values), "tiny": values * 1e-30, "huge": values * 1e38}[kind], -3.4e38, 3.4e38).astype(np.float32)
    free, found = (cluster(net(w=w), {"w": Clustering(bits, groups, entries=entries)}).weights["w"] for entries in ("float32", "bfloat16"))
    assert isinstance(found.values, Codebook)
    assert found.values.bits == bits
    assert found.values.entries.dtype == ("float16" if kind in ("even", "positive") else "float32")
    entries = found.values.entries.astype(np.float32)
    assert not (entries.view(np.uint32) & 0xffff).any()
    assert np.isfinite(entries).all()
    is_mirrored = entries.shape[1] == 256 and np.array_equal(entries[:, 128:], -entries[:, :128])
    assert is_mirrored == (bits == 8 and kind in ("even", "tiny"))
    error, least = (np.linalg.norm((t.decode().astype(np.float64) - w) / np.abs(w).max()) for t in (found, free))
    assert error <= (1.2 if kind == "positive" else 1.1) * least
    for group, part in zip(entries, np.array_split(np.arange(20), groups)):  # every weight has its nearest entry
        nearest = np.abs(w[part].astype(np.float64)[..., None] - np.unique(group).astype(np.float64)).min(axis=-1)
        np.testing.assert_array_equal(np.abs(found.decode()[part].astype(np.float64) - w[part]), nearest)


@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1, max_size=40))
def test_rounded_to_bfloat16_is_the_nearest(values: list[float]) -> None:
    numbers = np.array(values, np.float32)
    around = (numbers.view(np.uint32) & np.uint32(0xffff0000)).view(np.float32)
    outward = (np.minimum((around.view(np.uint32) & np.uint32(0x7fffffff)) + np.uint32(1 << 16), np.uint32(0x7f7f0000))
               | (around.view(np.uint32) & np.uint32(1 << 31))).view(np.float32)
    least = np.minimum(*(np.abs(other.astype(np.float64) - numbers) for other in (around, outward)))
    np.testing.assert_array_equal(np.abs(rounded(numbers).astype(np.float64) - numbers), least)


@pytest.mark.parametrize("entries", ["float32", "float16", "bfloat16", "int8"])
def test_the_largest_floats_stay_finite(entries: str) -> None:
    w = np.finfo(np.float32).max * np.sign(gaussian(5, 60)) * np.where(gaussian(5, 60, seed=1) < 0, 1, np.float32(0.996))
    found = cluster(net(w=w), {"w": Clustering(2, entries=entries, scale="channel")}).weights["w"].decode()
    np.testing.assert_allclose(found, w, rtol=0.01)


def test_scales_are_the_best_for_the_chosen_entries() -> None:
    w = gaussian(6, 50)
    values = codebook_of(cluster(net(w=w), {"w": Clustering(2, scale="channel")}), "w")
    chosen = values.entries[0][values.indices].reshape(w.shape).astype(np.float64)
    best = [np.linalg.lstsq(chosen[c, :, None], w[c], rcond=None)[0][0] for c in range(6)]
    np.testing.assert_allclose(values.scale, best, rtol=1e-5)


def test_int8_entries_use_the_whole_range() -> None:
    w = gaussian(20, 30)
    graph = cluster(net(w=w), {"w": Clustering(8, groups=2, entries="int8")})
    values = codebook_of(graph, "w")
    assert np.abs(values.entries.astype(int)).max(axis=1).tolist() == [127, 127]
    assert np.abs(graph.weights["w"].decode() - w).max() < np.abs(w).max() / 127


@pytest.mark.parametrize("spread", ["normal", "laplace"])
def test_four_int8_entries_lie_equally_far_apart_where_that_costs_little(spread: str) -> None:
    """Normal weights lose half a percent by it, those with long tails a tenth, and so keep their k-means."""
    w = getattr(np.random.default_rng(3), spread)(size=(64, 512)).astype(np.float32)

    def error(choice: Clustering) -> tuple[float, bool]:
        tensor = cluster(net(w=w), {"w": choice}).weights["w"]
        assert isinstance(tensor.values, Codebook)
        return float(np.linalg.norm(tensor.decode() - w)), np.unique(np.diff(tensor.values.entries.astype(int))).size == 1

    (best, _), (found, is_even) = error(Clustering(2, scale="channel")), error(Clustering(2, entries="int8", scale="channel"))
    assert is_even == (spread == "normal")
    assert found <= 1.012 * best


@pytest.mark.parametrize("least", [0.7, 0.95, 0.97, 0.99])
def test_four_int8_entries_that_are_near_each_other(least: float) -> None:
    """Integers tell evenly spaced entries apart no better than others where all are nearly the same number."""
    w = np.random.default_rng(0).uniform(least, 1, (64, 64)).astype(np.float32)
    found = cluster(net(w=w), {"w": Clustering(2, entries="int8", scale="channel")}).weights["w"].decode()
    best = cluster(net(w=w), {"w": Clustering(2, scale="channel")}).weights["w"].decode()
    assert np.linalg.norm(found - w) <= 1.03 * np.linalg.norm(best - w) + np.linalg.norm(w) / 127 / 12 ** 0.5


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("options", [Clustering(3), Clustering(3, groups=4), Clustering(3, scale="channel"), Clustering(5, entries="int8")])
def test_cluster_sees_only_held_values(axis: int, options: Clustering) -> None:
    w = gaussian(16, 25)
    kept = np.abs(w) > 1
    kept[3] = False  # a channel without any
    sparse = EncodedTensor(w.shape, "float32", Plain(w[kept]), Sparse.of(kept), axis)
    tensor = cluster(net(w=sparse), {"w": options}).weights["w"]
    assert isinstance(tensor.structure, Sparse)
    np.testing.assert_array_equal(tensor.kept().reshape(w.shape), kept)
    assert (tensor.held_values() != 0).all()
    assert np.abs(tensor.held_values() - w[kept]).max() < 0.8
    if options == Clustering(3):
        assert ((tensor.held_values().astype(np.float64) - w[kept]) ** 2).sum() <= optimal(w[kept], 8) * (1 + 1e-6)


def test_few_distinct_values_lose_nothing() -> None:
    w = np.random.default_rng(0).choice(np.array([-0.3, 0.0, 0.7], np.float32), (40, 40))
    graph = cluster(net(w=w), {"w": Clustering(8)})
    np.testing.assert_array_equal(graph.weights["w"].decode(), w)
    assert codebook_of(graph, "w").bits == 2


@pytest.mark.parametrize("shape", [(0, 4), (4, 0), (1, 1), (1, 300), (300, 1)])
@pytest.mark.parametrize("options", [Clustering(2), Clustering(2, 3), Clustering(2, 2, "int8", "channel"), Clustering(1, entries="float16")])
def test_cluster_takes_any_shape(shape: tuple[int, int], options: Clustering) -> None:
    w = gaussian(*shape)
    tensor = verify(cluster(net(w=w), {"w": options})).weights["w"]
    assert tensor.decode().shape == shape
    assert np.isfinite(tensor.decode()).all()


def test_nothing_held_at_all() -> None:
    empty = EncodedTensor((3, 4), "float32", Plain(np.empty(0, np.float32)), Sparse.of(np.zeros((3, 4), bool)))
    for options in (Clustering(4), Clustering(4, 2, "int8", "channel")):
        assert not verify(cluster(net(w=empty), {"w": options})).weights["w"].decode().any()
    assert not verify(binarize(net(w=empty), ["w"])).weights["w"].decode().any()


def test_cluster_leaves_other_weights_and_reports_each() -> None:
    finished: list[str] = []
    before = net(a=gaussian(4, 4), b=gaussian(4, 4, seed=1), c=gaussian(4, 4, seed=2))
    after = cluster(before, {"c": Clustering(1), "a": Clustering(1)}, done=finished.append)
    assert finished == ["c", "a"]
    assert after.weights["b"] is before.weights["b"]
    assert list(after.weights) == ["a", "b", "c"]
    assert isinstance(before.weights["a"].values, Plain)


# ---------------------------------------------------------------- binarize, halve, coder


@pytest.mark.parametrize("axis", [0, 1])
def test_binary_scale_is_l1_optimal(axis: int) -> None:
    w = gaussian(5, 8)
    tensor = verify(binarize(net(w=EncodedTensor.dense(w, axis=axis)), ["w"])).weights["w"]
    assert isinstance(tensor.values, Binary)
    np.testing.assert_allclose(tensor.values.scale, np.abs(w).mean(1 - axis), rtol=1e-6)
    np.testing.assert_array_equal(tensor.values.signs.reshape(w.shape), w >= 0)
    for factor in (0.9, 1.1):  # no other scale is closer
        worse = np.where(w >= 0, 1, -1) * np.expand_dims(tensor.values.scale * factor, 1 - axis)
        assert ((tensor.decode() - w) ** 2).sum() < ((worse - w) ** 2).sum()


def test_binary_counts_only_held_values() -> None:
    w = np.array([[1, -3, 0.1], [0.1, 0.1, -0.1]], np.float32)
    kept = np.abs(w) > 0.5
    tensor = binarize(net(w=EncodedTensor(w.shape, "float32", Plain(w[kept]), Sparse.of(kept))), ["w"]).weights["w"]
    np.testing.assert_array_equal(tensor.decode(), [[2, -2, 0], [0, 0, 0]])


def test_halve_rounds_to_nearest_and_stands_for_float32() -> None:
    w = gaussian(7, 9)
    tensor = halve(net(w=w), ["w"]).weights["w"]
    assert tensor.dtype == "float32"
    np.testing.assert_array_equal(tensor.decode(), w.astype(np.float16).astype(np.float32))


def test_what_float16_cannot_hold_is_an_error() -> None:
    w = np.array([[1e5, 1]], np.float32)
    with pytest.raises(EncodingError, match="'w' holds 100000, but float16 goes to 65504"):
        halve(net(w=w), ["w"])
    with pytest.raises(EncodingError, match="65504"):
        cluster(net(w=w), {"w": Clustering(1, entries="float16")})


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_values_that_are_not_finite_are_an_error(bad: float) -> None:
    graph = net(w=np.array([[bad, 1]], np.float32))
    for attempt in (lambda: cluster(graph, {"w": Clustering(1)}), lambda: binarize(graph, ["w"]),
                    lambda: prune_weights(graph, {"w": Pruning(0.5)})):
        with pytest.raises(EncodingError, match="'w' holds NaN or infinite"):
            attempt()


def test_encode_sets_the_coder_alone() -> None:
    before = net(a=gaussian(4, 4), b=gaussian(4, 4))
    after = encode(before, {"a": "huffman"})
    assert [t.coder for t in after.weights.values()] == ["huffman", "raw"]
    assert after.weights["a"].values is before.weights["a"].values


# ---------------------------------------------------------------- prune, sparsify


@pytest.mark.parametrize("sparsity", [0.0, 0.1, 0.5, 0.999])
def test_pruning_removes_the_smallest(sparsity: float) -> None:
    w = gaussian(20, 50)
    tensor = verify(prune_weights(net(w=w), {"w": Pruning(sparsity)})).weights["w"]
    assert isinstance(tensor.structure, Sparse)
    going = int(sparsity * w.size)
    assert tensor.held == w.size - going
    kept = np.abs(w).ravel() >= np.sort(np.abs(w).ravel())[going]
    np.testing.assert_array_equal(tensor.decode().ravel(), np.where(kept, w.ravel(), 0))


def test_of_equal_magnitudes_the_first_go() -> None:
    tensor = prune_weights(net(w=np.array([[1, -1, 1, -1, 2]], np.float32)), {"w": Pruning(0.4)}).weights["w"]
    np.testing.assert_array_equal(tensor.decode(), [[0, 0, 1, -1, 2]])


def test_global_scope_compares_all_weights() -> None:
    graph = net(a=gaussian(10, 10), b=10 * gaussian(10, 20), c=gaussian(10, 10, seed=3))
    after = prune_weights(graph, {"a": Pruning(0.25, scope="global"), "b": Pruning(0.25, scope="global"), "c": Pruning(0.5)})
    assert sum(after.weights[name].held for name in "ab") == 225
    assert after.weights["a"].held < 50 < 175 < after.weights["b"].held
    assert after.weights["c"].held == 50
    smallest_kept = min(np.abs(after.weights[name].held_values()).min() for name in "ab")
    gone = np.concatenate([graph.weights[name].decode().ravel()[~after.weights[name].kept()] for name in "ab"])
    assert np.abs(gone).max() <= smallest_kept


def test_quality_is_a_multiple_of_the_standard_deviation() -> None:
    w = gaussian(50, 50) * 7 + 1
    tensor = prune_weights(net(w=w), {"w": Pruning(quality=0.8)}).weights["w"]
    np.testing.assert_array_equal(tensor.decode(), np.where(np.abs(w) >= 0.8 * w.std(dtype=np.float64), w, 0))


def test_what_is_absent_already_counts_as_removed() -> None:
    w = gaussian(10, 10)
    once = prune_weights(net(w=w), {"w": Pruning(0.6)})
    assert prune_weights(once, {"w": Pruning(0.5)}).weights["w"].held == 40
    np.testing.assert_array_equal(prune_weights(once, {"w": Pruning(0.8)}).weights["w"].decode(),
                                  prune_weights(net(w=w), {"w": Pruning(0.8)}).weights["w"].decode())


def test_sparsify_keeps_every_value() -> None:
    w = np.where(np.abs(gaussian(10, 10)) > 1, gaussian(10, 10), 0)
    few = np.ones((10, 10), np.float32)
    few[0, 0] = 0
    after = sparsify(net(w=w, few=few, none=np.ones((2, 2), np.float32)), {"w": 0.3, "few": 0.3, "none": 0.0})
    np.testing.assert_array_equal(after.weights["w"].decode(), w)
    assert after.weights["w"].held == np.count_nonzero(w)
    assert isinstance(after.weights["few"].structure, Dense)
    assert isinstance(after.weights["none"].structure, Dense)
