"""Three values per output channel: minus, zero, plus."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import numpy as np

from ...formats.graph import Graph
from ...formats.tensor import EncodedTensor, Ternary
from ._channels import pieces
from .encode import finite, with_weights


def ternarize(graph: Graph, names: Collection[str]) -> Graph:
    """Keeps of each output channel which weights are large, their signs, and one scale.

        w: [0.9, -0.1, 0.05, -1.1]   ──►   w: 1.0 × [+, 0, 0, -]

    Of the thresholds that a channel's values allow, the one with the least squared error is taken, with the mean of the magnitudes above it
    as the scale (Ternary Weight Networks, arXiv 1605.04711, equations 4 to 6; solved exactly, where the paper assumes a distribution).
    Absent positions of a sparse weight stay absent. Raises EncodingError for values that are not finite.
    """
    return with_weights(graph, {name: ternarize_tensor(name, graph.weights[name]) for name in names})


def ternarize_tensor(name: str, tensor: EncodedTensor) -> EncodedTensor:
    """One weight with its held values as trits and scales."""
    finite(name, tensor.held_values())
    rows = tensor.view.rows(tensor.decode())
    scale, trits = np.zeros(len(rows), np.float32), np.ones(rows.shape, np.uint8)
    for part in pieces(tensor):
        some = rows[part].astype(np.float64)
        count, scale[part] = largest_of(np.abs(some))
        trits[part] = np.where(_among_largest(np.abs(some), count), np.sign(some) + 1, 1)
    return replace(tensor, values=Ternary(tensor.view.flat(trits)[tensor.kept()], scale))


def largest_of(magnitudes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(int64[n]: how many of the largest of a row stay, float64[n]: their mean) of [n, values]: with k of them staying the error is
    ‖w‖² − (Σ of the k largest)² / k, so the k that maximises the last term is best."""
    if not magnitudes.shape[1]:
        return np.zeros(len(magnitudes), np.int64), np.zeros(len(magnitudes))
    sums = np.cumsum(np.sort(magnitudes, axis=1)[:, ::-1], axis=1)
    count = np.argmax(sums ** 2 / np.arange(1, sums.shape[1] + 1), axis=1) + 1
    return count, sums[np.arange(len(sums)), count - 1] / count


def _among_largest(magnitudes: np.ndarray, count: np.ndarray) -> np.ndarray:
    """bool: the ``count`` largest of each row; of equal ones the first."""
    place = np.argsort(np.argsort(-magnitudes, axis=1, kind="stable"), axis=1, kind="stable")
    found: np.ndarray = place < count[:, None]
    return found
