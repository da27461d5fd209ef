"""Half precision."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import numpy as np

from ...formats.graph import Graph
from ...formats.tensor import EncodedTensor, Plain
from .encode import EncodingError, with_weights

LARGEST = 65504.0
"""The largest float16."""


def halve(graph: Graph, names: Collection[str]) -> Graph:
    """Holds the values of the named weights as float16, rounded to nearest even; they still stand for their logical dtype.

        w: float32 [64, 32] × plain float32   ──►   w: float32 [64, 32] × plain float16

    Raises EncodingError if a finite value is too large for float16.
    """
    return with_weights(graph, {name: halve_tensor(name, graph.weights[name]) for name in names})


def halve_tensor(name: str, tensor: EncodedTensor) -> EncodedTensor:
    """One weight with its held values as float16."""
    values = tensor.held_values()
    with np.errstate(over="ignore"):
        half = values.astype(np.float16)
    if not np.array_equal(np.isinf(half), np.isinf(values)):
        worst = float(np.abs(values[np.isfinite(values)]).max())
        raise EncodingError(f"the weight {name!r} holds {worst:g}, but float16 goes to {LARGEST:g}; give it fp32 by an override")
    return replace(tensor, values=Plain(half))
