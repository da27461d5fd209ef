"""If: the outputs of one of two subgraphs, which read what they need from the graphs around them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...formats.graph import Node
from ._check import need, want_dtype, where
from ._op import REQUIRED, Body, BodyTypes, Op, OpError, Type

BRANCHES = ("else_branch", "then_branch")


def _infer(node: Node, attrs: Mapping[str, Any], args: Sequence[Type | None], bodies: Mapping[str, BodyTypes]) -> list[Type | None]:
    condition = need(node, args, 0, "condition")
    want_dtype(node, condition, ("bool",), "condition")
    if condition.size != 1:
        raise OpError(f"{where(node)} has a condition of {condition.size} elements; it takes one")
    counts = {key: len(bodies[key].outputs) for key in BRANCHES}
    if any(count != len(node.outputs) for count in counts.values()):
        raise OpError(f"{where(node)} has {len(node.outputs)} outputs; its branches give {counts['then_branch']} and {counts['else_branch']}")
    if condition.value is not None:
        return bodies[BRANCHES[bool(condition.value.item())]]()
    return [_either(a, b) for a, b in zip(*(_types_of(bodies[key]) for key in BRANCHES))]


def _types_of(branch: BodyTypes) -> Sequence[Type | None]:
    """The types that a branch gives. Where its shapes contradict each other nothing is known: a run takes the other one, as in a model
    for 8 kHz beside one for 16 kHz, or will say what is wrong."""
    try:
        return branch()
    except OpError:
        return [None] * len(branch.outputs)


def _either(a: Type | None, b: Type | None) -> Type | None:
    """What is known of a value that is of one type or the other."""
    if a is None or b is None or (a.dtype, a.shape) != (b.dtype, b.shape):
        return None
    return Type(a.dtype, a.shape)


def _run(attrs: Mapping[str, Any], condition: np.ndarray, bodies: Mapping[str, Body]) -> tuple[np.ndarray, ...]:
    return bodies[BRANCHES[bool(condition.item())]]()


OP = Op("If", {"then_branch": REQUIRED, "else_branch": REQUIRED}, (1, 1), _infer, _run, bodies=True, cases=())
