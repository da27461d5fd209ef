"""Passes: pure functions from graph to graph. What they do is drawn in their docstrings; ``clean`` follows every import."""

from __future__ import annotations

from ...formats.graph import Graph
from .canonicalize import canonicalize, drop_identities
from .dead_code import dead_code
from .fold_batchnorm import fold_batchnorm
from .fold_constants import fold_constants
from .merge_constants import merge_constants
from .prune_channels import prune_channels, zero_channels

__all__ = ["canonicalize", "clean", "dead_code", "drop_identities", "fold_batchnorm", "fold_constants",
           "merge_constants", "prune_channels", "zero_channels"]


def clean(graph: Graph) -> Graph:
    """What needs no decision: constants computed, one spelling for one thing, nothing left that no output needs.

    Nodes that training or pruning wants to see (BatchNormalization, Dropout) stay.
    """
    return merge_constants(dead_code(canonicalize(fold_constants(graph))))
