"""Which nodes Numba runs, and how: one function per operator that gives what runs a node, or None where NumPy does.

A runner takes the node's activations (NumPy arrays by position; constants are None) and returns its output. Everything is float32, in
the graph's order of axes. Weights come packed (rows.py), small constants (biases) by value.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any

import numpy as np

from ...formats.tensor import EncodedTensor
from ..lowering import Site
from ..ops._window import Window, window
from . import products, windows
from .rows import Order, Rows, plan

Pack = Callable[[EncodedTensor], np.ndarray]
Packed = Callable[[int, str, Pack], np.ndarray]
"""(constant input, layout, pack) → the packed weight, shared by all plans."""
Runner = Callable[[Sequence["np.ndarray | None"]], np.ndarray]

FEW_ROWS = 8
"""Products with at most so many rows of x are dot products; with more, x is transposed and rows of W run along it."""
STRIP = 1 << 20
"""Bytes of patches that lie in memory at a time."""


class Weight:
    """An encoded weight of a node, ready to be multiplied with."""

    def __init__(self, layout: Rows, packed: np.ndarray, bias: np.ndarray) -> None:
        self.layout, self.packed, self.bias = layout, packed, bias
        self._arrays = layout.views(packed)

    def columns(self, x: np.ndarray, y: np.ndarray, first: int = 0, last: int | None = None, at: int = 0) -> None:
        """y[first:last, at:at + P] = W[first:last] x + bias. x [K, P], y [outputs, at + P or more]."""
        kernel = products.dense_columns if self.layout.is_dense else products.sparse_columns
        kernel(*self._arrays, self.layout.bits, self.layout.block, first, self.layout.outputs if last is None else last, x, self.bias, y, at)

    def rows(self, x: np.ndarray, y: np.ndarray) -> None:
        """y = x Wᵀ + bias. x [R, K], y [R, outputs]."""
        if len(x) > FEW_ROWS:
            turned = np.empty((self.layout.outputs, len(x)), np.float32)
            self.columns(np.ascontiguousarray(x.T), turned)
            y[:] = turned.T
        else:
            kernel = products.dense_rows if self.layout.is_dense else products.sparse_rows
            kernel(*self._arrays, self.layout.bits, self.layout.block, 0, self.layout.outputs, x, self.bias, y)


def _weight(site: Site, order: Order, packed: Packed, bias: np.ndarray | None) -> Weight | None:
    layout = plan(site.weights[1], order) if 1 in site.weights and 0 not in site.weights else None
    if layout is None:
        return None
    return Weight(layout, packed(1, layout.name, layout.pack), np.zeros(layout.outputs, np.float32) if bias is None else bias)


def _bias(site: Site, i: int, outputs: int) -> tuple[np.ndarray | None, bool]:
    """(input ``i`` as float32[outputs] or None if it is absent, whether it is known and one number per output)."""
    if i >= len(site.inputs) or site.inputs[i] is None:
        return None, True
    bias = site.constant(i)
    if bias is None or prod(bias.shape[:-1]) != 1:
        return None, False
    return np.ascontiguousarray(np.broadcast_to(bias.reshape(-1), (outputs,)), np.float32), True


def _gemm(site: Site, packed: Packed) -> Runner | None:
    """alpha · x Wᵀ + beta · C. A C of one number per output is the product's bias, any other is added afterwards."""
    shape, alpha, beta = site.outputs[0].shape, np.float32(site.attrs["alpha"]), np.float32(site.attrs["beta"])
    bias, is_row = _bias(site, 2, shape[1])
    folded = is_row and alpha == 1
    weight = _weight(site, "rows" if site.attrs["transB"] else "columns", packed, bias * beta if folded and bias is not None else None)
    if weight is None:
        return None
    known = site.constant(2) if 2 in site.weights else None
    product, turned = _product(weight, shape), site.attrs["transA"]

    def run(args: Sequence[np.ndarray | None]) -> np.ndarray:
        y = product([_array(args).T] if turned else args)
        if not folded:
            y *= alpha
            addend = known if len(args) < 3 or args[2] is None else args[2]
            if addend is not None:
                y += addend * beta
        return y

    return run


def _mat_mul(site: Site, packed: Packed) -> Runner | None:
    if 1 not in site.weights or len(site.weights[1].shape) != 2:
        return None
    weight = _weight(site, "columns", packed, None)
    return None if weight is None else _product(weight, site.outputs[0].shape)


def _product(weight: Weight, shape: tuple[int, ...]) -> Runner:
    def run(args: Sequence[np.ndarray | None]) -> np.ndarray:
        y = np.empty(shape, np.float32)
        weight.rows(_array(args).reshape(-1, weight.layout.columns), y.reshape(-1, weight.layout.outputs))
        return y

    return run


def _conv(site: Site, packed: Packed) -> Runner | None:
    x = site.inputs[0]
    if x is None or len(x.shape) > 5 or 1 not in site.weights:
        return None
    bias, known = _bias(site, 2, site.outputs[0].shape[1])
    weight = _weight(site, "rows", packed, bias) if known else None
    if weight is None:
        return None
    kernel, groups, shape = site.weights[1].shape[2:], site.attrs["group"], site.outputs[0].shape
    found = window("Conv", site.attrs, x.shape[2:], kernel)
    geometry, volumes, outputs = _geometry(found), _as_volumes(x.shape), _as_volumes(shape)
    if groups > 1 and site.weights[1].shape[1] == 1 and weight.layout.is_dense and len(kernel) < 3:
        return _depthwise(weight, geometry, volumes, outputs, shape)
    in_place = prod(kernel) == 1 and x.shape[2:] == shape[2:] and not found.padded
    each, inputs = outputs[1] // groups, volumes[1] // groups

    def run(args: Sequence[np.ndarray | None]) -> np.ndarray:
        source, y = _array(args).reshape(volumes), np.empty(shape, np.float32)
        for volume, result in zip(source, y.reshape(*outputs[:2], -1)):
            for group in range(groups):
                some = volume[group * inputs:(group + 1) * inputs]
                if in_place:
                    weight.columns(some.reshape(inputs, -1), result, group * each, (group + 1) * each)
                else:
                    _strips(weight, some, geometry, result, group * each, (group + 1) * each)
        return y

    return run


def _strips(weight: Weight, volume: np.ndarray, geometry: np.ndarray, y: np.ndarray, first: int, last: int) -> None:
    """A convolution by strips of output rows, so that their patches stay in the caches."""
    rows, width, depth = int(geometry[0, 0] * geometry[0, 1]), int(geometry[0, 2]), weight.layout.columns
    step = max(1, STRIP // (4 * depth * width))
    for row in range(0, rows, step):
        end = min(row + step, rows)
        columns = np.empty((depth, (end - row) * width), np.float32)
        windows.patches(volume, geometry, row, end, columns)
        weight.columns(columns, y, first, last, row * width)


def _depthwise(weight: Weight, geometry: np.ndarray, volumes: tuple[int, ...], outputs: tuple[int, ...], shape: tuple[int, ...]) -> Runner:
    identity = np.eye(weight.layout.columns, dtype=np.float32)
    without_bias = Weight(weight.layout, weight.packed, np.zeros_like(weight.bias))

    def run(args: Sequence[np.ndarray | None]) -> np.ndarray:
        y, taps = np.empty(shape, np.float32), np.empty((outputs[1], weight.layout.columns), np.float32)
        without_bias.columns(identity, taps)  # expanded for this call: a few taps per channel
        for volume, result in zip(_array(args).reshape(volumes), y.reshape(outputs)):
            windows.depthwise(volume[:, 0], geometry, taps, weight.bias, result[:, 0])
        return y

    return run


def _max_pool(site: Site, packed: Packed) -> Runner | None:
    return _pool(site, lambda x, geometry, _, y: windows.max_pool(x, geometry, y)) if len(site.outputs) == 1 else None


def _average_pool(site: Site, packed: Packed) -> Runner | None:
    return _pool(site, windows.mean_pool)


def _global_average_pool(site: Site, packed: Packed) -> Runner | None:
    x = site.inputs[0]
    assert x is not None
    return _pool(site, windows.mean_pool, x.shape[2:])


def _pool(site: Site, kernel: Callable[..., None], reach: Sequence[int] | None = None) -> Runner | None:
    x = site.inputs[0]
    if x is None or not 3 <= len(x.shape) <= 4:
        return None
    attrs = dict(site.attrs) if reach is None else dict.fromkeys(("auto_pad", "dilations", "pads", "strides"), None) | {"auto_pad": "NOTSET"}
    found = window(site.node.op, attrs, x.shape[2:], site.attrs["kernel_shape"] if reach is None else reach)
    geometry, images, shape = _geometry(found), _as_volumes(x.shape)[3:], site.outputs[0].shape
    counted = (*found.begin, *found.end) if attrs.get("count_include_pad") else (0,) * 2 * len(found.begin)
    padding = np.array(counted if len(counted) == 4 else (0, counted[0], 0, counted[1]), np.int64)

    def run(args: Sequence[np.ndarray | None]) -> np.ndarray:
        y = np.empty(shape, np.float32)
        kernel(_array(args).reshape(-1, *images), geometry, padding, y.reshape(-1, *_as_volumes(shape)[3:]))
        return y

    return run


def _geometry(found: Window) -> np.ndarray:
    """As windows.py wants it."""
    missing = 3 - len(found.out)
    pairs = ((found.out, 1), (found.kernel, 1), (found.strides, 1), (found.begin, 0), (found.dilations, 1))
    return np.array([(*(fill,) * missing, *given) for given, fill in pairs], np.int64)


def _as_volumes(shape: tuple[int, ...]) -> tuple[int, ...]:
    """[N, C, D, H, W] of what has fewer axes."""
    return (*shape[:2], *(1,) * (5 - len(shape)), *shape[2:])


def _array(args: Sequence[np.ndarray | None]) -> np.ndarray:
    """Input 0; contiguous and writable, since Numba would compile everything once more for other arrays."""
    assert args[0] is not None
    return np.require(args[0], requirements=["C", "W"])


RUNNERS: Mapping[str, Callable[[Site, Packed], Runner | None]] = {
    "Gemm": _gemm, "MatMul": _mat_mul, "Conv": _conv, "MaxPool": _max_pool, "AveragePool": _average_pool,
    "GlobalAveragePool": _global_average_pool}


def runner(site: Site, packed: Packed) -> Runner | None:
    """What runs the node; None where NumPy does. ``site`` as the native planner makes it, all of float32."""
    make: Any = RUNNERS.get(site.node.op)
    return None if make is None else make(site, packed)
