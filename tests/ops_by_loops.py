"""Poolings and padding as explicit loops over their definitions, for corners where onnx's evaluator or torch cannot serve."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from math import ceil
from typing import Any

import numpy as np


def geometry(attrs: Mapping[str, Any], spatial: Sequence[int]) -> tuple[list[int], list[int], list[int], list[int], list[int]]:
    """(begin, end, strides, dilations, output lengths) by the formulas of the ONNX operator documentation."""
    rank, kernel = len(spatial), attrs["kernel_shape"]
    strides, dilations = attrs.get("strides") or [1] * rank, attrs.get("dilations") or [1] * rank
    mode = attrs.get("auto_pad", "NOTSET")
    begin, end, out = [], [], []
    for axis, length in enumerate(spatial):
        reach = (kernel[axis] - 1) * dilations[axis] + 1
        if mode.startswith("SAME"):
            count = ceil(length / strides[axis])
            total = max((count - 1) * strides[axis] + reach - length, 0)
            small = total // 2
            begin.append(small if mode == "SAME_UPPER" else total - small)
        else:
            pads = attrs.get("pads") or [0] * (2 * rank)
            begin.append(pads[axis] if mode == "NOTSET" else 0)
            total = begin[axis] + pads[axis + rank] if mode == "NOTSET" else 0
            exact = (length + total - reach) / strides[axis] + 1
            count = int(ceil(exact) if attrs.get("ceil_mode") else exact // 1)
            if attrs.get("ceil_mode") and (count - 1) * strides[axis] >= length + begin[axis]:
                count -= 1
        end.append(total - begin[axis])
        out.append(count)
    return begin, end, list(strides), list(dilations), out


def pool(x: np.ndarray, attrs: Mapping[str, Any], average: bool) -> tuple[np.ndarray, np.ndarray]:
    """(result, indices of the largest elements); indices mean nothing for averages."""
    spatial = x.shape[2:]
    begin, end, strides, dilations, out = geometry(attrs, spatial)
    y = np.zeros((*x.shape[:2], *out), x.dtype)
    indices = np.zeros(y.shape, np.int64)
    order = "F" if attrs.get("storage_order") else "C"
    for n, c in product(*map(range, x.shape[:2])):
        for position in product(*map(range, out)):
            inside, counted = [], 0
            for tap in product(*map(range, attrs["kernel_shape"])):
                place = tuple(p * s - b + t * d for p, s, b, t, d in zip(position, strides, begin, tap, dilations))
                counted += all(-b <= i < length + e for i, b, e, length in zip(place, begin, end, spatial))
                if all(0 <= i < length for i, length in zip(place, spatial)):
                    inside.append(place)
            values = [x[(n, c, *place)] for place in inside]
            if average:
                y[(n, c, *position)] = sum(values) / (counted if attrs.get("count_include_pad") else len(values))
            else:
                best = int(np.argmax(values))
                y[(n, c, *position)] = values[best]
                offset = int(np.ravel_multi_index(inside[best], spatial, order=order))
                indices[(n, c, *position)] = (n * x.shape[1] + c) * int(np.prod(spatial)) + offset
    return y, indices


def pad(x: np.ndarray, pads: Sequence[int], value: float) -> np.ndarray:
    """Constant padding, negative pads crop: element by element."""
    rank = x.ndim
    y = np.full([n + pads[a] + pads[a + rank] for a, n in enumerate(x.shape)], value, x.dtype)
    for place in product(*map(range, y.shape)):
        source = tuple(p - pads[a] for a, p in enumerate(place))
        if all(0 <= s < n for s, n in zip(source, x.shape)):
            y[place] = x[source]
    return y
