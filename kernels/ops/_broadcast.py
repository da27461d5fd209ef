"""Multidirectional broadcasting: shapes and flow."""

from __future__ import annotations

from collections.abc import Sequence

from ._check import text
from ._op import OpError, Tie


def broadcast(place: str, shapes: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
    """The common shape. Raises OpError, which names the node by ``place``, if there is none."""
    rank = max(map(len, shapes))
    padded = [(1,) * (rank - len(shape)) + tuple(shape) for shape in shapes]
    found = []
    for lengths in zip(*padded):
        wide = {length for length in lengths if length != 1}
        if len(wide) > 1:
            raise OpError(f"{place} has inputs of the shapes {' and '.join(map(text, shapes))}, which do not broadcast")
        found.append(wide.pop() if wide else 1)
    return tuple(found)


def tie_broadcast(tie: Tie, name: str, shape: Sequence[int], output: str, out_shape: Sequence[int]) -> None:
    """Ties the axes that an input fully spans to those of the output. An axis that is stretched from 1 stays unmentioned."""
    offset = len(out_shape) - len(shape)
    for axis, length in enumerate(shape):
        if length == out_shape[axis + offset]:
            tie((name, axis), (output, axis + offset))
