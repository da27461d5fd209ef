"""Biases that make up for what compression does to the mean."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial

import numpy as np

from ...formats.graph import Graph, Node
from ...formats.tensor import EncodedTensor
from ._calibration import Progress, coarse, observe
from ._edit import fresh, is_plain, taken_names, uses


def correct_biases(before: Graph, after: Graph, data: Mapping[str, np.ndarray], progress: Progress | None = None) -> Graph:
    """Adds to the bias of every Conv and Gemm what its compressed weight takes from the mean of its output on the data.

        y = Conv(x, w', b)          y = Conv(x, w', b + (w - w')·E[x])

    ``before`` and ``after`` have the same nodes, and w and w' as weights. E[x] is the mean per input channel in ``before``, over samples and
    positions; padding counts as that too. A Conv without a bias gets one. Biases that are compressed themselves are left alone.
    (Nagel et al. 2019, "Data-Free Quantization Through Weight Equalization and Bias Correction", arXiv 1906.04721, section 4.2.)
    """
    nodes = [node for node in after.nodes if _is_changed(before, after, node)]
    if not nodes:
        return after
    asked = {id(node) for node in nodes}
    means = _means(before, {node.inputs[0]: node for node, now in zip(before.nodes, after.nodes) if id(now) in asked}, data, progress)
    weights, taken, read = dict(after.weights), taken_names(after), uses(after)
    changed: dict[int, Node] = {}
    for node in nodes:
        error = before.weights[node.inputs[1]].decode().astype(np.float64) - after.weights[node.inputs[1]].decode()
        shift = coarse(_shift(node, error, means[node.inputs[0]]))
        old = weights.get(node.inputs[2]) if len(node.inputs) > 2 and node.inputs[2] else None
        bias = np.zeros(shift.shape, before.weights[node.inputs[1]].dtype) if old is None else old.decode()
        name = node.inputs[2] if old is not None and read[node.inputs[2]] == 1 else fresh(f"{node.inputs[1].removesuffix('.weight')}.bias", taken)
        weights[name] = EncodedTensor.dense((bias + shift).astype(bias.dtype), coder="raw" if old is None else old.coder)
        changed[id(node)] = node.with_inputs((*node.inputs[:2], name))
    return replace(after, nodes=tuple(changed.get(id(node), node) for node in after.nodes), weights=weights)


def _is_changed(before: Graph, after: Graph, node: Node) -> bool:
    """Whether the node multiplies by a weight that is not what it was, and adds a bias per channel that may be rewritten, or none."""
    if node.op not in ("Conv", "Gemm") or node.inputs[1] not in after.weights or is_plain(after.weights[node.inputs[1]]):
        return False
    if not is_plain(before.weights[node.inputs[1]]) or node.inputs[0] in after.weights:
        return False
    if node.attrs.get("transA", 0) or node.attrs.get("alpha", 1.0) != 1 or node.attrs.get("beta", 1.0) != 1:
        return False
    name = node.inputs[2] if len(node.inputs) > 2 else ""
    tensor = after.weights.get(name)
    return not name or (tensor is not None and is_plain(tensor) and len(tensor.shape) == 1)


def _means(graph: Graph, readers: Mapping[str, Node], data: Mapping[str, np.ndarray], progress: Progress | None) -> dict[str, np.ndarray]:
    """Value → float64[channels]: its mean per index of axis 1. ``readers``: a node that reads the value, of each."""
    sums: dict[str, np.ndarray] = {}
    counts: dict[str, int] = {}

    def add(name: str, array: np.ndarray) -> None:
        others = (0, *range(2, array.ndim))
        sums[name] = sums.get(name, 0) + array.sum(axis=others, dtype=np.float64)
        counts[name] = counts.get(name, 0) + array.size // max(array.shape[1], 1)

    observe(graph, {id(node): partial(add, name) for name, node in readers.items()}, data, progress)
    return {name: total / max(counts[name], 1) for name, total in sums.items()}


def _shift(node: Node, error: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """float64[output channels]: the error of the weight times the mean of what it is multiplied by."""
    if node.op == "Gemm":
        return np.asarray(error @ mean if node.attrs.get("transB", 0) else mean @ error)
    groups = node.attrs.get("group", 1)
    taps = error.sum(axis=tuple(range(2, error.ndim)))
    return np.asarray(np.einsum("goi,gi->go", taps.reshape(groups, len(taps) // groups, -1), mean.reshape(groups, -1)).ravel())
