"""Codebooks: each weight becomes an index into a few centroids."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from ...formats.graph import Graph
from ...formats.tensor import Codebook, EncodedTensor
from ._channels import channel_sums, pieces, stacked
from ._even import even, integers
from ._kmeans import kmeans, nearest, points_of
from ._mirrored import mirrored, rounded
from .encode import EncodingError, finite, with_weights
from .halve import LARGEST

LARGEST_INT8 = 127
EVEN = 4
"""So many int8 entries are brought to equal distances where that costs little (_even.py)."""


@dataclass(frozen=True)
class Clustering:
    """``bits``: 1 to 8, width of an index. ``groups``: runs of output channels with a codebook each (at most one per channel).

    ``entries``: dtype of the codebook; bfloat16 is float32 of 8 significant bits (held as float16 where that is exact), and 256 of them are 128 with
    either sign where that costs less than 5 % of error: kernels find them sooner. ``scale``: ``"channel"`` divides each output channel by its root
    mean square first and keeps the best factor, so that one codebook fits channels of different size. int8 entries always come with scales, and
    four of them lie equally far from each other where that costs less than 1 % of error.
    """

    bits: int
    groups: int = 1
    entries: Literal["float32", "float16", "bfloat16", "int8"] = "float32"
    scale: Literal["none", "channel"] = "none"


def cluster(graph: Graph, choices: Mapping[str, Clustering], *, done: Callable[[str], object] | None = None) -> Graph:
    """Replaces the held values of the named weights by the nearest of at most ``2**bits`` centroids (1-D k-means).

        w: [0.11, -0.52, 0.09, -0.48]   ──►   w: codebook [-0.5, 0.1], indices [1, 0, 1, 0]          (1 bit)

    ``done`` is called with the name of each weight that is finished. A weight with no more distinct values than entries is
    represented without loss (entries float32, no scale). Raises EncodingError for values that are not finite.
    """
    changed = {}
    for name, choice in choices.items():
        changed[name] = cluster_tensor(name, graph.weights[name], choice)
        if done is not None:
            done(name)
    return with_weights(graph, changed)


def cluster_tensor(name: str, tensor: EncodedTensor, choice: Clustering) -> EncodedTensor:
    """One weight with its held values as indices into codebooks."""
    held = finite(name, tensor.held_values())
    dense = held.size == tensor.size
    values = stacked(tensor, held if dense else tensor.decode())
    kept = None if dense else stacked(tensor, tensor.kept())
    scale = _root_mean_squares(tensor, values, kept) if choice.scale == "channel" else None
    per_group = -(-tensor.channels // max(min(choice.groups, tensor.channels), 1))
    groups = [slice(start, start + per_group) for start in range(0, max(tensor.channels, 1), max(per_group, 1))]
    tables = [_table(name, _normalised(values, kept, scale, group), choice) for group in groups]
    if choice.entries == "int8":
        scale, tables = _as_int8(tensor.channels, per_group, scale, tables)
    entries = _rectangle(tables)
    indices = _indices(tensor, values, scale, entries, per_group)
    if choice.scale == "channel" and scale is not None:
        scale = _refitted(tensor, values, kept, scale, entries, indices, per_group)
    if scale is not None:
        scale = _finite(scale, entries, per_group)
    if choice.entries == "bfloat16" and np.abs(entries).max() <= LARGEST and np.array_equal(half := entries.astype(np.float16), entries):
        entries = half
    bits = max((entries.shape[1] - 1).bit_length(), 1)
    flat = indices.ravel() if kept is None else indices[kept]
    return replace(tensor, values=Codebook(flat, bits, entries, scale))


def _root_mean_squares(tensor: EncodedTensor, values: np.ndarray, kept: np.ndarray | None) -> np.ndarray:
    """float32[channels] > 0."""
    count = channel_sums(tensor, kept) if kept is not None else np.full(tensor.channels, tensor.size / max(tensor.channels, 1))
    found = np.sqrt(channel_sums(tensor, values, 2) / np.maximum(count, 1)).astype(np.float32)
    return np.where(found > np.finfo(np.float32).tiny, found, np.float32(1))


def _normalised(values: np.ndarray, kept: np.ndarray | None, scale: np.ndarray | None, group: slice) -> np.ndarray:
    """The held values of a group of channels, each divided by its channel's scale."""
    part = values[:, group] if scale is None else values[:, group] / scale[group, None]
    return part.ravel() if kept is None else part[kept[:, group]]


def _table(name: str, data: np.ndarray, choice: Clustering) -> np.ndarray:
    """The centroids in ascending order, unless they are mirrored, in the dtype of the entries; those of int8 and bfloat16 are still float32 here."""
    found = kmeans(data, 2 ** choice.bits)
    if choice.entries == "int8" and len(found) == EVEN and (grid := even(points_of(data), found)) is not None:
        return grid.astype(np.float32)
    if choice.entries == "float16":
        if np.abs(found).max() > LARGEST:
            raise EncodingError(f"the weight {name!r} needs a codebook entry {np.abs(found).max():g}, but float16 goes to {LARGEST:g}")
        return np.unique(found.astype(np.float16))
    if choice.entries == "bfloat16":
        both = mirrored(points_of(data), found)
        return np.unique(rounded(found)) if both is None else both
    return np.unique(found.astype(np.float32))


def _as_int8(channels: int, per_group: int, scale: np.ndarray | None, tables: list[np.ndarray]) -> tuple[np.ndarray, list[np.ndarray]]:
    """(float32[channels] scales, int8 tables): each table is stretched to -127 … 127 and its channels' scales make up for it."""
    found = [_int8(table) for table in tables]
    factor = np.repeat(np.array([step for step, _ in found], np.float32), per_group)[:channels]
    return factor if scale is None else factor * scale, [np.unique(made.astype(np.int8)) for _, made in found]


def _int8(table: np.ndarray) -> tuple[float, np.ndarray]:
    """(step, integers of -127 … 127). Equal distances stay equal, if that costs nothing."""
    apart = np.diff(table.astype(np.float64))
    found = integers(table.astype(np.float64), LARGEST_INT8) if len(table) == EVEN and np.ptp(apart) <= 1e-5 * apart.min() else None
    if found is not None:
        return found
    step = max(float(np.abs(table).max()), float(np.finfo(np.float32).tiny)) / LARGEST_INT8
    return step, np.rint(table / step)


def _rectangle(tables: list[np.ndarray]) -> np.ndarray:
    """[groups, most entries]: shorter tables are filled up with their last entry, which no index refers to."""
    most = max(len(table) for table in tables)
    return np.stack([np.pad(table, (0, most - len(table)), mode="edge") for table in tables])


def _indices(tensor: EncodedTensor, values: np.ndarray, scale: np.ndarray | None, entries: np.ndarray, per_group: int) -> np.ndarray:
    """uint8, shape of ``values``: the nearest entry of each value's table."""
    found = np.empty(values.shape, np.uint8)
    for part in pieces(tensor):
        for group in range(part.start // per_group, -(-part.stop // per_group)):
            some = slice(max(part.start, group * per_group), min(part.stop, (group + 1) * per_group))
            data = values[:, some] if scale is None else values[:, some] / scale[some, None]
            ascending, place = np.unique(entries[group], return_index=True)
            found[:, some] = place.astype(np.uint8)[nearest(data, ascending)]
    return found


def _refitted(tensor: EncodedTensor, values: np.ndarray, kept: np.ndarray | None, scale: np.ndarray, entries: np.ndarray,
              indices: np.ndarray, per_group: int) -> np.ndarray:
    """float32[channels]: per channel the factor that brings the chosen entries closest to the values, ⟨w, e⟩ / ⟨e, e⟩."""
    best = scale.copy()
    for part in pieces(tensor):
        group = np.arange(part.start, part.stop) // per_group
        chosen = entries.astype(np.float64)[group[:, None], indices[:, part]]
        if kept is not None:
            chosen *= kept[:, part]
        above, below = (chosen * values[:, part]).sum(axis=(0, 2)), (chosen * chosen).sum(axis=(0, 2))
        best[part] = np.where((above > 0) & (below > 0), above / np.where(below > 0, below, 1), scale[part])
    return best


def _finite(scale: np.ndarray, entries: np.ndarray, per_group: int) -> np.ndarray:
    """float32[channels]: the scales, but none that makes an entry infinite: weights next to the largest float may be rounded up."""
    most = np.abs(entries.astype(np.float64)).max(axis=1)[np.arange(len(scale)) // per_group]
    bound = (np.finfo(np.float32).max / np.maximum(most, 1)).astype(np.float32)
    return np.minimum(scale, np.nextafter(bound, np.float32(0))).astype(np.float32)
