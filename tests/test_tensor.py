"""Structures and values against plain loops over the elements of the weight."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_weights import STRUCTURES, VALUES, random_weight
from thinfer.formats.graph import weight_problems
from thinfer.formats.tensor import (
    BLOCKS,
    WINDOWS,
    Affine,
    Blocks,
    Codebook,
    Dense,
    EncodedTensor,
    Plain,
    Sparse,
    Ternary,
    View,
    Windowed,
)

SHAPES = [(), (1,), (5,), (0, 3), (3, 0), (7, 33), (6, 5, 2), (2, 3, 4, 5), (1, 70, 1)]


def places(tensor: EncodedTensor) -> Iterator[tuple[tuple[int, ...], int, int]]:
    """(index, channel, input) of every element, row by row."""
    seen: dict[int, int] = {}
    for index in itertools.product(*(range(dim) for dim in tensor.shape)):
        channel = index[tensor.axis] if index else 0
        seen[channel] = seen.get(channel, -1) + 1
        yield index, channel, seen[channel]


def kept_by_loops(tensor: EncodedTensor) -> set[tuple[int, ...]]:
    structure, found = tensor.structure, set()
    if isinstance(structure, Windowed):
        taken = iter(structure.positions.tolist())
        chosen = set()
        by_channel: dict[int, int] = {}
        for _, channel, column in places(tensor):
            by_channel[channel] = column + 1
        for channel, inputs in sorted(by_channel.items()):
            for start in range(0, inputs, structure.m):
                for _ in range(min(structure.n, inputs - start)):
                    chosen.add((channel, start + next(taken)))
        assert next(taken, None) is None
    for number, (index, channel, column) in enumerate(places(tensor)):
        if isinstance(structure, Dense):
            held = True
        elif isinstance(structure, Sparse):
            held = bool(structure.mask[number // 8] >> number % 8 & 1)
        elif isinstance(structure, Windowed):
            held = (channel, column) in chosen
        else:
            assert isinstance(structure, Blocks)
            r, c = structure.shape
            inputs = tensor.size // tensor.shape[tensor.axis] if tensor.shape else 1
            block = channel // r * -(-inputs // c) + column // c
            held = bool(structure.mask[block // 8] >> block % 8 & 1)
        if held:
            found.add(index)
    return found


def value_by_loops(tensor: EncodedTensor, i: int, channel: int, column: int) -> np.floating[Any]:
    v, f = tensor.values, np.float32
    if isinstance(v, Plain):
        return f(v.data[i])
    if isinstance(v, Codebook):
        channels = tensor.shape[tensor.axis] if tensor.shape else 1
        group = channel // -(-channels // len(v.entries))
        return f(v.entries[group, v.indices[i]]) * (f(1) if v.scale is None else v.scale[channel])
    if isinstance(v, Affine):
        at = (0 if len(v.scale) == 1 else channel, column // v.block)
        zero = 2 ** (v.bits - 1) if v.zero_point is None else int(v.zero_point[at])
        return f(int(v.codes[i]) - zero) * v.scale[at]
    if isinstance(v, Ternary):
        return f(int(v.trits[i]) - 1) * v.scale[channel]
    return (f(1) if v.signs[i] else f(-1)) * v.scale[channel]


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(SHAPES), st.sampled_from(STRUCTURES), st.sampled_from(VALUES), st.sampled_from(["float32", "float16"]),
       st.integers(0, 3), st.integers(0, 2**32 - 1))
def test_every_structure_with_every_values_decodes_as_loops_do(shape: tuple[int, ...], structure: str, values: str, dtype: str, axis: int,
                                                               seed: int) -> None:
    tensor = random_weight(np.random.default_rng(seed), shape, structure, values, dtype=dtype, axis=min(axis, max(len(shape) - 1, 0)))
    assert weight_problems("w", tensor) == []
    kept = kept_by_loops(tensor)
    expected, i = np.zeros(shape, dtype), 0
    for index, channel, column in places(tensor):
        if index in kept:
            expected[index] = value_by_loops(tensor, i, channel, column)
            i += 1
    assert tensor.held == i
    assert tensor.structure.held(tensor.view) == i
    np.testing.assert_array_equal(tensor.decode(), expected)
    assert tensor.decode().dtype == dtype
    assert tensor.kept().tolist() == [index in kept for index, _, _ in places(tensor)]


@pytest.mark.parametrize("values", VALUES)
@pytest.mark.parametrize("structure", STRUCTURES)
def test_an_outline_has_the_kinds_and_sizes_of_the_weight(structure: str, values: str) -> None:
    tensor = random_weight(np.random.default_rng(0), (6, 40), structure, values, axis=1)
    outline = tensor.outline()
    assert type(outline.values) is type(tensor.values)
    assert type(outline.structure) is type(tensor.structure)
    assert (outline.held, outline.values.name, outline.values.nbytes_tables) == (tensor.held, tensor.values.name, tensor.values.nbytes_tables)
    assert outline.structure.nbytes == tensor.structure.nbytes


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_rows_and_flat_of_a_view_are_inverse(axis: int) -> None:
    view = View((3, 4, 5), axis)
    flat = np.arange(60)
    assert np.array_equal(view.flat(view.rows(flat)), flat)
    assert np.array_equal(view.rows(flat)[1], flat.reshape(3, 4, 5).take(1, axis).ravel())


@pytest.mark.parametrize("m", WINDOWS)
def test_windowed_of_a_mask_keeps_what_the_mask_keeps(m: int) -> None:
    rng = np.random.default_rng(m)
    kept = np.zeros((5, 3, 2 * m), bool)
    for channel in range(3):
        for window in range(10):
            row = kept[:, channel, :].reshape(-1)
            row[window * m + rng.permutation(m)[:5]] = True
            kept[:, channel, :] = row.reshape(5, -1)
    structure = Windowed.of(kept, 5, m, axis=1)
    assert np.array_equal(structure.kept(View(kept.shape, 1)).reshape(kept.shape), kept)


def changed(structure: str, values: str, part: str, **fields: Any) -> list[str]:
    tensor = random_weight(np.random.default_rng(1), (4, 40), structure, values)
    return weight_problems("w", replace(tensor, **{part: replace(getattr(tensor, part), **fields)}))


@pytest.mark.parametrize(("structure", "values", "part", "fields", "text"), [
    ("windowed", "plain", "structure", {"m": 24}, "windows of"),
    ("windowed", "plain", "structure", {"n": 0}, "windows of"),
    ("windowed", "plain", "structure", {"n": 17, "m": 16}, "windows of"),
    ("windowed", "plain", "structure", {"positions": np.zeros(3, np.uint8)}, "3 positions in windows"),
    ("windowed", "plain", "structure", {"n": 2, "m": 32, "positions": np.array([1, 1] * 8, np.uint8)}, "do not ascend"),
    ("windowed", "plain", "structure", {"n": 2, "m": 32, "positions": np.array([1, 2, 7, 8] * 4, np.uint8)}, "past the last input"),
    ("windowed", "plain", "structure", {"n": 2, "m": 32, "positions": np.array([1, 32, 0, 1] * 4, np.uint8)}, "the position 32"),
    ("blocks", "plain", "structure", {"shape": (2, 2)}, "blocks of (2, 2)"),
    ("blocks", "plain", "structure", {"mask": np.zeros(1, np.uint8)}, "a mask of 1 bytes"),
    ("dense", "ternary", "values", {"trits": np.full(160, 3, np.uint8)}, "the symbol 3"),
    ("dense", "ternary", "values", {"scale": np.ones(3, np.float32)}, "3 scales for 4 channels"),
    ("dense", "affine", "values", {"bits": 1}, "affine codes of 1 bits"),
    ("dense", "affine", "values", {"bits": 9}, "affine codes of 9 bits"),
    ("dense", "affine", "values", {"scale": np.ones((2, 1), np.float32)}, "scales of shape (2, 1)"),
    ("dense", "affine", "values", {"scale": np.ones((4, 2), np.float32), "block": 40}, "scales of shape (4, 2)"),
    ("dense", "affine", "values", {"scale": np.ones((1, 1), np.float64), "block": 40, "zero_point": None}, "scales of dtype float64"),
    ("dense", "affine", "values", {"scale": np.ones((1, 1), np.float32), "block": 40, "zero_point": np.zeros((4, 1), np.uint8)}, "zero points"),
    ("dense", "affine", "values", {"scale": np.ones((1, 1), np.float32), "block": 40, "zero_point": np.full((1, 1), 255, np.uint8)},
     "the zero point 255"),
])
def test_what_is_wrong_is_said(structure: str, values: str, part: str, fields: dict[str, Any], text: str) -> None:
    assert any(text in problem for problem in changed(structure, values, part, **fields)), changed(structure, values, part, **fields)


def test_bits_set_past_the_last_block_are_wrong() -> None:
    tensor = EncodedTensor((1, 40), "float32", Plain(np.zeros(0, np.float32)), Blocks((1, 4), np.array([0, 4], np.uint8)))
    assert any("past its last" in problem for problem in weight_problems("w", tensor))


def test_every_block_shape_and_window_is_in_the_samples() -> None:
    rng = np.random.default_rng(0)
    made = [random_weight(rng, (8, 64), structure, "plain").structure for structure in STRUCTURES for _ in range(40)]
    assert {s.m for s in made if isinstance(s, Windowed)} == set(WINDOWS)
    assert {s.shape for s in made if isinstance(s, Blocks)} == set(BLOCKS)
