"""What Loop and Scan share: the types of carried states, and the stacks of what each iteration gives."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ._op import BodyTypes, OpError, Type


def without_value(kind: Type | None) -> Type | None:
    """The type of what changes from one iteration to the next."""
    return None if kind is None else Type(kind.dtype, kind.shape)


def settled(body: BodyTypes, first: Sequence[Type | None], states: Sequence[Type | None], last: Sequence[Type | None],
            lead: int) -> tuple[list[Type | None], list[Type | None]]:
    """(types of the states that hold before and after every iteration, types of all outputs of the body under them).

    The body takes ``first``, states, ``last``; its states come after ``lead`` outputs. A state whose shape changes is unknown.
    """
    kinds = [without_value(kind) for kind in states]
    while True:
        made = body(*first, *kinds, *last)
        after = made[lead:lead + len(kinds)]
        changed = [k for k, (old, new) in enumerate(zip(kinds, after)) if old is not None and not _same(old, new)]
        if not changed:
            return kinds, made
        for k in changed:
            kinds[k] = None


def _same(a: Type, b: Type | None) -> bool:
    return b is not None and (a.dtype, a.shape) == (b.dtype, b.shape)


def stacked(place: str, parts: Sequence[np.ndarray], kind: Type | None, axis: int = 0, backward: bool = False) -> np.ndarray:
    """The parts along a new axis, last first if ``backward``; ``kind``: the type of a part, which matters where there is none."""
    if not parts:
        if kind is None:
            raise OpError(f"{place} makes no iteration, so that the shape of an output cannot be told")
        shape = list(kind.shape)
        shape.insert(new_axis(place, axis, len(shape)), 0)
        return np.zeros(shape, kind.dtype)
    found = {(part.shape, part.dtype) for part in parts}
    if len(found) > 1:
        shapes = " and ".join(sorted(str(shape) for shape, _ in found))
        raise OpError(f"{place} gives outputs of the shapes {shapes} in different iterations, which cannot be stacked")
    return np.stack(parts[::-1] if backward else parts, axis=new_axis(place, axis, parts[0].ndim))


def stacked_type(place: str, kind: Type | None, count: int | None, axis: int = 0) -> Type | None:
    """The type of ``stacked`` for ``count`` parts; None if either is unknown."""
    if kind is None or count is None:
        return None
    at = new_axis(place, axis, len(kind.shape))
    return Type(kind.dtype, (*kind.shape[:at], count, *kind.shape[at:]))


def new_axis(place: str, axis: int, rank: int) -> int:
    """Where the axis of iterations stands among ``rank`` others, from the front."""
    if not -rank - 1 <= axis <= rank:
        raise OpError(f"{place} has the scan axis {axis}, but what it stacks has {rank} dimensions")
    return axis % (rank + 1)
