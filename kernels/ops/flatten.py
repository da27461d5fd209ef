"""Flatten: a matrix whose rows are the axes before ``axis`` and whose columns are the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

import numpy as np

from ...formats.graph import Node
from ._check import need, where
from ._flow import tie_blocks
from ._known import with_value
from ._op import Arg, Case, Op, OpError, Tie, Type


def _split(axis: int, rank: int, place: str) -> int:
    """Unlike elsewhere, ``axis`` may equal the rank."""
    if not -rank <= axis <= rank:
        raise OpError(f"{place} has the axis {axis}, but its input has {rank} dimensions")
    return axis + rank if axis < 0 else axis


def _infer(node: Node, attrs: Mapping[str, Any], args: Sequence[Type | None]) -> list[Type]:
    x = need(node, args, 0, "data")
    split = _split(attrs["axis"], len(x.shape), where(node))
    kind = Type(x.dtype, (prod(x.shape[:split]), prod(x.shape[split:])))
    return [with_value(kind, [x], lambda value: _run(attrs, value))]


def _run(attrs: Mapping[str, Any], x: np.ndarray) -> tuple[np.ndarray, ...]:
    split = _split(attrs["axis"], x.ndim, "Flatten")
    return (x.reshape(prod(x.shape[:split]), prod(x.shape[split:])),)


def _flow(node: Node, attrs: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]], tie: Tie) -> None:
    """Each index of the first axis of either part goes with its block; for images: channel c with its H·W columns."""
    shape = shapes[node.inputs[0]]
    split = _split(attrs["axis"], len(shape), where(node))
    for column, axes in enumerate((range(split), range(split, len(shape)))):
        tie_blocks(tie, (node.inputs[0], axes), [shape[axis] for axis in axes], (node.outputs[0], column))


OP = Op("Flatten", {"axis": 1}, (1, 1), _infer, _run, flow=_flow, cases=(
    Case("image", (Arg((2, 3, 5, 7)),)),
    Case("pooled", (Arg((1, 16, 1, 1)),)),
    Case("matrix", (Arg((3, 7)),)),
    Case("all_columns", (Arg((2, 3, 5)),), {"axis": 0}),
    Case("all_rows", (Arg((2, 3, 5)),), {"axis": 3}),
    Case("negative", (Arg((2, 3, 5, 7)),), {"axis": -2}),
    Case("vector", (Arg((7,)),)),
    Case("int64", (Arg((2, 2, 3), "int64", -9, 9),)),
))
