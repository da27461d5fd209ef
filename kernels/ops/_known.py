"""Elements known at plan time, so that chains like Shape → Gather → Concat → Reshape resolve."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from ...formats.graph import Node
from ._op import Type

LIMIT = 1024
"""Values of more elements than this are not computed at plan time."""


def with_value(kind: Type, args: Sequence[Type | None], compute: Callable[..., tuple[np.ndarray, ...]]) -> Type:
    """``kind`` with its elements if all inputs (None: absent) are known and the result is small.

    ``compute`` takes the inputs' elements and returns a tuple whose first item is the result.
    """
    return with_values([kind], args, compute)[0]


def with_values(kinds: list[Type], args: Sequence[Type | None], compute: Callable[..., tuple[np.ndarray, ...]]) -> list[Type]:
    """As ``with_value``, for operators with several outputs: ``compute`` returns at least as many as there are ``kinds``."""
    if sum(kind.size for kind in kinds) > LIMIT or any(arg is not None and arg.value is None for arg in args):
        return kinds
    with np.errstate(all="ignore"):
        found = compute(*(None if arg is None else arg.value for arg in args))
    return [Type(kind.dtype, kind.shape, np.asarray(array, kind.dtype)) for kind, array in zip(kinds, found)]


def only_values(args: Sequence[Type | None], compute: Callable[..., tuple[np.ndarray, ...]]) -> list[Type]:
    """The outputs of an operator whose shapes depend on the elements: with all (small) inputs known their values, else nothing."""
    if any(arg is not None and (arg.value is None or arg.size > LIMIT) for arg in args):
        return []
    with np.errstate(all="ignore"):
        return [Type.of(np.asarray(array)) for array in compute(*(None if arg is None else arg.value for arg in args))]


def ints(arg: Type | None) -> tuple[int, ...] | None:
    """The elements of a 1-D or scalar integer input as Python integers; None where absent or not known yet."""
    if arg is None or arg.value is None:
        return None
    return tuple(int(item) for item in np.ravel(arg.value))


def known_ints(shapes: Mapping[str, tuple[int, ...]], node: Node, place: int) -> tuple[int, ...] | None:
    """The elements of the node's integer input ``place`` if a flow was given them (``_op.Shapes``), else None."""
    name = node.inputs[place] if place < len(node.inputs) else ""
    found = getattr(shapes, "known", {}).get(name)
    return None if found is None else tuple(int(item) for item in np.ravel(found))
