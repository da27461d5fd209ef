"""What the operators of linear quantization share: scales and zero points per tensor, axis or block, and exact sums of integers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...formats.graph import Node
from ..quantized import exact_dtype
from ._check import text, where
from ._op import Op, OpError, Type

EIGHT_BITS = ("int8", "uint8")
SCALES = ("float32", "float16", "float64")

CODE_RANGES = {2: ("uint8", 0, 255), 3: ("int8", -128, 127), 4: ("uint16", 0, 65535), 5: ("int16", -32768, 32767), 21: ("uint8", 0, 15),
               22: ("int8", -8, 7), 25: ("uint8", 0, 3), 26: ("int8", -2, 1)}
"""ONNX's data type → (dtype, lowest, highest code). Integers of 2 and 4 bits are held in 8."""


def want_table(node: Node, x: Type, table: Type, axis: int, block: int, what: str) -> None:
    """OpError unless a scale or zero point has one element, one per index of ``axis``, or one per block of ``block`` along it."""
    rank = len(x.shape)
    if table.size == 1 and len(table.shape) <= 1:
        return
    if not -rank <= axis < rank:
        raise OpError(f"{where(node)} has the axis {axis}, but its input has {rank} dimensions")
    length = x.shape[axis]
    blocked = list(x.shape)
    blocked[axis] = -(-length // block) if block > 0 else 0
    if table.shape != (length,) and (block <= 0 or table.shape != tuple(blocked)):
        wants = f"{text(blocked)} for blocks of {block}" if block > 0 else f"one number, or {length} along axis {axis}"
        raise OpError(f"{where(node)} has a {what} of the shape {text(table.shape)} for an input of {text(x.shape)}; it takes {wants}")


def per_element(table: np.ndarray, shape: Sequence[int], axis: int, block: int) -> np.ndarray:
    """``table`` so that it broadcasts to ``shape``."""
    if table.size == 1 and table.ndim <= 1:
        return table.reshape(())
    if table.ndim == 1 and table.shape == (shape[axis],) and (block <= 0 or len(shape) > 1):
        return table.reshape([-1 if place == axis % len(shape) else 1 for place in range(len(shape))])
    return table.repeat(block, axis=axis).take(range(shape[axis]), axis=axis)


def exact_sums(product: Op, attrs: dict[str, object], x: np.ndarray, w: np.ndarray, terms: int) -> np.ndarray:
    """int64: what ``product`` makes of integers (int32, within ±255) if ``terms`` of them are summed. See ``kernels/quantized.py``."""
    dtype = exact_dtype(terms * float(np.abs(x).max(initial=0)) * float(np.abs(w).max(initial=0)), np.dtype(np.float32))
    found: np.ndarray = product.run({**product.attributes, **attrs}, x.astype(dtype), w.astype(dtype))[0]
    return np.asarray(found).astype(np.int64)


def centred(x: np.ndarray, zero_point: np.ndarray | None, axis: int) -> np.ndarray:
    """int32: ``x`` less its zero point, which has one element, one per index of ``axis``, or the rank of ``x``."""
    wide = x.astype(np.int32)
    if zero_point is None:
        return wide
    if zero_point.ndim == 1 and zero_point.size > 1:
        zero_point = zero_point.reshape([-1 if place == axis % x.ndim else 1 for place in range(x.ndim)])
    return wide - (zero_point.reshape(()) if zero_point.size == 1 else zero_point).astype(np.int32)


def quantized_to(y: np.ndarray, scale: np.ndarray, zero_point: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """saturate(rint(y / scale) + zero point)."""
    limits = np.iinfo(dtype)
    return np.clip(np.rint(y / scale) + zero_point.astype(y.dtype), limits.min, limits.max).astype(dtype)
