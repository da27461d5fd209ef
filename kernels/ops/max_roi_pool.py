"""MaxRoiPool: the maximum of each bin of regions of the input [N, C, H, W]. (Girshick 2015, Fast R-CNN.)

``rois`` [R, 5] are image, x1, y1, x2, y2 before scaling, rounded to whole pixels. A bin that holds no pixel is 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...formats.graph import Node
from ._check import FLOATS, need, text, want_dtype, want_rank, want_same_dtype, where
from ._index import checked
from ._op import REQUIRED, Arg, Case, Op, OpError, Type
from .roi_align import channels_only


def _infer(node: Node, attrs: Mapping[str, Any], args: Sequence[Type | None]) -> list[Type]:
    x, rois = need(node, args, 0, "data"), need(node, args, 1, "regions")
    want_dtype(node, x, FLOATS)
    want_same_dtype(node, (x, rois))
    want_rank(node, x, 4, most=4)
    if len(rois.shape) != 2 or rois.shape[1] != 5:
        raise OpError(f"{where(node)} has regions of the shape {text(rois.shape)}; it takes five numbers for each")
    if len(attrs["pooled_shape"]) != 2 or min(attrs["pooled_shape"]) < 1:
        raise OpError(f"{where(node)} has pooled_shape {tuple(attrs['pooled_shape'])}; it takes 2 numbers of 1 or more")
    return [Type(x.dtype, (rois.shape[0], x.shape[1], *attrs["pooled_shape"]))]


def _run(attrs: Mapping[str, Any], x: np.ndarray, rois: np.ndarray) -> tuple[np.ndarray, ...]:
    y = np.zeros((len(rois), x.shape[1], *attrs["pooled_shape"]), x.dtype)
    images = checked("MaxRoiPool", rois[:, 0].astype(np.int64), len(x), "the batch")
    scaled = rois[:, 1:] * rois.dtype.type(attrs["spatial_scale"])
    corners = np.copysign(np.floor(np.abs(scaled) + 0.5), scaled).astype(np.int64)
    for k, (image, (x1, y1, x2, y2)) in enumerate(zip(images, corners.tolist())):
        rows, columns = (_bins(low, high, count, length) for low, high, count, length in
                         zip((y1, x1), (y2, x2), attrs["pooled_shape"], x.shape[2:]))
        for i, row in enumerate(rows):
            for j, column in enumerate(columns):
                pixels = x[image, :, row, column]
                if pixels.size:
                    y[k, :, i, j] = pixels.max((1, 2))
    return (y,)


def _bins(low: int, high: int, count: int, length: int) -> list[slice]:
    """The pixels of each bin along one axis; neighbours may share one."""
    extent = max(high - low + 1, 1)
    edges = [(low + k * extent // count, low - (-(k + 1) * extent // count)) for k in range(count)]
    return [slice(min(max(start, 0), length), min(max(stop, 0), length)) for start, stop in edges]


ROIS = [[0, 0, 0, 9, 9], [1, 0, 5, 4, 9], [0, 5.25, 5.5, 8.5, 9], [1, 2, 2, 2, 2], [0, -3, 4, 20, 7]]

OP = Op("MaxRoiPool", {"pooled_shape": REQUIRED, "spatial_scale": 1.0}, (2, 2), _infer, _run, flow=channels_only, cases=(
    Case("bins", (Arg((2, 3, 10, 10)), Arg((5, 5), value=ROIS)), {"pooled_shape": (3, 2)}),
    Case("scaled", (Arg((2, 3, 10, 10)), Arg((5, 5), value=ROIS)), {"pooled_shape": (2, 4), "spatial_scale": 0.5}),
))
