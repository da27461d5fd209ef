"""What is written is read again, by both decoders and by the reader that was written from the specification alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from format_reference import DTYPES as SPEC_DTYPES
from format_reference import reference_read, string_table
from format_samples import CODERS, STRUCTURES, VALUES, assert_same_weight, everything, lenet5, signature, table_graph, weight
from hypothesis import given, settings
from hypothesis import strategies as st
from thinfer.formats import decoders
from thinfer.formats.errors import GraphError
from thinfer.formats.graph import DTYPES, Graph, Node, ValueInfo, verify
from thinfer.formats.reader import WeightTable, from_bytes
from thinfer.formats.strings import STATIC
from thinfer.formats.tensor import Binary, Codebook, EncodedTensor, Plain, Sparse, View
from thinfer.formats.writer import to_bytes

SHAPES: list[tuple[int, ...]] = [(), (1,), (0,), (3, 0, 2), (7,), (13, 5), (1, 1, 1, 9), (4, 3, 3, 3), (257,)]


def check(weights: dict[str, EncodedTensor]) -> bytes:
    """Writes and reads the weights in all ways; returns the bytes."""
    data = to_bytes(table_graph(weights))
    for decoder in decoders.available():
        found = from_bytes(data, decoder=decoder, check=True)
        assert list(found.weights) == list(weights)
        for name, tensor in weights.items():
            assert_same_weight(found.weights[name], tensor)
    assert to_bytes(from_bytes(data)) == data
    for name, array in reference_read(data)["weights"].items():
        assert np.array_equal(array, weights[name].decode(), equal_nan=True)
    return data


@pytest.mark.parametrize("coder", CODERS)
@pytest.mark.parametrize("values", VALUES)
@pytest.mark.parametrize("structure", STRUCTURES)
def test_every_combination(structure: str, values: str, coder: str) -> None:
    rng = np.random.default_rng(1)
    weights = {f"{shape} {axis}": weight(rng, shape, structure, values, coder, axis=axis, groups=3)
               for shape in SHAPES for axis in range(max(len(shape), 1))}
    check(weights)


@pytest.mark.parametrize("coder", CODERS)
@pytest.mark.parametrize("bits", range(1, 9))
def test_every_width_and_codebooks_that_are_not_full(bits: int, coder: str) -> None:
    rng = np.random.default_rng(2)
    counts = {1, 2, 2 ** bits // 2 + 1, 2 ** bits} & set(range(1, 2 ** bits + 1))
    check({f"{n} {s}": weight(rng, (30, 17), s, "codebook", coder, bits=bits, entries=n) for n in counts for s in STRUCTURES})


@pytest.mark.parametrize("coder", CODERS)
@pytest.mark.parametrize("kept", [0.0, 1.0, 0.001, 0.01, 0.05, 0.5, 0.95, 0.999])
def test_masks_of_every_density(kept: float, coder: str) -> None:
    rng = np.random.default_rng(3)
    check({str(v): weight(rng, (67, 129), "sparse", v, coder, kept=kept) for v in ("fp16", "codebook", "binary")})


@pytest.mark.parametrize("coder", CODERS)
def test_groups_that_do_not_divide_the_channels(coder: str) -> None:
    rng = np.random.default_rng(4)
    check({f"{g} {axis}": weight(rng, (7, 5), s, "codebook_fp16_groups", coder, axis=axis, groups=g)
           for g in (1, 2, 3, 4, 5, 7) for axis in (0, 1) for s in STRUCTURES})


@pytest.mark.parametrize("coder", CODERS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_dtype(dtype: str, coder: Any) -> None:
    array = np.random.default_rng(5).integers(0, 2 if dtype == "bool" else 100, (5, 300)).astype(dtype)
    special = np.array([0, 1]).astype(dtype)
    weights = {"large": EncodedTensor.dense(array, coder=coder), "small": EncodedTensor.dense(special, coder=coder)}
    if dtype.startswith("float"):
        weights["special"] = EncodedTensor.dense(np.array([np.nan, np.inf, -np.inf, -0.0]).astype(dtype), coder=coder)
    check(weights)


def test_skewed_indices_take_the_split_transform_and_come_back() -> None:
    rng = np.random.default_rng(6)
    for bits in (2, 3, 4, 8):
        indices = np.where(rng.random(20000) < 0.95, 2 ** bits - 1, rng.integers(0, 2 ** bits, 20000)).astype(np.uint8)
        entries = rng.standard_normal((1, 2 ** bits)).astype(np.float32)
        check({"w": EncodedTensor((200, 100), "float32", Codebook(indices, bits, entries), coder="huffman")})


def test_the_smallest_coder_is_chosen_for_each_weight_and_a_faster_one_where_it_is_as_good() -> None:
    rng = np.random.default_rng(9)
    density = rng.gamma(0.4, 0.25, 300) * rng.gamma(0.8, 1.25, (200, 1))
    pruned = Sparse.of(rng.random((200, 300)) < density)
    tensors = {
        "noise": EncodedTensor.dense(rng.integers(0, 256, 5000).astype(np.uint8)),
        "halves": EncodedTensor.dense(rng.integers(0, 2, 50_000).astype(np.uint8) * 255),
        "thirds": EncodedTensor.dense((rng.random(50_000) < 0.02).astype(np.uint8) * 255),
        "pruned": EncodedTensor((200, 300), "float32", Plain(rng.integers(0, 4, pruned.kept(View((200, 300))).sum()).astype(np.float32)), pruned)}
    chosen = {}
    for name, tensor in tensors.items():
        sizes = {}
        for coder in (*CODERS, "smallest", "auto"):
            table = from_bytes(to_bytes(table_graph({name: tensor.with_coder(coder)}))).weights
            assert isinstance(table, WeightTable)
            sizes[coder], chosen[name] = table.entry(name).nbytes, table.entry(name).coder
            assert table[name].coder == chosen[name]
        assert sizes["smallest"] == min(sizes[coder] for coder in CODERS)
        assert sizes["auto"] == sizes[chosen[name]] <= sizes["smallest"] * 1.01
        assert all(sizes[coder] > sizes["smallest"] * 1.01 for coder in CODERS[:CODERS.index(chosen[name])])
    assert chosen == {"noise": "raw", "halves": "huffman", "thirds": "rans", "pruned": "arithmetic"}


@st.composite
def any_weight(draw: st.DrawFn) -> EncodedTensor:
    shape = tuple(draw(st.lists(st.integers(0, 9), max_size=4)))
    size = int(np.prod(shape, dtype=np.int64))
    rng = np.random.default_rng(draw(st.integers(0, 2 ** 32 - 1)))
    bits = draw(st.integers(1, 8))
    return weight(rng, shape, draw(st.sampled_from(STRUCTURES)), draw(st.sampled_from(VALUES)), draw(st.sampled_from(CODERS)),
                  axis=draw(st.integers(0, max(len(shape) - 1, 0))), bits=bits, entries=draw(st.integers(1, 2 ** bits)),
                  groups=draw(st.integers(1, 5)), kept=draw(st.sampled_from([0.0, 0.02, 0.5, 0.9, 1.0])) if size else 0.5)


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(st.text(min_size=1, max_size=12), any_weight(), max_size=4))
def test_any_weights(weights: dict[str, EncodedTensor]) -> None:
    check({name: tensor for name, tensor in weights.items() if name not in ("x", "y")})


def test_everything_that_a_header_can_hold() -> None:
    graph = everything()
    data = to_bytes(graph)
    found = from_bytes(data, check=True)
    assert signature(found) == signature(graph)
    verify(found)
    for name, tensor in graph.weights.items():
        assert_same_weight(found.weights[name], tensor)
    assert to_bytes(found) == data
    assert to_bytes(graph) == data


def test_the_reference_reader_finds_the_same_graph() -> None:
    """Names that the file does not hold are numbered alike by both readers but for their prefix."""
    graph = everything()
    data = to_bytes(graph)
    found, other = from_bytes(data), reference_read(data)
    assert (found.source.parameters, found.source.macs, found.source.nbytes) == other["source"]

    def same(a: Graph, b: dict[str, Any]) -> None:
        assert [(n.op, n.name, len(n.inputs), [bool(o) for o in n.outputs], sorted(n.attrs)) for n in a.nodes] == [
            (op, name, len(inputs), [bool(o) for o in outputs], list(attrs)) for op, inputs, outputs, attrs, name in b["nodes"]]
        for node, (_, inputs, _, attrs, _) in zip(a.nodes, b["nodes"]):
            assert [n.lstrip("%") for n in node.inputs] == [n.lstrip("%") for n in inputs]
            for key, value in node.attrs.items():
                if isinstance(value, Graph):
                    same(value, attrs[key])
                else:
                    assert np.array_equal(value, attrs[key])
        assert [(i.dtype, i.shape) for i in (*a.inputs, *a.outputs)] == [v[1:3] for v in b["inputs"] + b["outputs"]]
        assert sorted((q.dtype, "static" if q.kind == "static" else q.granularity, *((q.scale, q.zero_point) if q.kind == "static" else ()))
                      for q in a.quantized.values()) == sorted(entry[1:] for entry in b["quantized"])

    same(found, other["graph"])


def test_the_specification_has_the_same_tables() -> None:
    assert tuple(string_table()) == STATIC
    assert tuple(SPEC_DTYPES) == DTYPES


@pytest.mark.parametrize("coder", CODERS)
@pytest.mark.parametrize("values", VALUES)
def test_lenet5_has_at_most_250_bytes_that_are_not_weights(values: str, coder: str) -> None:
    rng = np.random.default_rng(8)
    for structure in STRUCTURES:
        graph = lenet5(lambda array, s=structure: weight(rng, array.shape, s, values, coder, kept=0.08))  # type: ignore[misc]
        data = to_bytes(graph)
        found = from_bytes(data)
        rest = len(data) - sum(found.weights.entry(name).nbytes for name in found.weights)  # type: ignore[attr-defined]
        assert rest <= 250, (structure, rest)


def test_large_raw_weights_are_aligned_and_padding_is_little() -> None:
    rng = np.random.default_rng(9)
    sizes = [3, 1024, 1500, 7, 5000, 1024 * 16, 1, 2047]
    weights = {str(i): EncodedTensor.dense(rng.standard_normal(n).astype(np.float32)) for i, n in enumerate(sizes)}
    data = check(weights)
    table: Any = from_bytes(data).weights
    assert all(table.entry(name).offset % 64 == 0 for name in table if table.entry(name).nbytes >= 4096)
    assert len(data) - sum(4 * n for n in sizes) < 64 * 3 + 150


@pytest.mark.parametrize(("attrs", "text"), [
    ({"a": 2 ** 63}, "64 bits"), ({"a": (1, "x")}, "mixes types"), ({"a": object()}, "cannot hold"), ({"a": "x" * 70000}, "65535"),
    ({"a": np.array(["s"])}, "dtype"), ({"a": "\ud800"}, "UTF-8")])
def test_what_a_file_cannot_hold_is_a_graph_error(attrs: dict[str, Any], text: str) -> None:
    value = ValueInfo("x", "float32", ())
    graph = Graph((value,), (ValueInfo("y", "float32", ()),), (Node("Relu", ("x",), ("y",), attrs),))
    with pytest.raises(GraphError, match=text):
        to_bytes(graph)


def test_deep_nesting_and_high_rank_are_graph_errors() -> None:
    graph = Graph((), (ValueInfo("w", "float32", ()),), ())
    for _ in range(20):
        graph = Graph((), (), (Node("If", ("w",), ("y",), {"then_branch": graph}),))
    with pytest.raises(GraphError, match="nested"):
        to_bytes(Graph((), (), graph.nodes, {"w": EncodedTensor.dense(np.float32(1))}))
    with pytest.raises(GraphError, match="at most"):
        to_bytes(table_graph({"w": EncodedTensor.dense(np.zeros((1,) * 16, np.float32))}))


def test_weights_that_break_their_contract_are_graph_errors() -> None:
    one = np.ones(1, np.float32)
    bad = [EncodedTensor((9,), "float32", Plain(np.zeros(1, np.float32)), Sparse(np.array([1, 2], np.uint8))),
           EncodedTensor((1,), "float32", Binary(np.array([2], np.uint8), one)),
           EncodedTensor((1,), "float32", Binary(np.array([1], np.uint8), one.astype(np.float64))),
           EncodedTensor((1,), "float32", Codebook(np.array([0], np.uint8), 1, np.zeros((1, 1)))),
           EncodedTensor((1,), "float32", Codebook(np.array([1], np.uint8), 1, np.zeros((1, 1), np.float32))),
           EncodedTensor((1,), "float32", Plain(np.zeros(1, complex)))]
    for tensor in bad:
        with pytest.raises(GraphError):
            to_bytes(table_graph({"w": tensor}))
