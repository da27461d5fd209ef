"""One bit per weight."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import numpy as np

from ...formats.graph import Graph
from ...formats.tensor import Binary, EncodedTensor
from ._channels import channel_sums, stacked
from .encode import finite, with_weights


def binarize(graph: Graph, names: Collection[str]) -> Graph:
    """Keeps the signs of the named weights and one scale per output channel.

        w: [0.5, -1.5 | 0.2, 0.4]   ──►   w: 1.0 × [+, -] | 0.3 × [+, +]

    The scale is the mean of the channel's |w|, which for given signs minimises ‖w − scale · sign‖² (XNOR-Net, arXiv 1603.05279,
    section 3.1, equation 6). Absent positions of a sparse weight stay absent and do not count. Zero counts as positive.
    """
    return with_weights(graph, {name: binarize_tensor(name, graph.weights[name]) for name in names})


def binarize_tensor(name: str, tensor: EncodedTensor) -> EncodedTensor:
    """One weight with its held values as signs and scales; EncodingError if it is not finite."""
    held = finite(name, tensor.held_values())
    total = channel_sums(tensor, stacked(tensor, tensor.decode()))
    count = channel_sums(tensor, stacked(tensor, tensor.kept()))
    scale = total / np.maximum(count, 1)
    return replace(tensor, values=Binary((held >= 0).astype(np.uint8), scale.astype(np.float32)))
