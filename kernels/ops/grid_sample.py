"""GridSample: the input [N, C, …] at the places that a grid [N, …, r] names, nearest, linear or cubic.

A place is r numbers from -1 to 1, the innermost axis first. What lies outside is zero, the border, or its mirror image.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...formats.graph import Node
from ._check import FLOATS, need, text, want_choice, want_dtype, want_rank, where
from ._dtype import widened
from ._interpolation import REACH, kernel_of, sampled, taps
from ._op import Arg, Case, Op, OpError, Tie, Type

MODES = ("nearest", "linear", "cubic")
PADDINGS = ("zeros", "border", "reflection")


def _infer(node: Node, attrs: Mapping[str, Any], args: Sequence[Type | None]) -> list[Type]:
    x, grid = need(node, args, 0, "data"), need(node, args, 1, "grid")
    want_rank(node, x, 3)
    want_dtype(node, grid, FLOATS, "grid")
    want_choice(node, attrs, "mode", MODES)
    want_choice(node, attrs, "padding_mode", PADDINGS)
    spatial = x.shape[2:]
    if len(grid.shape) != len(x.shape) or grid.shape[-1] != len(spatial) or grid.shape[0] != x.shape[0]:
        raise OpError(f"{where(node)} has a grid of the shape {text(grid.shape)} for data of the shape {text(x.shape)}; "
                      f"it takes one of {x.shape[0]} samples, {len(spatial)} axes and {len(spatial)} numbers for each place")
    if 0 in spatial and grid.size:
        raise OpError(f"{where(node)} samples images of {text(spatial)}, which hold nothing")
    return [Type(x.dtype, (*x.shape[:2], *grid.shape[1:-1]))]


def _run(attrs: Mapping[str, Any], x: np.ndarray, grid: np.ndarray) -> tuple[np.ndarray, ...]:
    spatial = x.shape[2:]
    (places,) = widened(grid)
    wide = x if attrs["mode"] == "nearest" else widened(x)[0] if x.dtype.kind == "f" else x.astype(np.float64)
    y = np.zeros((*x.shape[:2], int(np.prod(grid.shape[1:-1]))), wide.dtype)
    for n in range(len(x) if y.size else 0):
        at = places[n].reshape(-1, len(spatial))[:, ::-1]
        walks = [_walk(attrs, at[:, axis], length) for axis, length in enumerate(spatial)]
        y[n] = sampled(wide[n], *zip(*walks))
    return (y.reshape(*x.shape[:2], *grid.shape[1:-1]).astype(x.dtype, copy=False),)


def _walk(attrs: Mapping[str, Any], at: np.ndarray, length: int) -> tuple[np.ndarray, np.ndarray]:
    """(index, weights) [places, taps] along an axis of ``length`` at places given as numbers from -1 to 1."""
    corners, mode = bool(attrs["align_corners"]), attrs["mode"]
    places = (at + 1) / 2 * (length - 1) if corners else ((at + 1) * length - 1) / 2
    if mode == "nearest":
        places = np.rint(places)
    low, high = (0.0, length - 1.0) if corners else (-0.5, length - 0.5)
    outside = (places < low) | (places > high)
    if attrs["padding_mode"] == "border":
        places = np.where(outside, np.clip(places, 0, length - 1), places)
    elif attrs["padding_mode"] == "reflection":
        places = np.where(outside, _reflected(places, low, high), places)
    if mode == "nearest":
        index, weights = places.astype(np.int64)[:, None], np.ones((len(places), 1))
    else:
        index, weights = taps(places, kernel_of(mode), REACH[mode])
    if attrs["padding_mode"] == "border":
        index = np.clip(index, 0, length - 1)
    elif attrs["padding_mode"] == "reflection":
        index = np.clip(_reflected(index.astype(np.float64), low, high).astype(np.int64), 0, length - 1)
    return index, weights


def _reflected(places: np.ndarray, low: float, high: float) -> np.ndarray:
    """Mirrored at both borders until inside."""
    span = high - low
    if span == 0:
        return np.full_like(places, low)
    beyond = np.mod(places - low, 2 * span)
    return low + np.where(beyond > span, 2 * span - beyond, beyond)


def _flow(node: Node, attrs: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]], tie: Tie) -> None:
    """Channels pass through."""
    tie((node.inputs[0], 1), (node.outputs[0], 1))


def _case(name: str, x: Arg, grid: tuple[int, ...], dtype: str = "float32", **attrs: Any) -> Case:
    return Case(name, (x, Arg((x.shape[0], *grid, len(grid)), dtype, -1.4, 1.4)), attrs)


IMAGE, VOLUME = Arg((2, 3, 4, 5)), Arg((1, 2, 3, 4, 2))

OP = Op("GridSample", {"align_corners": 0, "mode": "linear", "padding_mode": "zeros"}, (2, 2), _infer, _run, flow=_flow, cases=(
    *(_case(f"{mode}_{padding}", IMAGE, (3, 4), mode=mode, padding_mode=padding) for mode in MODES for padding in PADDINGS),
    *(_case(f"{mode}_{padding}_corners", IMAGE, (3, 4), mode=mode, padding_mode=padding, align_corners=1)
      for mode in MODES for padding in PADDINGS),
    *(_case(f"volume_{mode}", VOLUME, (2, 3, 2), mode=mode) for mode in MODES),
    _case("volume_reflection", VOLUME, (2, 3, 2), padding_mode="reflection", align_corners=1),
    _case("line", Arg((1, 2, 5)), (4,)),
    _case("one_pixel", Arg((1, 2, 1, 1)), (2, 2), padding_mode="reflection", align_corners=1),
    _case("int32", Arg((1, 1, 4, 4), "int32", -99, 99), (3, 3)),
))
