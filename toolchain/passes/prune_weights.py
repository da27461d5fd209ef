"""Magnitude pruning of single weights, and sparsity that is there already."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from ...formats.graph import Graph
from ...formats.tensor import EncodedTensor, Plain, Sparse
from .encode import finite, with_weights


@dataclass(frozen=True)
class Pruning:
    """How much of a weight goes: a share of its positions, or all below a multiple of its standard deviation.

    ``sparsity``: 0 to below 1, of each tensor or, with scope ``"global"``, of all tensors that are asked for the same together.
    ``quality``: the threshold in standard deviations of the held values, which lets every layer have the sparsity that its
    weights suggest (Han et al. 2015, arXiv 1506.02626, section 4). Exactly one of the two is given.
    """

    sparsity: float | None = None
    quality: float | None = None
    scope: Literal["tensor", "global"] = "tensor"


def prune_weights(graph: Graph, choices: Mapping[str, Pruning]) -> Graph:
    """Removes the held values of least magnitude; what is removed is absent, not zero.

        w: dense [0.9, -0.1, 0.02, -0.7]   ──►   w: sparse [0.9, ·, ·, -0.7]          (sparsity 0.5)

    Positions that are absent already count as removed. Of equal magnitudes the first ones go. Raises EncodingError for values
    that are not finite.
    """
    changed = {}
    together: dict[float, list[str]] = {}
    for name, choice in choices.items():
        if choice.scope == "global" and choice.sparsity is not None:
            together.setdefault(choice.sparsity, []).append(name)
        else:
            changed[name] = _pruned_alone(name, graph.weights[name], choice)
    for sparsity, names in together.items():
        kept = _kept_of_all([_magnitudes(name, graph.weights[name]) for name in names], sparsity)
        changed.update((name, without(graph.weights[name], stays)) for name, stays in zip(names, kept))
    return with_weights(graph, changed)


def sparsify(graph: Graph, least: Mapping[str, float]) -> Graph:
    """Stores zeros that are there as absent positions, in weights whose share of zeros is at least ``least[name]``.

        w: dense [0.9, 0, 0, -0.7]   ──►   w: sparse [0.9, ·, ·, -0.7]          (nothing is pruned)
    """
    found = {name: graph.weights[name] for name, share in least.items()
             if graph.weights[name].size and graph.weights[name].sparsity >= max(share, 1 / graph.weights[name].size)}
    return with_weights(graph, {name: without(tensor, tensor.decode().ravel() != 0) for name, tensor in found.items()})


def without(tensor: EncodedTensor, stays: np.ndarray) -> EncodedTensor:
    """The tensor with values only where it holds one and ``stays`` (bool[size]) is true; plain float32 or whatever its dtype is."""
    stays = stays & tensor.kept()
    return replace(tensor, structure=Sparse.of(stays), values=Plain(tensor.decode().ravel()[stays]))


def _pruned_alone(name: str, tensor: EncodedTensor, choice: Pruning) -> EncodedTensor:
    magnitude = _magnitudes(name, tensor)
    if choice.quality is not None:
        return without(tensor, magnitude >= choice.quality * _deviation(tensor.held_values()))
    assert choice.sparsity is not None
    return without(tensor, _kept_of_all([magnitude], choice.sparsity)[0])


def _magnitudes(name: str, tensor: EncodedTensor) -> np.ndarray:
    """[size]: |w|, and -1 where nothing is held, so that this goes first."""
    magnitude = np.abs(finite(name, tensor.decode().ravel()))
    magnitude[~tensor.kept()] = -1
    return magnitude


def _deviation(held: np.ndarray) -> float:
    return float(held.std(dtype=np.float64)) if held.size else 0.0


def _kept_of_all(magnitudes: Sequence[np.ndarray], sparsity: float) -> list[np.ndarray]:
    """Per tensor bool[size]: what stays when the smallest of all go."""
    everything = np.concatenate([*magnitudes, np.empty(0, np.float32)])
    going = int(sparsity * everything.size + 1e-6)
    if going == 0:
        return [np.ones(magnitude.size, bool) for magnitude in magnitudes]
    threshold = np.partition(everything, going - 1)[going - 1]
    ties = going - int(np.count_nonzero(everything < threshold))
    kept = everything > threshold
    kept[np.flatnonzero(everything == threshold)[ties:]] = True
    return np.split(kept, np.cumsum([magnitude.size for magnitude in magnitudes])[:-1])
