"""DFT: the discrete Fourier transform along one axis, forward or inverse, of real [… , 1] or complex […, 2] numbers.

``onesided``: forward, of real numbers, only the first half of the spectrum; inverse, from such a half, real numbers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...formats.graph import Node
from ._check import FLOATS, INDICES, given, need, positive_axis, text, want_dtype, want_rank, where
from ._known import ints
from ._op import Arg, Case, Op, OpError, Type
from ._spectrum import as_complex, as_pairs


def _shape(place: str, attrs: Mapping[str, Any], shape: tuple[int, ...], axis: int, length: int | None) -> tuple[tuple[int, ...], int, int]:
    """The output's shape, the axis counted from the front, and the length of the transform. Raises OpError."""
    axis = positive_axis(place, axis, len(shape))
    if axis == len(shape) - 1:
        raise OpError(f"{place} has the axis {axis} of an input of the shape {text(shape)}; the last one holds real and imaginary parts")
    if shape[-1] not in (1, 2):
        raise OpError(f"{place} has an input of the shape {text(shape)}; its last length is 1 (real) or 2 (complex)")
    if attrs["onesided"] and not attrs["inverse"] and shape[-1] == 2:
        raise OpError(f"{place} is onesided, but its input of the shape {text(shape)} is complex; that takes real numbers")
    whole = 2 * (shape[axis] - 1) if attrs["inverse"] and attrs["onesided"] else shape[axis]
    found = whole if length is None else length
    if found < 1:
        raise OpError(f"{place} has the length {found}; it takes 1 or more")
    bins = found // 2 + 1 if attrs["onesided"] and not attrs["inverse"] else found
    parts = 1 if attrs["onesided"] and attrs["inverse"] else 2
    return (*shape[:axis], bins, *shape[axis + 1:-1], parts), axis, found


def _infer(node: Node, attrs: Mapping[str, Any], args: Sequence[Type | None]) -> list[Type]:
    x, length, axis = need(node, args, 0, "signal"), given(args, 1), given(args, 2)
    want_dtype(node, x, FLOATS)
    want_rank(node, x, 2)
    for kind, what in ((length, "dft_length"), (axis, "axis")):
        if kind is not None:
            want_dtype(node, kind, INDICES, what)
            if kind.size != 1:
                raise OpError(f"{where(node)} has a {what} of the shape {text(kind.shape)}; it takes one number")
    if (length is not None and length.value is None) or (axis is not None and axis.value is None):
        return []
    along, count = ints(axis) or (-2,), ints(length)
    shape, *_ = _shape(where(node), attrs, x.shape, along[0], count[0] if count else None)
    return [Type(x.dtype, shape)]


def _run(attrs: Mapping[str, Any], x: np.ndarray, length: np.ndarray | None = None, axis: np.ndarray | None = None) -> tuple[np.ndarray, ...]:
    _, along, count = _shape("DFT", attrs, x.shape, -2 if axis is None else int(axis.item()), None if length is None else int(length.item()))
    z = as_complex(x)
    if attrs["onesided"] and attrs["inverse"]:
        return (np.fft.irfft(z, count, axis=along)[..., None].astype(x.dtype),)
    transform = np.fft.ifft if attrs["inverse"] else np.fft.rfft if attrs["onesided"] else np.fft.fft
    return (as_pairs(transform(z, count, axis=along), x.dtype),)


def _case(name: str, x: tuple[int, ...], length: int | None = None, axis: int | None = None, **attrs: Any) -> Case:
    args = [Arg(x), *(Arg((), "int64", value=value, constant=True, absent=value is None) for value in (length, axis))]
    while args[-1].absent:
        args.pop()
    return Case(name, tuple(args), attrs)


OP = Op("DFT", {"inverse": 0, "onesided": 0}, (1, 3), _infer, _run, cases=(
    _case("real", (2, 10, 1)),
    _case("complex", (2, 9, 2)),
    _case("axis", (2, 5, 7, 1), axis=1),
    _case("negative_axis", (3, 5, 7, 2), axis=-4),
    _case("longer", (2, 10, 1), length=16),
    _case("shorter", (2, 10, 2), length=7, axis=1),
    _case("onesided", (2, 10, 1), onesided=1),
    _case("onesided_odd", (2, 3, 9, 1), axis=1, length=5, onesided=1),
    _case("inverse", (2, 10, 2), inverse=1),
    _case("inverse_of_real", (2, 10, 1), inverse=1),
    _case("inverse_onesided", (2, 6, 2), inverse=1, onesided=1),
    _case("inverse_onesided_odd", (2, 6, 2), inverse=1, onesided=1, length=11),
))
