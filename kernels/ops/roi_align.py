"""RoiAlign: regions of the input [N, C, H, W] as equal grids of bins, each the mean (or maximum) of points sampled between pixels.

``rois`` [R, 4] are x1, y1, x2, y2 before scaling, ``batch_indices`` [R] name their images. (He et al. 2017, Mask R-CNN.)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...formats.graph import Node
from ._check import FLOATS, need, text, want_choice, want_dtype, want_rank, want_same_dtype, where
from ._dtype import widened
from ._index import checked
from ._op import Arg, Case, Op, OpError, Tie, Type

Walk = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]
"""Points along an axis: the pixels before and after each, and their weights."""


def _infer(node: Node, attrs: Mapping[str, Any], args: Sequence[Type | None]) -> list[Type]:
    x, rois, batch = need(node, args, 0, "data"), need(node, args, 1, "regions"), need(node, args, 2, "batch indices")
    want_dtype(node, x, FLOATS)
    want_same_dtype(node, (x, rois))
    want_rank(node, x, 4, most=4)
    want_dtype(node, batch, ("int64",), "batch indices")
    want_choice(node, attrs, "mode", ("avg", "max"))
    want_choice(node, attrs, "coordinate_transformation_mode", ("half_pixel", "output_half_pixel"))
    if len(rois.shape) != 2 or rois.shape[1] != 4 or batch.shape != rois.shape[:1]:
        raise OpError(f"{where(node)} has regions of the shape {text(rois.shape)} with batch indices of the shape {text(batch.shape)}; "
                      "it takes four numbers and one index for each")
    if attrs["output_height"] < 1 or attrs["output_width"] < 1 or attrs["sampling_ratio"] < 0:
        raise OpError(f"{where(node)} has an output of {attrs['output_height']}x{attrs['output_width']} bins and the sampling_ratio "
                      f"{attrs['sampling_ratio']}; it takes 1 or more bins, and a ratio of 0 or more")
    if batch.value is not None:
        checked(where(node), batch.value, x.shape[0], "the batch")
    return [Type(x.dtype, (rois.shape[0], x.shape[1], attrs["output_height"], attrs["output_width"]))]


def _run(attrs: Mapping[str, Any], x: np.ndarray, rois: np.ndarray, batch: np.ndarray) -> tuple[np.ndarray, ...]:
    wide, regions = widened(x, rois)
    bins = attrs["output_height"], attrs["output_width"]
    images = checked("RoiAlign", batch, len(x), "the batch")
    y = np.zeros((len(rois), x.shape[1], *bins), wide.dtype)
    for k, (image, (x1, y1, x2, y2)) in enumerate(zip(images, regions)):
        down, across = (_walk(attrs, low, high, count, length)
                        for low, high, count, length in zip((y1, x1), (y2, x2), bins, x.shape[2:]))
        if down[0].size and across[0].size:
            y[k] = _pooled(attrs["mode"], wide[image], down, across, bins)
    return (y.astype(x.dtype, copy=False),)


def _walk(attrs: Mapping[str, Any], low: np.floating[Any], high: np.floating[Any], bins: int, length: int) -> Walk:
    """The points along one axis, those of one bin after those of the one before. Points off the image by more than a pixel count as 0."""
    half_pixel = attrs["coordinate_transformation_mode"] == "half_pixel"
    scale, offset = type(low)(attrs["spatial_scale"]), type(low)(0.5 if half_pixel else 0)
    start = low * scale - offset
    extent = high * scale - offset - start
    if not half_pixel:
        extent = max(extent, type(low)(1))
    each = attrs["sampling_ratio"] or max(int(np.ceil(extent / bins)), 0)
    at = start + (np.repeat(np.arange(bins), each) + (np.tile(np.arange(each), bins) + 0.5) / max(each, 1)) * (extent / bins)
    inside = (at >= -1) & (at <= length)
    at = np.clip(at, 0, length - 1)
    before = np.floor(at).astype(np.int64)
    share = at - before
    return before, np.minimum(before + 1, length - 1), np.where(inside, 1 - share, 0).astype(low.dtype), np.where(inside, share, 0).astype(low.dtype)


def _pooled(mode: str, image: np.ndarray, down: Walk, across: Walk, bins: tuple[int, int]) -> np.ndarray:
    """The bins [C, height, width]. As onnxruntime does, the maximum goes over the weighted pixels around the points."""
    corners = [image[:, down[row][:, None], across[column]] * down[row + 2][:, None] * across[column + 2]
               for row in (0, 1) for column in (0, 1)]
    points = np.add.reduce(corners) if mode == "avg" else np.maximum.reduce(corners)
    shape = (len(image), bins[0], -1, bins[1], len(across[0]) // bins[1])
    found: np.ndarray = points.reshape(shape).mean((2, 4)) if mode == "avg" else points.reshape(shape).max((2, 4))
    return found


def channels_only(node: Node, attrs: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]], tie: Tie) -> None:
    """The flow of poolings of regions: channels pass through."""
    tie((node.inputs[0], 1), (node.outputs[0], 1))


ATTRIBUTES = {"coordinate_transformation_mode": "half_pixel", "mode": "avg", "output_height": 1, "output_width": 1, "sampling_ratio": 0,
              "spatial_scale": 1.0}
ROIS = [[0, 0, 9, 9], [0, 5, 4, 9.5], [5.25, 5.5, 9, 9], [-3, 2, 12, 3]]


def _case(name: str, **attrs: Any) -> Case:
    return Case(name, (Arg((2, 3, 10, 10)), Arg((4, 4), value=ROIS), Arg((4,), "int64", value=[0, 1, 0, 1])), attrs)


OP = Op("RoiAlign", ATTRIBUTES, (3, 3), _infer, _run, flow=channels_only, cases=(
    _case("mean", output_height=5, output_width=4, sampling_ratio=2),
    _case("adaptive", output_height=2, output_width=3),
    _case("old", output_height=3, output_width=3, sampling_ratio=2, coordinate_transformation_mode="output_half_pixel"),
    _case("maximum", output_height=3, output_width=2, sampling_ratio=3, mode="max"),
    _case("scaled", output_height=2, output_width=2, spatial_scale=0.5),
    _case("one_bin"),
))
