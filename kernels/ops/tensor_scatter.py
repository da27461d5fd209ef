"""TensorScatter: a cache with an update written along ``axis``, for each sample from its own place on (around the end if circular)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...formats.graph import Node
from ._check import given, need, positive_axis, text, want_dtype, want_rank, want_same_dtype, where
from ._op import Arg, Case, Op, OpError, Type

MODES = ("linear", "circular")


def _infer(node: Node, attrs: Mapping[str, Any], args: Sequence[Type | None]) -> list[Type]:
    cache, update, starts = need(node, args, 0, "past cache"), need(node, args, 1, "update"), given(args, 2)
    place = where(node)
    want_rank(node, cache, 2, "cache")
    want_same_dtype(node, (cache, update))
    axis = positive_axis(place, attrs["axis"], len(cache.shape))
    if axis == 0:
        raise OpError(f"{place} writes along axis 0, which is the batch")
    if attrs["mode"] not in MODES:
        raise OpError(f"{place} has the mode {attrs['mode']!r}; it takes {', '.join(MODES)}")
    same = len(update.shape) == len(cache.shape) and all(
        u == c if k != axis else u <= c for k, (u, c) in enumerate(zip(update.shape, cache.shape)))
    if not same:
        raise OpError(f"{place} has an update of the shape {text(update.shape)} for a cache of the shape {text(cache.shape)}; "
                      f"only along axis {axis} it may be shorter")
    if starts is not None:
        want_dtype(node, starts, ("int64",), "write indices")
        if starts.shape != cache.shape[:1]:
            raise OpError(f"{place} has write indices of the shape {text(starts.shape)}; it takes one for each of {cache.shape[0]} samples")
    return [Type(cache.dtype, cache.shape)]


def _run(attrs: Mapping[str, Any], cache: np.ndarray, update: np.ndarray, starts: np.ndarray | None = None) -> tuple[np.ndarray, ...]:
    axis = positive_axis("TensorScatter", attrs["axis"], cache.ndim)
    length, count = cache.shape[axis], update.shape[axis]
    first = np.zeros(cache.shape[0], np.int64) if starts is None else starts
    if attrs["mode"] == "linear" and ((first < 0) | (first + count > length)).any():
        raise OpError(f"TensorScatter writes {count} steps from {first.tolist()} on into a cache of {length}")
    places = first[:, None] + np.arange(count)
    y = cache.copy()
    if count:
        at = np.moveaxis(y, axis, 1)  # a view: [samples, steps, ...]
        at[np.arange(len(first))[:, None], places % length] = np.moveaxis(update, axis, 1)
    return (y,)


def _case(name: str, cache: Arg, update: tuple[int, ...], starts: Sequence[int] | None = None, **attrs: Any) -> Case:
    places = () if starts is None else (Arg((len(starts),), "int64", value=list(starts)),)
    return Case(name, (cache, Arg(update, cache.dtype, cache.low, cache.high), *places), attrs)


OP = Op("TensorScatter", {"axis": -2, "mode": "linear"}, (2, 3), _infer, _run, cases=(
    _case("keys", Arg((2, 1, 4, 5)), (2, 1, 1, 5), (1, 2)),
    _case("prefill", Arg((2, 4, 3)), (2, 2, 3)),
    _case("around", Arg((2, 1, 4, 3)), (2, 1, 2, 3), (1, 3), mode="circular"),
    _case("last_axis", Arg((2, 3, 4), "int32", -9, 9), (2, 3, 3), (0, 1), axis=-1),
))
