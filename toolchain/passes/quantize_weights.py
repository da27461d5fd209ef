"""Weights on a grid of 2 to 8 bits."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from ...formats.graph import Graph
from ...formats.tensor import Affine, EncodedTensor
from .encode import finite, with_weights

SHARES = tuple(float(share) for share in np.linspace(1.0, 0.3, 29))
"""Shares of a grid's range that are tried: what lies outside is clipped, what lies inside is finer. Steps of 0.025."""
CHUNK = 1 << 20
"""Weights that are looked at together, which bounds the memory that this takes."""


@dataclass(frozen=True)
class Grid:
    """``bits``: 2 to 8. ``scale``: one for the ``"tensor"``, per output ``"channel"``, or per ``"block"`` of ``block`` inputs of a channel.

    ``symmetric``: zero is in the middle of the codes; else where the range of the values asks for it (a zero point beside each scale).
    """

    bits: int
    scale: Literal["tensor", "channel", "block"] = "channel"
    block: int = 32
    symmetric: bool = True


def quantize_weights(graph: Graph, choices: Mapping[str, Grid], *, done: Callable[[str], object] | None = None) -> Graph:
    """Replaces the held values of the named weights by the nearest points of grids.

        w: [0.52, -0.26, 0.9, 0.11]   ──►   w: affine 3 bits, 0.26 × [2, -1, 3, 0]

    Scales are those of least squared error among the tried ones, not those that the largest value asks for: of normally distributed
    values, 4 bits in blocks of 32 lose 0.74 % of their energy instead of 0.94 %, 3 bits per channel 4.0 % instead of 11 %. ``done`` is called
    with the name of each weight that is finished. Raises EncodingError for values that are not finite.
    """
    changed = {}
    for name, choice in choices.items():
        changed[name] = quantize_tensor(name, graph.weights[name], choice)
        if done is not None:
            done(name)
    return with_weights(graph, changed)


def quantize_tensor(name: str, tensor: EncodedTensor, choice: Grid) -> EncodedTensor:
    """One weight with its held values as codes. Absent positions are those of value zero, which costs no grid anything."""
    finite(name, tensor.held_values())
    view = tensor.view
    block = min(choice.block, max(view.inputs, 1)) if choice.scale == "block" else max(view.inputs, 1)
    runs = -(-view.inputs // block)
    rows = view.rows(tensor.decode()).astype(np.float32)
    padded = np.zeros((view.channels, runs * block), np.float32)
    padded[:, :view.inputs] = rows
    grids = padded.reshape(1, -1)[:runs] if choice.scale == "tensor" else padded.reshape(view.channels * runs, block)
    scale, zero, codes = np.ones(len(grids), np.float32), np.zeros(len(grids), np.uint8), np.empty(grids.shape, np.uint8)
    for part in _parts(grids):
        scale[part], zero[part] = best_grids(grids[part], choice.bits, choice.symmetric)
        codes[part] = codes_of(grids[part], scale[part], zero[part], choice.bits)
    shape = (1, runs) if choice.scale == "tensor" else (view.channels, runs)
    flat = view.flat(codes.reshape(view.channels, runs * block)[:, :view.inputs])
    values = Affine(flat[tensor.kept()], choice.bits, scale.reshape(shape), None if choice.symmetric else zero.reshape(shape), block)
    return replace(tensor, values=values)


def best_grids(grids: np.ndarray, bits: int, symmetric: bool) -> tuple[np.ndarray, np.ndarray]:
    """(float32[n] scale > 0, uint8[n] zero point) for float32[n, values]: for each share of the range its codes are found, and for these
    the scale ⟨w, q⟩ / ⟨q, q⟩ that brings them closest to the values; the share with the least error left is taken."""
    top, middle = 2 ** bits - 1, 2 ** (bits - 1)
    low, high = np.minimum(grids.min(axis=1, initial=0), 0), np.maximum(grids.max(axis=1, initial=0), 0)
    widest = np.maximum(-low / middle, high / (middle - 1)) if symmetric else (high - low) / top
    widest = np.where(widest > np.finfo(np.float32).tiny, widest, 1).astype(np.float32)
    best, scale, zero = np.full(len(grids), -1.0), widest.copy(), np.full(len(grids), middle, np.uint8)
    for share in SHARES:
        tried = widest * np.float32(share)
        at = zero if symmetric else np.clip(np.rint(-low * share / tried), 0, top).astype(np.uint8)
        q = codes_of(grids, tried, at, bits).astype(np.float32) - at[:, None]
        above, below = _dot(q, grids), _dot(q, q)
        gained = np.where(above > 0, above * above / np.maximum(below, 1), 0)  # ‖w‖² less the error
        better = gained > best
        best[better] = gained[better]
        scale[better] = np.where(above > 0, above / np.maximum(below, 1), tried)[better]
        zero[better] = at[better]
    return scale, zero


def codes_of(grids: np.ndarray, scale: np.ndarray, zero: np.ndarray, bits: int) -> np.ndarray:
    """uint8, shape of ``grids``: the nearest codes (half to even)."""
    return np.clip(np.rint(grids / scale[:, None]) + zero[:, None], 0, 2 ** bits - 1).astype(np.uint8)


def _dot(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.einsum("ij,ij->i", a, b, dtype=np.float64)


def _parts(grids: np.ndarray) -> Iterator[slice]:
    step = max(CHUNK // max(grids.shape[1], 1), 1)
    return (slice(start, start + step) for start in range(0, len(grids), step))
