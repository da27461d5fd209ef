"""Checks that several operators share. ``where`` is how messages name the node: ``Conv node 'features.0'``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ...formats.graph import Node
from ._op import OpError, Type

FLOATS = ("float32", "float16", "float64")
SIGNED = (*FLOATS, "int8", "int16", "int32", "int64")
NUMBERS = (*SIGNED, "uint8", "uint16", "uint32", "uint64")
INTEGERS = tuple(name for name in NUMBERS if name not in FLOATS)
INDICES = ("int32", "int64")


def where(node: Node) -> str:
    """How messages name the node."""
    return f"{node.op} node {node.name or next(filter(None, node.outputs), '')!r}"


def text(shape: Sequence[int]) -> str:
    """A shape as people read it: ``1x3x224x224``, ``()`` for a scalar."""
    return "x".join(map(str, shape)) if len(shape) else "()"


def given(args: Sequence[Type | None], place: int) -> Type | None:
    """An optional input, or None where it is absent."""
    return args[place] if place < len(args) else None


def need(node: Node, args: Sequence[Type | None], place: int, what: str) -> Type:
    """An input that must be there."""
    found = given(args, place)
    if found is None:
        raise OpError(f"{where(node)} lacks its input {place}, the {what}")
    return found


def want_dtype(node: Node, kind: Type, valid: Sequence[str], what: str = "input") -> None:
    """OpError unless the dtype is one of ``valid``."""
    if kind.dtype not in valid:
        raise OpError(f"{where(node)} got {kind.dtype} as its {what}; it takes {', '.join(valid)}")


def want_same_dtype(node: Node, kinds: Sequence[Type | None]) -> None:
    """OpError unless all inputs that are there have one dtype."""
    found = list(dict.fromkeys(kind.dtype for kind in kinds if kind is not None))
    if len(found) > 1:
        raise OpError(f"{where(node)} mixes {' and '.join(found)}; its inputs must have one dtype")


def want_choice(node: Node, attrs: Mapping[str, Any], attribute: str, valid: Sequence[Any]) -> None:
    """OpError unless the attribute is one of ``valid``."""
    if attrs[attribute] not in valid:
        raise OpError(f"{where(node)} has {attribute} {attrs[attribute]!r}; it takes {', '.join(map(repr, valid))}")


def want_rank(node: Node, kind: Type, least: int, what: str = "input", most: int | None = None) -> None:
    """OpError unless the rank lies in [least, most] (no upper bound if None)."""
    rank = len(kind.shape)
    if rank < least or (most is not None and rank > most):
        wants = f"{least} or more" if most is None else str(least) if most == least else f"{least} to {most}"
        raise OpError(f"{where(node)} has the {what} shape {text(kind.shape)} of {rank} dimensions; it takes {wants}")


def positive_axis(place: str, axis: int, rank: int) -> int:
    """``axis`` counted from the front. Raises OpError if there is no such axis; ``place`` names the node."""
    if not -rank <= axis < rank:
        raise OpError(f"{place} has the axis {axis}, but its input has {rank} dimensions")
    return axis % rank


def positive_axes(place: str, axes: Sequence[int], rank: int) -> tuple[int, ...]:
    """``axes`` counted from the front, in order. Raises OpError if one is out of range or stands twice."""
    found = sorted(positive_axis(place, int(axis), rank) for axis in axes)
    if len(set(found)) < len(found):
        raise OpError(f"{place} names an axis twice in {tuple(int(axis) for axis in axes)}")
    return tuple(found)
