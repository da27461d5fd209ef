"""Range: ``start, start + delta, …`` below limit (above it where delta is negative); float16 is computed as ``stash_type`` says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil
from typing import Any

import numpy as np

from ...formats.graph import Node
from ._cast import CODE_OF_DTYPE, dtype_of
from ._check import FLOATS, need, text, want_choice, want_dtype, want_same_dtype, where
from ._known import LIMIT
from ._op import Arg, Case, Op, OpError, Type

DTYPES = (*FLOATS, "int16", "int32", "int64")
MOST = 2**40
"""Elements that no machine has memory for."""
STASHES = tuple(CODE_OF_DTYPE[dtype] for dtype in FLOATS)


def _infer(node: Node, attrs: Mapping[str, Any], args: Sequence[Type | None]) -> list[Type]:
    ends = [need(node, args, place, what) for place, what in enumerate(("start", "limit", "delta"))]
    want_same_dtype(node, ends)
    want_dtype(node, ends[0], DTYPES)
    want_choice(node, attrs, "stash_type", STASHES)
    for end in ends:
        if end.size != 1:
            raise OpError(f"{where(node)} has an input of the shape {text(end.shape)}; it takes scalars")
    values = [end.value for end in ends if end.value is not None]
    if len(values) < 3:
        return []
    count = _count(where(node), attrs, *values)
    return [Type.of(_run(attrs, *values)[0]) if count <= LIMIT else Type(ends[0].dtype, (count,))]


def _wide(attrs: Mapping[str, Any], value: np.ndarray) -> np.ndarray:
    """A scalar in the dtype that is computed in."""
    return value.reshape(()).astype(dtype_of("Range", attrs["stash_type"])) if value.dtype == np.float16 else value.reshape(())


def _count(place: str, attrs: Mapping[str, Any], start: np.ndarray, limit: np.ndarray, delta: np.ndarray) -> int:
    """The number of elements."""
    first, last, step = (_wide(attrs, value) for value in (start, limit, delta))
    if step == 0 or not np.isfinite([first, last, step]).all():
        raise OpError(f"{place} goes from {first} to {last} by {step}, which has no number of elements")
    exact = ceil(float(last - first) / float(step)) if first.dtype.kind == "f" else -((int(first) - int(last)) // int(step))
    count = max(exact, 0)
    if count > MOST:
        raise OpError(f"{place} goes from {first} to {last} by {step}, which are {count} elements; it makes at most {MOST}")
    return count


def _run(attrs: Mapping[str, Any], start: np.ndarray, limit: np.ndarray, delta: np.ndarray) -> tuple[np.ndarray, ...]:
    places = np.arange(_count("Range", attrs, start, limit, delta))
    first, step = _wide(attrs, start), _wide(attrs, delta)
    return ((first + places.astype(first.dtype) * step).astype(start.dtype),)


def _case(name: str, dtype: str, *ends: float, constant: bool = True, **attrs: Any) -> Case:
    return Case(name, tuple(Arg((), dtype, value=end, constant=constant) for end in ends), attrs)


OP = Op("Range", {"stash_type": 1}, (3, 3), _infer, _run, (
    _case("int64", "int64", 3, 9, 3),
    _case("down", "int32", 10, 4, -2),
    _case("float32", "float32", 1, 5, 0.75),
    _case("float16", "float16", 2, 64, 0.5),
    _case("nothing", "int64", 5, 5, 1),
    _case("backwards", "float64", 1, 5, -1),
    _case("int16", "int16", -3, 8, 2),
    _case("from_data", "int64", 0, 7, 2, constant=False),
))
