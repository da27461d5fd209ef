"""Resize: an array of any rank with some axes made longer or shorter, by scales or to sizes; nearest, linear or cubic.

Each axis is resized alone, one after another, since the kernels of all modes are products over axes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...formats.graph import Node
from ._check import FLOATS, given, need, want_choice, want_dtype, want_rank, where
from ._flow import tie_same
from ._op import Arg, Case, Gone, Op, OpError, Tie, Type
from ._resize import COORDINATES, MODES, POLICIES, ROUNDINGS, Stretch, numbers, stretches

ATTRIBUTES = {"antialias": 0, "axes": None, "coordinate_transformation_mode": "half_pixel", "cubic_coeff_a": -0.75, "exclude_outside": 0,
              "extrapolation_value": 0.0, "keep_aspect_ratio_policy": "stretch", "mode": "nearest", "nearest_mode": "round_prefer_floor"}


def _infer(node: Node, attrs: Mapping[str, Any], args: Sequence[Type | None]) -> list[Type]:
    x = need(node, args, 0, "data")
    for name, valid in (("mode", MODES), ("coordinate_transformation_mode", COORDINATES), ("nearest_mode", tuple(ROUNDINGS)),
                        ("keep_aspect_ratio_policy", POLICIES)):
        want_choice(node, attrs, name, valid)
    if attrs["mode"] == "nearest" and attrs["antialias"]:
        raise OpError(f"{where(node)} has antialias, which the mode nearest cannot have")
    if attrs["mode"] != "nearest" and x.dtype == "bool":
        raise OpError(f"{where(node)} has the mode {attrs['mode']!r} for bool, which has nothing between false and true")
    places = [given(args, place) for place in (1, 2, 3)]
    for kind, what, dtypes in zip(places, ("region", "scales", "sizes"), (FLOATS, FLOATS, ("int64",))):
        if kind is not None:
            want_dtype(node, kind, dtypes, what)
            want_rank(node, kind, 1, f"{what}'", 1)
    if attrs["coordinate_transformation_mode"] != "tf_crop_and_resize":
        places[0] = None  # the region means nothing
    if any(kind is not None and kind.value is None and kind.size for kind in places):
        return []
    found = stretches(where(node), attrs, x.shape, *numbers(*(None if kind is None or not kind.size else kind.value for kind in places)))
    return [Type(x.dtype, tuple(found[axis].new if axis in found else length for axis, length in enumerate(x.shape)))]


def _run(attrs: Mapping[str, Any], x: np.ndarray, roi: np.ndarray | None = None, scales: np.ndarray | None = None,
         sizes: np.ndarray | None = None) -> tuple[np.ndarray, ...]:
    found = stretches("Resize", attrs, x.shape, *numbers(roi, scales, sizes))
    y = x if attrs["mode"] == "nearest" or x.dtype == np.float64 else x.astype(np.float64 if x.dtype.kind in "iu" else np.float32)
    outside = np.zeros((1,) * x.ndim, bool)
    for axis, stretch in found.items():
        y = _resized(y, axis, stretch, attrs)
        if attrs["coordinate_transformation_mode"] == "tf_crop_and_resize":
            places = stretch.places("tf_crop_and_resize")
            gone = (places < 0) | (places > stretch.length - 1)
            outside = outside | gone.reshape(-1, *(1,) * (x.ndim - axis - 1))
    if outside.any():
        y = np.where(outside, np.asarray(attrs["extrapolation_value"], y.dtype), y)
    return (_back(y, x.dtype),)


def _resized(x: np.ndarray, axis: int, stretch: Stretch, attrs: Mapping[str, Any]) -> np.ndarray:
    if stretch.same:
        return x
    index, weights = stretch.taps(attrs)
    index = index.astype(np.intp)
    if attrs["mode"] == "nearest":
        return np.take(x, index[:, 0], axis)
    total = np.zeros((*x.shape[:axis], stretch.new, *x.shape[axis + 1:]), x.dtype)
    for tap in range(index.shape[1]):
        weight = weights[:, tap].astype(x.dtype).reshape(-1, *(1,) * (x.ndim - axis - 1))
        total += np.where(weight == 0, 0, np.take(x, index[:, tap], axis)) * weight  # what does not count may be infinite
    return total


def _back(y: np.ndarray, dtype: np.dtype[Any]) -> np.ndarray:
    """In the input's dtype: integers rounded to the nearest (half to even) and kept in range."""
    if dtype.kind in "iu" and y.dtype != dtype:
        info = np.iinfo(dtype)
        return np.clip(np.rint(y), info.min, info.max).astype(dtype)
    return np.ascontiguousarray(y.astype(dtype, copy=False))


def _flow(node: Node, attrs: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]], tie: Tie) -> None:
    """Axes that are not named, or stay as they are, pass through."""
    x, y = node.inputs[0], node.outputs[0]
    fixed = set(_named(attrs, len(shapes[x])))
    if attrs["coordinate_transformation_mode"] != "tf_crop_and_resize" and attrs["keep_aspect_ratio_policy"] == "stretch":
        for place, same in ((2, lambda number, axis: number == 1), (3, lambda number, axis: number == shapes[x][axis])):
            numbers = getattr(shapes, "known", {}).get(node.inputs[place] if place < len(node.inputs) else "")
            if numbers is not None:
                fixed -= {axis for axis, number in zip(_named(attrs, len(shapes[x])), numbers.tolist()) if same(number, axis)}
    tie_same(tie, x, y, (axis for axis in range(len(shapes[x])) if axis not in fixed))


def _named(attrs: Mapping[str, Any], rank: int) -> list[int]:
    return list(range(rank)) if attrs["axes"] is None else [axis % rank for axis in attrs["axes"]]


def _resize_constants(attrs: Mapping[str, Any], constants: Mapping[int, np.ndarray], outputs: Sequence[tuple[int, ...]],
                      gone: Gone) -> dict[int, np.ndarray]:
    """The sizes after channels were removed."""
    if 3 not in constants:
        return {}
    return {3: np.array([outputs[0][axis] for axis in _named(attrs, len(outputs[0]))], np.int64)}


def _case(name: str, x: Arg, scales: Sequence[float] | None = None, sizes: Sequence[int] | None = None, roi: Sequence[float] | None = None,
          bench: bool = False, **attrs: Any) -> Case:
    args = [x, *(Arg(absent=True) if values is None else Arg((len(values),), dtype, value=list(values), constant=True)
                 for values, dtype in ((roi, "float32"), (scales, "float32"), (sizes, "int64")))]
    while args[-1].absent:
        args.pop()
    return Case(name, tuple(args), attrs, bench)


IMAGE = Arg((1, 2, 4, 5))
UP, DOWN = (1.0, 1.0, 2.0, 1.5), (1.0, 1.0, 0.75, 0.6)

OP = Op("Resize", ATTRIBUTES, (1, 4), _infer, _run, flow=_flow, resize_constants=_resize_constants, cases=(
    _case("doubled", IMAGE, (1, 1, 2, 2), coordinate_transformation_mode="asymmetric", nearest_mode="floor"),
    _case("nearest", IMAGE, UP),
    _case("nearest_down", IMAGE, DOWN),
    *(_case(f"nearest_{rounding}", IMAGE, (1, 1, 1.5, 3.25), nearest_mode=rounding, coordinate_transformation_mode="asymmetric")
      for rounding in ROUNDINGS),
    *(_case(f"linear_{mode}", IMAGE, UP, mode="linear", coordinate_transformation_mode=mode) for mode in COORDINATES[:-1]),
    *(_case(f"cubic_{mode}", IMAGE, DOWN, mode="cubic", coordinate_transformation_mode=mode) for mode in COORDINATES[:-1]),
    _case("linear_sizes", IMAGE, sizes=(1, 2, 7, 3), mode="linear"),
    _case("cubic_a", IMAGE, UP, mode="cubic", cubic_coeff_a=-0.5),
    _case("cubic_excluding", IMAGE, UP, mode="cubic", exclude_outside=1),
    _case("linear_antialias", Arg((1, 1, 7, 9)), (1, 1, 0.4, 0.6), mode="linear", antialias=1),
    _case("cubic_antialias_excluding", Arg((1, 1, 9, 7)), (1, 1, 0.35, 1.5), mode="cubic", antialias=1, exclude_outside=1),
    _case("crop", IMAGE, sizes=(1, 2, 3, 3), roi=(0, 0, 0.4, 0.6, 1, 1, 1.2, 1.7), mode="linear", extrapolation_value=10.0,
          coordinate_transformation_mode="tf_crop_and_resize"),
    _case("crop_nearest", IMAGE, sizes=(3, 1), roi=(0.25, 0.1, 0.75, 0.6), axes=(2, 3), coordinate_transformation_mode="tf_crop_and_resize"),
    _case("axes", IMAGE, (1.5, 2), axes=(-1, 2), mode="linear"),
    _case("not_larger", IMAGE, sizes=(7, 6), axes=(2, 3), keep_aspect_ratio_policy="not_larger", mode="linear"),
    _case("not_smaller", IMAGE, sizes=(7, 6), axes=(2, 3), keep_aspect_ratio_policy="not_smaller"),
    _case("line", Arg((2, 3, 5)), (1, 1, 2.5), mode="linear"),
    _case("volume", Arg((1, 1, 3, 2, 4)), (1, 1, 2, 1.5, 0.5), mode="linear"),
    _case("channels_too", Arg((1, 2, 3)), (2, 1.5, 2), mode="cubic"),
    _case("uint8", Arg((1, 1, 3, 3), "uint8", 0, 255), (1, 1, 2, 2), mode="cubic"),
    _case("int32_nearest", Arg((1, 1, 3, 3), "int32", -9, 9), (1, 1, 2, 1)),
    _case("same", IMAGE, (1, 1, 1, 1), mode="linear"),
    _case("segmentation", Arg((1, 21, 33, 33)), sizes=(1, 21, 257, 257), mode="linear", bench=True),
    _case("unet", Arg((1, 64, 28, 28)), (1, 1, 2, 2), coordinate_transformation_mode="asymmetric", nearest_mode="floor", bench=True),
))
