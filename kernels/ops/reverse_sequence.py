"""ReverseSequence: the first ``sequence_lens[b]`` steps along ``time_axis`` of each sample b of ``batch_axis`` in reverse order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...formats.graph import Node
from ._check import need, positive_axis, text, want_dtype, want_rank, where
from ._flow import tie_same
from ._known import with_value
from ._op import Arg, Case, Op, OpError, Tie, Type


def _check_lengths(place: str, lengths: np.ndarray, steps: int) -> None:
    outside = lengths[(lengths < 0) | (lengths > steps)]
    if outside.size:
        raise OpError(f"{place} reverses {int(outside[0])} of {steps} steps")


def _infer(node: Node, attrs: Mapping[str, Any], args: Sequence[Type | None]) -> list[Type]:
    x, lengths = need(node, args, 0, "data"), need(node, args, 1, "lengths")
    want_rank(node, x, 2)
    want_dtype(node, lengths, ("int64",), "lengths")
    batch, time = (positive_axis(where(node), attrs[name], len(x.shape)) for name in ("batch_axis", "time_axis"))
    if batch == time:
        raise OpError(f"{where(node)} has the axis {time} for both the batch and time")
    if lengths.shape != (x.shape[batch],):
        raise OpError(f"{where(node)} has lengths of the shape {text(lengths.shape)}; it takes {x.shape[batch]} numbers")
    if lengths.value is not None:
        _check_lengths(where(node), lengths.value, x.shape[time])
    return [with_value(Type(x.dtype, x.shape), args, lambda *values: _run(attrs, *values))]


def _run(attrs: Mapping[str, Any], x: np.ndarray, lengths: np.ndarray) -> tuple[np.ndarray, ...]:
    axes = attrs["batch_axis"], attrs["time_axis"]
    moved = np.moveaxis(x, axes, (0, 1))
    _check_lengths("ReverseSequence", lengths, moved.shape[1])
    steps = np.arange(moved.shape[1])
    order = np.where(steps < lengths[:, None], lengths[:, None] - 1 - steps, steps)
    return (np.moveaxis(moved[np.arange(len(moved))[:, None], order], (0, 1), axes),)


def _flow(node: Node, attrs: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]], tie: Tie) -> None:
    """Features pass through."""
    rank = len(shapes[node.inputs[0]])
    fixed = {attrs["batch_axis"] % rank, attrs["time_axis"] % rank}
    tie_same(tie, node.inputs[0], node.outputs[0], (axis for axis in range(rank) if axis not in fixed))


def _case(name: str, x: Arg, lengths: Sequence[int], **attrs: int) -> Case:
    return Case(name, (x, Arg((len(lengths),), "int64", value=list(lengths))), attrs)


OP = Op("ReverseSequence", {"batch_axis": 1, "time_axis": 0}, (2, 2), _infer, _run, flow=_flow, cases=(
    _case("time_first", Arg((4, 3, 2)), (4, 1, 2)),
    _case("batch_first", Arg((3, 4, 2)), (0, 3, 4), batch_axis=0, time_axis=1),
    _case("int32", Arg((3, 2), "int32", -9, 9), (3, 2)),
))
