"""Where: ``x`` where the condition is true, else ``y``, all three broadcast."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...formats.graph import Node
from ._broadcast import broadcast, tie_broadcast
from ._check import need, want_dtype, want_same_dtype, where
from ._known import with_value
from ._op import Arg, Case, Op, Tie, Type


def _infer(node: Node, attrs: Mapping[str, Any], args: Sequence[Type | None]) -> list[Type]:
    condition, x, y = need(node, args, 0, "condition"), need(node, args, 1, "first choice"), need(node, args, 2, "second choice")
    want_dtype(node, condition, ("bool",), "condition")
    want_same_dtype(node, (x, y))
    kind = Type(x.dtype, broadcast(where(node), (condition.shape, x.shape, y.shape)))
    return [with_value(kind, args, lambda *values: _run(attrs, *values))]


def _run(attrs: Mapping[str, Any], condition: np.ndarray, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, ...]:
    return (np.where(condition, x, y),)


def _flow(node: Node, attrs: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]], tie: Tie) -> None:
    output = node.outputs[0]
    for value in node.inputs:
        tie_broadcast(tie, value, shapes[value], output, shapes[output])


def _case(name: str, condition: Arg, x: Arg, y: Arg) -> Case:
    return Case(name, (condition, x, y))


OP = Op("Where", {}, (3, 3), _infer, _run, flow=_flow, cases=(
    _case("same", Arg((3, 5), "bool"), Arg((3, 5)), Arg((3, 5))),
    _case("masked", Arg((2, 1, 4, 4), "bool"), Arg((2, 3, 4, 4)), Arg((), value=-1e9)),
    _case("stretched", Arg((3, 1), "bool"), Arg((1, 4)), Arg((2, 1, 1))),
    _case("int64", Arg((4,), "bool"), Arg((4,), "int64", -9, 9), Arg((4,), "int64", -9, 9)),
    _case("bool", Arg((2, 2), "bool"), Arg((2, 2), "bool"), Arg((2,), "bool")),
    _case("scalars", Arg((), "bool"), Arg(()), Arg(())),
))
