"""One weight for equal small constants."""

from __future__ import annotations

from dataclasses import replace

from ...formats.graph import Graph
from ._edit import renamed

MOST_INTEGERS = 16
"""Scalars and short integers (bounds, axes, shapes) are merged. Longer floats are a model's own weights: biases that are equal by
chance would hang channels of different layers together."""


def merge_constants(graph: Graph) -> Graph:
    """Nodes that read equal scalars or shapes read the same one::

        a → Clip ← 0.0, 6.0           a → Clip ← low, high
        b → Clip ← 0.0', 6.0'    =>   b → Clip ← low, high

    Exporters write a constant per use; each would cost its entry in the file and its row in every report.
    """
    results = {info.name for info in graph.outputs}
    first: dict[tuple[str, tuple[int, ...], bytes], str] = {}
    merged: dict[str, str] = {}
    for name, tensor in graph.weights.items():
        most = 1 if tensor.dtype.startswith("float") else MOST_INTEGERS
        if tensor.size <= most and name not in results:
            kept = first.setdefault((tensor.dtype, tensor.shape, tensor.decode().tobytes()), name)
            if kept != name:
                merged[name] = kept
    if not merged:
        return graph
    weights = {name: tensor for name, tensor in graph.weights.items() if name not in merged}
    return replace(renamed(graph, merged), weights=weights)
