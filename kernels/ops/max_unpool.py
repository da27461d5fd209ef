"""MaxUnpool: each element at the place that MaxPool's indices say, zeros elsewhere.

Indices count in the whole array as the pooling saw it; if ``output_shape`` is larger, that array is its corner.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

import numpy as np

from ...formats.graph import Node
from ._check import FLOATS, given, need, text, want_dtype, want_rank, where
from ._known import ints
from ._op import REQUIRED, Arg, Case, Op, OpError, Type


def _pooled_from(place: str, attrs: Mapping[str, Any], shape: Sequence[int]) -> tuple[int, ...]:
    """The shape that a pooling with these attributes makes ``shape`` of."""
    rank = len(shape) - 2
    kernel, strides, pads = attrs["kernel_shape"], attrs["strides"] or (1,) * rank, attrs["pads"] or (0,) * (2 * rank)
    if not len(kernel) == len(strides) == len(pads) / 2 == rank:
        raise OpError(f"{place} has the kernel_shape {tuple(kernel)}, strides {tuple(strides)} and pads {tuple(pads)}; "
                      f"its input has {rank} spatial axes")
    found = [(n - 1) * s - b - e + k for n, s, b, e, k in zip(shape[2:], strides, pads[:rank], pads[rank:], kernel)]
    if any(length < 0 for length in found):
        raise OpError(f"{place} would make spatial lengths of {tuple(found)}")
    return (*shape[:2], *found)


def _check_output(place: str, wanted: Sequence[int], inner: Sequence[int]) -> None:
    if len(wanted) != len(inner) or any(w < i for w, i in zip(wanted, inner)):
        raise OpError(f"{place} has the output_shape {tuple(wanted)}, which has no room for {text(inner)}")


def _infer(node: Node, attrs: Mapping[str, Any], args: Sequence[Type | None]) -> list[Type]:
    x, places, output = need(node, args, 0, "data"), need(node, args, 1, "indices"), given(args, 2)
    want_dtype(node, x, FLOATS)
    want_rank(node, x, 3)
    want_dtype(node, places, ("int64",), "indices")
    if places.shape != x.shape:
        raise OpError(f"{where(node)} has indices of the shape {text(places.shape)} for data of the shape {text(x.shape)}")
    inner = _pooled_from(where(node), attrs, x.shape)
    if output is None:
        return [Type(x.dtype, inner)]
    wanted = ints(output)
    if wanted is None:
        return []
    _check_output(where(node), wanted, inner)
    return [Type(x.dtype, wanted)]


def _run(attrs: Mapping[str, Any], x: np.ndarray, places: np.ndarray, output: np.ndarray | None = None) -> tuple[np.ndarray, ...]:
    inner = _pooled_from("MaxUnpool", attrs, x.shape)
    outside = places[(places < 0) | (places >= prod(inner))]
    if outside.size:
        raise OpError(f"MaxUnpool has the index {int(outside[0])}, but its output has {prod(inner)} elements")
    flat = np.zeros(prod(inner), x.dtype)
    flat[places.ravel()] = x.ravel()
    if output is None:
        return (flat.reshape(inner),)
    _check_output("MaxUnpool", output.tolist(), inner)
    y = np.zeros(output.tolist(), x.dtype)
    y[tuple(map(slice, inner))] = flat.reshape(inner)
    return (y,)


def _case(name: str, x: tuple[int, ...], places: Any, output: Sequence[int] | None = None, **attrs: Any) -> Case:
    wanted = () if output is None else (Arg((len(output),), "int64", value=list(output), constant=True),)
    return Case(name, (Arg(x), Arg(x, "int64", value=places), *wanted), attrs)


OP = Op("MaxUnpool", {"kernel_shape": REQUIRED, "pads": None, "strides": None}, (2, 3), _infer, _run, cases=(
    _case("image", (1, 1, 2, 2), [[[[5, 7], [13, 15]]]], kernel_shape=(2, 2), strides=(2, 2)),
    _case("larger", (1, 1, 2, 2), [[[[5, 7], [13, 15]]]], (1, 1, 5, 5), kernel_shape=(2, 2), strides=(2, 2)),
    _case("padded", (1, 2, 3), [[[0, 2, 3], [4, 6, 7]]], kernel_shape=(2,), strides=(2,), pads=(1, 1)),
))
