"""Passes: pure functions from graph to graph. What they do is drawn in their docstrings; ``clean`` follows every import."""

from __future__ import annotations

from ...formats.graph import Graph
from .canonicalize import canonicalize, drop_identities
from .dead_code import dead_code
from .fold_batchnorm import fold_batchnorm
from .fold_constants import fold_constants
from .inline_branches import inline_branches
from .integer_weights import integer_weights
from .merge_constants import merge_constants
from .prune_channels import prune_channels, zero_channels
from .quantized_values import quantized_values

__all__ = ["canonicalize", "clean", "dead_code", "drop_identities", "fold_batchnorm", "fold_constants",
           "inline_branches", "integer_weights", "merge_constants", "prune_channels", "quantized_values", "zero_channels"]


def clean(graph: Graph) -> Graph:
    """What needs no decision: constants computed, one spelling for one thing, nothing left that no output needs.

    Nodes that training or pruning wants to see (BatchNormalization, Dropout) stay.
    """
    # Before folding, which would make floats of them.
    graph = integer_weights(graph)
    # Folding tells conditions, and what a branch makes in the open can be folded.
    graph = fold_constants(inline_branches(fold_constants(graph)))
    # Before nodes are spelled one way: then products are products again.
    graph = quantized_values(graph)
    return merge_constants(dead_code(canonicalize(graph)))
