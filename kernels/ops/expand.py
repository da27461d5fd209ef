"""Expand: the input broadcast together with a shape; a 1 in the shape leaves the input's length."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...formats.graph import Node
from ._broadcast import broadcast, tie_broadcast
from ._check import need, want_dtype, want_rank, where
from ._known import ints, with_value
from ._op import Arg, Case, Gone, Op, OpError, Tie, Type


def _target(place: str, shape: tuple[int, ...], wanted: Sequence[int]) -> tuple[int, ...]:
    if any(length < 0 for length in wanted):
        raise OpError(f"{place} expands to {tuple(wanted)}; lengths are 0 or more")
    return broadcast(place, (shape, tuple(wanted)))


def _infer(node: Node, attrs: Mapping[str, Any], args: Sequence[Type | None]) -> list[Type]:
    x, shape = need(node, args, 0, "data"), need(node, args, 1, "shape")
    want_dtype(node, shape, ("int64",), "shape")
    want_rank(node, shape, 1, "shape's", 1)
    wanted = ints(shape)
    if wanted is None:
        return []
    return [with_value(Type(x.dtype, _target(where(node), x.shape, wanted)), args, lambda *values: _run(attrs, *values))]


def _run(attrs: Mapping[str, Any], x: np.ndarray, shape: np.ndarray) -> tuple[np.ndarray, ...]:
    return (np.broadcast_to(x, _target("Expand", x.shape, [int(length) for length in shape])).copy(),)


def _flow(node: Node, attrs: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]], tie: Tie) -> None:
    x, y = node.inputs[0], node.outputs[0]
    tie_broadcast(tie, x, shapes[x], y, shapes[y])


def _resize_constants(attrs: Mapping[str, Any], constants: Mapping[int, np.ndarray], outputs: Sequence[tuple[int, ...]],
                      gone: Gone) -> dict[int, np.ndarray]:
    """The shape after channels were removed; a 1 stays."""
    old = constants[1]
    new = outputs[0][len(outputs[0]) - old.size:]
    return {1: np.array([1 if length == 1 else left for length, left in zip(old.tolist(), new)], old.dtype)}


def _case(name: str, x: Arg, *shape: int) -> Case:
    return Case(name, (x, Arg((len(shape),), "int64", value=list(shape), constant=True)))


OP = Op("Expand", {}, (2, 2), _infer, _run, flow=_flow, resize_constants=_resize_constants, cases=(
    _case("token", Arg((1, 1, 5)), 3, 1, 5),
    _case("kept", Arg((3, 1)), 3, 4),
    _case("longer", Arg((3, 1)), 2, 1, 6),
    _case("shorter", Arg((2, 3, 1)), 1, 4),
    _case("image", Arg((1, 4, 1, 1)), 2, 4, 3, 3),
    _case("scalar", Arg(()), 2, 2),
    _case("to_nothing", Arg((1, 3)), 0, 1),
    _case("nothing", Arg((2,), "int64", value=[3, 4])),
    _case("bool", Arg((1, 2), "bool"), 2, 2),
))
