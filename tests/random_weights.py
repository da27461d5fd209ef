"""Random weights of every structure and every kind of values, for all tests."""

from __future__ import annotations

from typing import Any

import numpy as np
from thinfer.formats.tensor import (
    BLOCKS,
    WINDOWS,
    Affine,
    Binary,
    Blocks,
    Codebook,
    Dense,
    EncodedTensor,
    Plain,
    Sparse,
    Structure,
    Ternary,
    View,
    Windowed,
)

STRUCTURES = ("dense", "sparse", "windowed", "blocks")
VALUES = ("plain", "fp16", "codebook", "affine", "binary", "ternary")


def random_structure(rng: np.random.Generator, view: View, name: str, kept: float = 0.3) -> Structure:
    """A structure that keeps about the fraction ``kept`` of the positions."""
    if name == "sparse":
        return Sparse.of(rng.random(view.size) < kept)
    if name == "blocks":
        shape = BLOCKS[rng.integers(len(BLOCKS))]
        return Blocks.of(rng.random((-(-view.channels // shape[0]), -(-view.inputs // shape[1]))) < kept, shape)
    if name == "windowed":
        m = WINDOWS[rng.integers(len(WINDOWS))]
        return random_windows(rng, view, max(round(kept * m), 1), m)
    assert name == "dense"
    return Dense()


def random_windows(rng: np.random.Generator, view: View, n: int, m: int) -> Windowed:
    positions = []
    for _ in range(view.channels):
        for start in range(0, view.inputs, m):
            length = min(m, view.inputs - start)
            positions += sorted(rng.permutation(length)[:n].tolist())
    return Windowed(n, m, np.array(positions, np.uint8))


def random_values(rng: np.random.Generator, view: View, held: int, name: str, bits: int | None = None) -> Any:
    scale = rng.uniform(0.5, 1.5, view.channels).astype(np.float32)
    if name in ("plain", "fp16"):
        return Plain(rng.standard_normal(held).astype(np.float32 if name == "plain" else np.float16))
    if name == "binary":
        return Binary(rng.integers(0, 2, held).astype(np.uint8), scale)
    if name == "ternary":
        return Ternary(rng.integers(0, 3, held).astype(np.uint8), scale)
    if name == "codebook":
        bits = int(rng.integers(1, 9)) if bits is None else bits
        groups = int(rng.integers(1, max(min(view.channels, 4), 1) + 1))
        entries = rng.standard_normal((groups, int(rng.integers(1, 2**bits + 1)))).astype(rng.choice(["float32", "float16"]))
        if rng.random() < 0.3:
            entries = rng.integers(-128, 128, entries.shape).astype(np.int8)
        return Codebook(rng.integers(0, entries.shape[1], held).astype(np.uint8), bits, entries, scale if rng.random() < 0.5 else None)
    assert name == "affine"
    bits = int(rng.integers(2, 9)) if bits is None else bits
    block = int(rng.choice([1, 3, 16, 32, max(view.inputs, 1)]))
    table = (1 if rng.random() < 0.4 else view.channels, -(-view.inputs // block))
    zero = rng.integers(0, 2**bits, table).astype(np.uint8) if rng.random() < 0.5 else None
    return Affine(rng.integers(0, 2**bits, held).astype(np.uint8), bits, rng.uniform(0.01, 0.1, table).astype(np.float32), zero, block)


def random_weight(rng: np.random.Generator, shape: tuple[int, ...], structure: str, values: str, *, axis: int = 0, dtype: str = "float32",
                  coder: Any = "raw", kept: float = 0.3, bits: int | None = None) -> EncodedTensor:
    """A weight with random parameters of its kinds: windows, blocks, bits, groups, blocks of scales."""
    view = View(shape, axis)
    made = random_structure(rng, view, structure, kept)
    return EncodedTensor(shape, dtype, random_values(rng, view, made.held(view), values, bits), made, axis, coder)
