"""Magnitude pruning of single weights, of all but n in every window, of blocks; and sparsity that is there already."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from ...formats.graph import Graph
from ...formats.tensor import Blocks, EncodedTensor, Plain, Sparse, Structure, Windowed
from .encode import finite, with_weights


@dataclass(frozen=True)
class Pruning:
    """How much of a weight goes: a share of it, or all below a multiple of its standard deviation, or all but some of each window.

    ``sparsity``: 0 to below 1, of the positions (or blocks) of each tensor or, with scope ``"global"``, of all tensors that are asked for
    the same together. ``quality``: the threshold in standard deviations of the held values, which lets every layer have the sparsity that
    its weights suggest (Han et al. 2015, arXiv 1506.02626, section 4). ``windows``: (n, m), of each window of m inputs n stay. Exactly one
    of the three is given. ``blocks``: (channels, inputs) of the blocks that go or stay as a whole; None: single weights.
    """

    sparsity: float | None = None
    quality: float | None = None
    scope: Literal["tensor", "global"] = "tensor"
    windows: tuple[int, int] | None = None
    blocks: tuple[int, int] | None = None


def prune_weights(graph: Graph, choices: Mapping[str, Pruning]) -> Graph:
    """Removes the held values of least magnitude; what is removed is absent, not zero.

        w: dense [0.9, -0.1, 0.02, -0.7]   ──►   w: sparse [0.9, ·, ·, -0.7]          (sparsity 0.5)

    Positions that are absent already count as removed. Of equal magnitudes the first ones go. A block is as large as the root of the sum
    of its squares. Raises EncodingError for values that are not finite.
    """
    changed = {}
    together: dict[Pruning, list[str]] = {}
    for name, choice in choices.items():
        if choice.windows is not None:
            changed[name] = _windowed(name, graph.weights[name], *choice.windows)
        elif choice.scope == "global":
            together.setdefault(choice, []).append(name)
        else:
            changed.update(_pruned(graph, [name], choice))
    for choice, names in together.items():
        changed.update(_pruned(graph, names, choice))
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
    return _held_in(tensor, Sparse.of(stays & tensor.kept()))


def _held_in(tensor: EncodedTensor, structure: Structure) -> EncodedTensor:
    """The tensor with the values that it has where ``structure`` holds some; zero where it had none."""
    return replace(tensor, structure=structure, values=Plain(tensor.decode().ravel()[structure.kept(tensor.view)]))


def _pruned(graph: Graph, names: Sequence[str], choice: Pruning) -> dict[str, EncodedTensor]:
    """The named weights without the least of what they have together."""
    tensors = [graph.weights[name] for name in names]
    sizes = [_magnitudes(name, tensor, choice.blocks) for name, tensor in zip(names, tensors)]
    if choice.quality is not None:
        stays = [size >= choice.quality * _deviation(tensor.held_values()) for size, tensor in zip(sizes, tensors)]
    else:
        assert choice.sparsity is not None
        stays = _kept_of_all(sizes, choice.sparsity)
    if choice.blocks is None:
        return {name: without(tensor, kept) for name, tensor, kept in zip(names, tensors, stays)}
    return {name: _held_in(tensor, Blocks.of(kept, choice.blocks)) for name, tensor, kept in zip(names, tensors, stays)}


def _magnitudes(name: str, tensor: EncodedTensor, blocks: tuple[int, int] | None) -> np.ndarray:
    """|w| of every position, or the size of every block; -1 where nothing is held, so that this goes first."""
    magnitude = np.abs(finite(name, tensor.decode().ravel()))
    if blocks is None:
        magnitude[~tensor.kept()] = -1
        return magnitude
    view, (r, c) = tensor.view, blocks
    rows, columns = Blocks(blocks, np.empty(0, np.uint8)).grid(view)
    padded = np.zeros((rows * r, columns * c), np.float64)
    padded[:view.channels, :view.inputs] = view.rows(magnitude)
    size: np.ndarray = np.sqrt((padded ** 2).reshape(rows, r, columns, c).sum(axis=(1, 3))).ravel()
    return size


def _deviation(held: np.ndarray) -> float:
    return float(held.std(dtype=np.float64)) if held.size else 0.0


def _kept_of_all(magnitudes: Sequence[np.ndarray], sparsity: float) -> list[np.ndarray]:
    """Per tensor bool: what stays when the smallest of all go."""
    everything = np.concatenate([*magnitudes, np.empty(0, np.float32)])
    going = int(sparsity * everything.size + 1e-6)
    if going == 0:
        return [np.ones(magnitude.size, bool) for magnitude in magnitudes]
    threshold = np.partition(everything, going - 1)[going - 1]
    ties = going - int(np.count_nonzero(everything < threshold))
    kept = everything > threshold
    kept[np.flatnonzero(everything == threshold)[ties:]] = True
    return np.split(kept, np.cumsum([magnitude.size for magnitude in magnitudes])[:-1])


def _windowed(name: str, tensor: EncodedTensor, n: int, m: int) -> EncodedTensor:
    """The tensor with the n largest values of each window of m inputs, all of a last one that has fewer."""
    view = tensor.view
    windows = -(-view.inputs // m)
    padded = np.full((view.channels, windows * m), -2, np.float32)  # less than what is absent: never chosen
    padded[:, :view.inputs] = view.rows(_magnitudes(name, tensor, None))
    largest = np.argsort(padded.reshape(view.channels, windows, m), axis=2, kind="stable")[:, :, m - n:]
    kept = np.zeros((view.channels, windows, m), bool)
    np.put_along_axis(kept, largest, True, axis=2)
    rows = kept.reshape(view.channels, windows * m)[:, :view.inputs]
    return _held_in(tensor, Windowed.of(view.flat(rows).reshape(tensor.shape), n, m, tensor.axis))
