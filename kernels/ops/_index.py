"""Index tensors: negative ones count from the end, what lies outside is an error that names the node."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ._check import text
from ._op import OpError


def checked(place: str, indices: np.ndarray, length: int, what: str = "its axis") -> np.ndarray:
    """``indices`` counted from the front. Raises OpError (NumPy would say the same, but without the node) if one is outside."""
    outside = indices[(indices < -length) | (indices >= length)]
    if outside.size:
        raise OpError(f"{place} has the index {int(outside.flat[0])}, but {what} has the length {length}")
    return np.where(indices < 0, indices + length, indices)


def along(axis: int, indices: np.ndarray) -> tuple[Any, ...]:
    """What to index an array with so that element (i, j, k) of the result comes from (i, indices[i, j, k], k), for axis 1."""
    found: list[Any] = list(np.ogrid[tuple(map(slice, indices.shape))])
    found[axis] = indices
    return tuple(found)


def tuples(place: str, indices: np.ndarray, shape: Sequence[int], batch: int = 0) -> tuple[np.ndarray, ...]:
    """What to index an array of ``shape`` with to pick a block per row of ``indices`` [..., k]; the first ``batch`` axes are common."""
    count = indices.shape[-1]
    picked = [checked(place, indices[..., k], shape[batch + k], f"axis {batch + k}") for k in range(count)]
    common = np.ogrid[tuple(map(slice, indices.shape[:-1]))][:batch]
    return (*common, *picked)


def tuples_fit(place: str, indices: Sequence[int], shape: Sequence[int], batch: int = 0) -> tuple[int, ...]:
    """The shape that indexing with ``tuples`` gives. Raises OpError where index and data shapes do not go together."""
    if not indices or not 0 <= batch < min(len(indices), len(shape)):
        raise OpError(f"{place} has data of {len(shape)} and indices of {len(indices)} dimensions, "
                      f"{batch} of them common; both need at least one more")
    if not 1 <= indices[-1] <= len(shape) - batch:
        raise OpError(f"{place} has indices of {indices[-1]} numbers each; its data takes 1 to {len(shape) - batch}")
    if tuple(indices[:batch]) != tuple(shape[:batch]):
        raise OpError(f"{place} has indices of the shape {text(indices)} for data of the shape {text(shape)}; "
                      f"the first {batch} lengths must be equal")
    return (*indices[:-1], *shape[batch + indices[-1]:])


def check_reach(place: str, what: str, inner: Sequence[int], outer: Sequence[int], axis: int) -> None:
    """OpError if ``inner`` has another rank than ``outer``, or is longer along another axis than ``axis``."""
    if len(inner) != len(outer) or any(a > b for k, (a, b) in enumerate(zip(inner, outer)) if k != axis):
        raise OpError(f"{place} has {what} of the shape {text(inner)} for data of the shape {text(outer)}; "
                      f"along axes other than {axis} they may not be longer")
