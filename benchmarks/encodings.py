"""Random weights in every encoding that kernels know."""

from __future__ import annotations

import numpy as np

from ..formats.tensor import (
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
    Values,
    View,
    Windowed,
)

ENCODINGS = ("fp32", "fp16", "codebook8", "codebook6", "codebook4", "codebook3", "codebook2", "binary", "ternary", "affine8", "affine4", "affine8/32",
             "affine4/32", "affine3/32", "sparse fp32", "sparse fp16", "sparse codebook4", "sparse binary", "sparse affine4/32", "8:32 fp32",
             "8:32 codebook4", "8:32 affine4/32", "8:32 ternary", "2:16 codebook4", "2:64 codebook4", "4x1 fp32", "4x1 codebook4",
             "4x4 affine4/32", "1x4 fp16")


def encoded(shape: tuple[int, ...], encoding: str, rng: np.random.Generator) -> EncodedTensor:
    """Random weights of that encoding: values, or a structure (``8:32`` windowed, ``4x1`` blocks of which a quarter is kept) and values.
    A codebook's name may end in ``-bf16``: entries as the toolchain makes them of bfloat16, 256 of them mirrored."""
    structure_name, _, values_name = encoding.rpartition(" ")
    view = View(shape)
    structure = structure_of(view, structure_name, rng)
    held = structure.held(view)
    if values_name in ("fp32", "fp16"):
        values: Values = Plain(rng.standard_normal(held).astype("float32" if values_name == "fp32" else "float16"))
    elif values_name in ("binary", "ternary"):
        scale = np.ones(shape[0], np.float32)
        values = Binary(_symbols(rng, 2, held), scale) if values_name == "binary" else Ternary(_symbols(rng, 3, held), scale)
    elif values_name.startswith("affine"):
        bits, _, block = values_name.removeprefix("affine").partition("/")
        run = int(block) if block else view.inputs
        scale = rng.uniform(0.01, 0.02, (shape[0], -(-view.inputs // run))).astype(np.float32)
        values = Affine(_symbols(rng, 2 ** int(bits), held), int(bits), scale, None, run)
    else:
        bits, _, entries = values_name.removeprefix("codebook").partition("-")
        count = 2 ** int(bits)
        table = rng.standard_normal((1, count)).astype(np.float32)
        if entries:
            table = (table.view(np.uint32) & np.uint32(0xffff0000)).view(np.float32)
            table[:, count // 2:] = -table[:, :count // 2]
        values = Codebook(_symbols(rng, count, held), int(bits), table)
    return EncodedTensor(shape, "float32", values, structure)


def structure_of(view: View, name: str, rng: np.random.Generator) -> Structure:
    if ":" in name:
        n, m = map(int, name.split(":"))
        kept = np.zeros((view.channels, view.inputs // m, m), bool)
        np.put_along_axis(kept, np.argsort(rng.random(kept.shape), axis=2)[:, :, :n], True, axis=2)
        return Windowed.of(kept.reshape(view.channels, -1), n, m)
    if "x" in name:
        r, c = map(int, name.split("x"))
        return Blocks.of(rng.random((view.channels // r, view.inputs // c)) < 0.25, (r, c))
    return Sparse.of(rng.random(view.size) < 0.25) if name == "sparse" else Dense()


def _symbols(rng: np.random.Generator, count: int, held: int) -> np.ndarray:
    return rng.integers(0, count, held).astype(np.uint8)
