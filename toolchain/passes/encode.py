"""Chooses the coder of weights: how the writer squeezes them onto disk."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from ...formats.errors import ThinferError
from ...formats.graph import Graph
from ...formats.tensor import CoderChoice, EncodedTensor


class EncodingError(ThinferError, ValueError):
    """A weight cannot be represented as asked."""


def encode(graph: Graph, coders: Mapping[str, CoderChoice]) -> Graph:
    """Sets the coder of the weights named in ``coders``; nothing changes in memory.

        w: sparse × codebook 5 × raw   ──►   w: sparse × codebook 5 × huffman
    """
    return with_weights(graph, {name: graph.weights[name].with_coder(coder) for name, coder in coders.items()})


def with_weights(graph: Graph, changed: Mapping[str, EncodedTensor]) -> Graph:
    """The graph with some weights replaced, in their old places."""
    return replace(graph, weights={name: changed.get(name, tensor) for name, tensor in graph.weights.items()})


def finite(name: str, values: np.ndarray) -> np.ndarray:
    """``values``, if none is NaN or infinite; EncodingError otherwise."""
    if not np.isfinite(values).all():
        raise EncodingError(f"the weight {name!r} holds NaN or infinite values, which only plain fp32 can represent")
    return values
