"""Pad: elements added before and after each axis (or removed, where a number is negative): a constant, or taken from the input."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...formats.graph import Node
from ._check import given, need, positive_axis, text, want_same_dtype, where
from ._flow import tie_same
from ._known import ints, known_ints, with_value
from ._op import Arg, Case, Op, OpError, Tie, Type

MODES = ("constant", "reflect", "edge", "wrap")


def widths_of(place: str, rank: int, pads: Sequence[int], axes: Sequence[int] | None) -> list[tuple[int, int]]:
    """(before, after) for every axis of the input."""
    named = list(range(rank)) if axes is None else [positive_axis(place, axis, rank) for axis in axes]
    if len(pads) != 2 * len(named) or len(set(named)) < len(named):
        raise OpError(f"{place} has {len(pads)} pads for the axes {tuple(named)}; it takes two for each, all begins before all ends")
    found = [(0, 0)] * rank
    for place_of, axis in enumerate(named):
        found[axis] = (pads[place_of], pads[place_of + len(named)])
    return found


def _infer(node: Node, attrs: Mapping[str, Any], args: Sequence[Type | None]) -> list[Type]:
    x, pads, axes = need(node, args, 0, "data"), need(node, args, 1, "pads"), given(args, 3)
    value = given(args, 2)
    if attrs["mode"] not in MODES:
        raise OpError(f"{where(node)} has the mode {attrs['mode']!r}; it takes {', '.join(MODES)}")
    want_same_dtype(node, (x, value))
    if value is not None and value.size != 1:
        raise OpError(f"{where(node)} has a constant value of the shape {text(value.shape)}; it takes a scalar")
    given_pads = ints(pads)
    if given_pads is None or (axes is not None and axes.value is None):
        return []
    widths = widths_of(where(node), len(x.shape), given_pads, ints(axes))
    _check_widths(where(node), attrs["mode"], x.shape, widths)
    kind = Type(x.dtype, tuple(length + before + after for length, (before, after) in zip(x.shape, widths)))
    return [with_value(kind, args, lambda *values: _run(attrs, *values))]


def _check_widths(place: str, mode: str, shape: Sequence[int], widths: Sequence[tuple[int, int]]) -> None:
    for axis, (length, (before, after)) in enumerate(zip(shape, widths)):
        left = length + min(before, 0) + min(after, 0)
        if left < 0:
            raise OpError(f"{place} removes {-min(before, 0) - min(after, 0)} of the {length} elements along axis {axis}")
        limit = max(left - 1, 0) if mode == "reflect" else 0 if left == 0 else None
        if mode != "constant" and limit is not None and max(before, after) > limit:
            raise OpError(f"{place} adds {max(before, after)} elements along axis {axis}, "
                          f"where mode {mode} can take at most {limit} from the input")


def source(mode: str, length: int, width: tuple[int, int]) -> np.ndarray:
    """int64[new]: the element along an axis that each new one is, in the modes that take from the input."""
    before, after = width
    kept = np.arange(max(-before, 0), length - max(-after, 0))
    return np.pad(kept, (max(before, 0), max(after, 0)), mode=mode) if max(width) > 0 else kept  # type: ignore[call-overload]


def _run(attrs: Mapping[str, Any], x: np.ndarray, pads: np.ndarray, value: np.ndarray | None = None,
         axes: np.ndarray | None = None) -> tuple[np.ndarray, ...]:
    named = None if axes is None else [int(axis) for axis in axes.ravel()]
    widths = widths_of("Pad", x.ndim, [int(width) for width in pads.ravel()], named)
    _check_widths("Pad", attrs["mode"], x.shape, widths)
    if attrs["mode"] != "constant":
        return (x[np.ix_(*(source(attrs["mode"], length, width) for length, width in zip(x.shape, widths)))],)
    kept = x[tuple(slice(max(-before, 0), length - max(-after, 0)) for length, (before, after) in zip(x.shape, widths))]
    added = [(max(before, 0), max(after, 0)) for before, after in widths]
    return (np.pad(kept, added, constant_values=0 if value is None else value.reshape(()).astype(x.dtype)),)


def _flow(node: Node, attrs: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]], tie: Tie) -> None:
    """Axes that are not padded pass through. Equal lengths would not tell: an axis may be padded in front and cropped behind."""
    x, y = node.inputs[0], node.outputs[0]
    rank = len(shapes[x])
    pads, axes = known_ints(shapes, node, 1), known_ints(shapes, node, 3)
    if pads is None or (axes is None and len(node.inputs) > 3 and node.inputs[3]):
        return
    tie_same(tie, x, y, (axis for axis, width in enumerate(widths_of(where(node), rank, pads, axes)) if width == (0, 0)))


def _case(name: str, x: tuple[int, ...], pads: Sequence[int], value: float | None = None, axes: Sequence[int] | None = None,
          mode: str = "constant") -> Case:
    args = [Arg(x), Arg((len(pads),), "int64", value=list(pads), constant=True)]
    if value is not None or axes is not None:
        args.append(Arg(absent=True) if value is None else Arg((), value=value, constant=True))
    if axes is not None:
        args.append(Arg((len(axes),), "int64", value=list(axes), constant=True))
    return Case(name, tuple(args), {"mode": mode} if mode != "constant" else {})


OP = Op("Pad", {"mode": "constant"}, (2, 4), _infer, _run, flow=_flow, cases=(
    _case("image", (2, 3, 5, 7), (0, 0, 1, 1, 0, 0, 1, 1)),
    _case("asymmetric", (1, 3, 5, 4), (0, 0, 0, 2, 0, 0, 1, 3)),
    _case("value", (3, 4), (1, 0, 2, 1), value=1.5),
    _case("axes", (1, 2, 4, 5), (1, 2, 3, 0), axes=(3, -2)),
    _case("axes_value", (2, 4), (1, 2), value=-2, axes=(1,)),
    _case("cropped", (5, 6), (-1, 0, -2, -1)),
    _case("cropped_and_padded", (5, 6), (-1, 2, 1, -3), value=0.5),
    _case("reflect", (1, 2, 5, 6), (0, 0, 2, 1, 0, 0, 3, 2), mode="reflect"),
    _case("edge", (1, 2, 3, 4), (0, 0, 2, 1, 0, 0, 0, 5), mode="edge"),
    _case("wrap", (1, 2, 3, 4), (0, 0, 2, 1, 0, 0, 1, 3), mode="wrap"),
    _case("nothing", (2, 3), (0, 0, 0, 0)),
))
