"""Transpose: the axes in the order ``perm``, reversed if it is not given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...formats.graph import Node
from ._check import need, where
from ._flow import tie_pairs
from ._known import with_value
from ._op import Arg, Case, Op, OpError, Tie, Type


def _perm(place: str, attrs: Mapping[str, Any], rank: int) -> tuple[int, ...]:
    if attrs["perm"] is None:
        return tuple(reversed(range(rank)))
    if sorted(attrs["perm"]) != list(range(rank)):
        raise OpError(f"{place} has perm {tuple(attrs['perm'])}; it takes each of the axes 0 to {rank - 1} once")
    return tuple(attrs["perm"])


def _infer(node: Node, attrs: Mapping[str, Any], args: Sequence[Type | None]) -> list[Type]:
    x = need(node, args, 0, "data")
    kind = Type(x.dtype, tuple(x.shape[axis] for axis in _perm(where(node), attrs, len(x.shape))))
    return [with_value(kind, [x], lambda value: _run(attrs, value))]


def _run(attrs: Mapping[str, Any], x: np.ndarray) -> tuple[np.ndarray, ...]:
    return (np.ascontiguousarray(x.transpose(_perm("Transpose", attrs, x.ndim))) if x.ndim else x,)


def _flow(node: Node, attrs: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]], tie: Tie) -> None:
    x = node.inputs[0]
    perm = _perm(where(node), attrs, len(shapes[x]))
    tie_pairs(tie, x, node.outputs[0], ((axis, place) for place, axis in enumerate(perm)))


OP = Op("Transpose", {"perm": None}, (1, 1), _infer, _run, flow=_flow, cases=(
    Case("reversed", (Arg((2, 3, 5)),)),
    Case("nhwc", (Arg((2, 3, 5, 7)),), {"perm": (0, 2, 3, 1)}),
    Case("matrix", (Arg((3, 7)),), {"perm": (1, 0)}),
    Case("unchanged", (Arg((3, 7)),), {"perm": (0, 1)}),
    Case("heads", (Arg((2, 5, 3, 4)),), {"perm": (0, 2, 1, 3)}),
    Case("volume", (Arg((2, 3, 2, 4, 3)),), {"perm": (4, 0, 3, 1, 2)}),
    Case("vector", (Arg((4,)),)),
    Case("int64", (Arg((2, 3), "int64", -9, 9),)),
    Case("to_nhwc", (Arg((1, 64, 56, 56)),), {"perm": (0, 2, 3, 1)}, bench=True),
))
