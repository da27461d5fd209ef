"""Compress: the slices along ``axis`` (without one: the elements) whose condition is true; what the condition does not reach is left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...formats.graph import Node
from ._check import need, positive_axis, want_dtype, want_rank, where
from ._flow import tie_same
from ._known import with_value
from ._op import Arg, Case, Op, OpError, Tie, Type


def _picked(place: str, condition: np.ndarray, length: int) -> np.ndarray:
    found = np.flatnonzero(condition)
    if found.size and found[-1] >= length:
        raise OpError(f"{place} picks the index {int(found[-1])} from an axis of the length {length}")
    return found


def _infer(node: Node, attrs: Mapping[str, Any], args: Sequence[Type | None]) -> list[Type]:
    x, condition = need(node, args, 0, "data"), need(node, args, 1, "condition")
    want_rank(node, x, 1)
    want_dtype(node, condition, ("bool",), "condition")
    want_rank(node, condition, 1, "condition's", 1)
    axis = None if attrs["axis"] is None else positive_axis(where(node), attrs["axis"], len(x.shape))
    if condition.value is None:
        return []
    count = _picked(where(node), condition.value, x.size if axis is None else x.shape[axis]).size
    shape = (count,) if axis is None else (*x.shape[:axis], count, *x.shape[axis + 1:])
    return [with_value(Type(x.dtype, shape), args, lambda *values: _run(attrs, *values))]


def _run(attrs: Mapping[str, Any], x: np.ndarray, condition: np.ndarray) -> tuple[np.ndarray, ...]:
    axis = attrs["axis"]
    data, axis = (x.ravel(), 0) if axis is None else (x, positive_axis("Compress", axis, x.ndim))
    return (np.take(data, _picked("Compress", condition, data.shape[axis]).astype(np.intp), axis),)


def _flow(node: Node, attrs: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]], tie: Tie) -> None:
    """The other axes pass through."""
    if attrs["axis"] is not None:
        rank = len(shapes[node.inputs[0]])
        tie_same(tie, node.inputs[0], node.outputs[0], (axis for axis in range(rank) if axis != attrs["axis"] % rank))


def _case(name: str, x: Arg, condition: Sequence[int], **attrs: int) -> Case:
    return Case(name, (x, Arg((len(condition),), "bool", value=list(map(bool, condition)), constant=True)), attrs)


OP = Op("Compress", {"axis": None}, (2, 2), _infer, _run, flow=_flow, cases=(
    _case("rows", Arg((3, 2)), (0, 1, 1), axis=0),
    _case("columns", Arg((3, 4)), (0, 1, 0, 1), axis=1),
    _case("negative_short", Arg((2, 3, 4), "int32", -9, 9), (1, 0, 1), axis=-1),
    _case("flat", Arg((3, 2)), (0, 1, 0, 0, 1)),
    _case("nothing", Arg((3, 2)), (0, 0), axis=0),
))
