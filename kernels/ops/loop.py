"""Loop: a subgraph run again and again, its states carried from one iteration to the next, other outputs stacked.

The subgraph takes (number of the iteration, condition, states) and gives (condition, states, what is stacked).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...formats.graph import Node
from ._check import given, want_dtype, where
from ._op import REQUIRED, VARIADIC, Body, BodyTypes, Op, OpError, Type
from ._states import settled, stacked, stacked_type


def _infer(node: Node, attrs: Mapping[str, Any], args: Sequence[Type | None], bodies: Mapping[str, BodyTypes]) -> list[Type | None]:
    trips, condition, states, body = given(args, 0), given(args, 1), args[2:], bodies["body"]
    for kind, dtype, what in ((trips, "int64", "trip count"), (condition, "bool", "condition")):
        if kind is not None:
            want_dtype(node, kind, (dtype,), what)
            if kind.size != 1:
                raise OpError(f"{where(node)} has a {what} of {kind.size} elements; it takes one")
    if len(body.outputs) != len(node.outputs) + 1 or len(body.outputs) < len(states) + 1:
        raise OpError(f"{where(node)} has {len(states)} states and {len(node.outputs)} outputs; its body gives {len(body.outputs)}, "
                      "which should be the condition, the states and what is stacked")
    kept = Type.of(np.array(True))
    first = (Type("int64", ()), kept if condition is None or _is(condition, True) else Type("bool", ()))
    kinds, made = settled(body, first, states, (), 1)
    count = None
    if condition is not None and _is(condition, False):
        count = 0
    elif trips is not None and trips.value is not None and _is(made[0], True) and _is(first[1], True):
        count = max(int(trips.value.item()), 0)
    return [*kinds, *(stacked_type(where(node), kind, count) for kind in made[1 + len(states):])]


def _is(kind: Type | None, wanted: bool) -> bool:
    """Whether the condition is known to be ``wanted``."""
    return kind is not None and kind.value is not None and bool(kind.value.item()) == wanted


def _run(attrs: Mapping[str, Any], trips: np.ndarray | None = None, condition: np.ndarray | None = None, *states: np.ndarray,
         bodies: Mapping[str, Body]) -> tuple[np.ndarray, ...]:
    body, carried = bodies["body"], states
    count = None if trips is None else int(trips.item())
    going = condition is None or bool(condition.item())
    stacks: list[list[np.ndarray]] = [[] for _ in body.outputs[1 + len(states):]]
    done = 0
    while going and (count is None or done < count):
        again, *made = body(np.array(done, np.int64), np.array(going), *carried)
        carried, going = tuple(made[:len(states)]), bool(again.item())
        for stack, part in zip(stacks, made[len(states):]):
            stack.append(part)
        done += 1
    kinds = _parts(body, states) if not done and stacks else [None] * len(stacks)
    return (*carried, *(stacked("Loop", stack, kind) for stack, kind in zip(stacks, kinds)))


def _parts(body: Body, states: Sequence[np.ndarray]) -> list[Type | None]:
    """The types of what an iteration would give to be stacked."""
    made = body.types(Type("int64", ()), Type("bool", ()), *(Type(state.dtype.name, state.shape) for state in states))
    return made[1 + len(states):]


OP = Op("Loop", {"body": REQUIRED}, (2, VARIADIC), _infer, _run, bodies=True, cases=())
