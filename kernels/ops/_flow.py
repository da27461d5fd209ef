"""Ties that many operators share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import prod
from typing import Any

import numpy as np

from ...formats.graph import Node
from ._op import Tie


def tie_pairs(tie: Tie, a: str, b: str, pairs: Iterable[tuple[int, int]]) -> None:
    """Ties axis i of ``a`` to axis j of ``b``, for each (i, j)."""
    for i, j in pairs:
        tie((a, i), (b, j))


def tie_same(tie: Tie, a: str, b: str, axes: Iterable[int]) -> None:
    """Ties the same axes of two values."""
    tie_pairs(tie, a, b, ((axis, axis) for axis in axes))


def same_everywhere(node: Node, attrs: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]], tie: Tie) -> None:
    """The flow of operators that work on each element alone: every axis of the first input goes to that of each output."""
    for output in filter(None, node.outputs):
        tie_same(tie, node.inputs[0], output, range(len(shapes[node.inputs[0]])))


def batch_and_channels(node: Node, attrs: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]], tie: Tie) -> None:
    """The flow of poolings: axes 0 and 1 pass through, the spatial ones do not.

    Places in the whole input (MaxPool's second output) would change with every channel, so that where they are asked for
    nothing may go.
    """
    if not any(node.outputs[1:]):
        tie_same(tie, node.inputs[0], node.outputs[0], (0, 1))


def tie_blocks(tie: Tie, parts: tuple[str, Sequence[int]], lengths: Sequence[int], whole: tuple[str, int]) -> None:
    """Ties the axes of ``parts`` (a value and adjacent axes of it, of ``lengths``) to the one axis that they make when merged.

    Index i of the first axis longer than 1 is tied to its positions in the merged axis, as a Flatten's channels are to their
    blocks of H·W; the axes after it are left alone, since tying a second one would tie everything to everything.
    """
    name, axes = parts
    lead = next((k for k, length in enumerate(lengths) if length != 1), None)
    if lead is None:
        if axes:
            tie((name, axes[0]), whole)
        return
    block = prod(lengths[lead + 1:])
    if block == 1:
        tie((name, axes[lead]), whole)
        return
    tie((name, axes[lead]), whole, np.repeat(np.arange(lengths[lead]), block), np.arange(lengths[lead] * block))
