"""Arithmetic of quantized activations: ``docs/quantization.md`` in NumPy.

Integers are held in floats here: BLAS multiplies those, and a sum of integers in float32 is exact, in whatever order it is formed, as long
as no partial sum can pass 2^24; float64 serves up to 2^53. Which of the two is decided from a bound of Σ|x|·|w|, not from the data.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from ..formats.graph import ActivationQuantization
from ..formats.record import dataclass, replace
from ..formats.tensor import Affine, Binary, Codebook, EncodedTensor, Plain, Ternary

EXACT_FLOAT32 = 2 ** 24
"""Integers up to this are exact in float32."""

LARGEST_SUM = 2 ** 31 - 1
"""Sums are those of int32 accumulators, which must not wrap."""


@dataclass(frozen=True, eq=False)
class Integers:
    """``values``: integers, in a float dtype; ``scale``: what they are multiples of, broadcasts to them; ``largest``: bound of any |value|."""

    values: np.ndarray
    scale: np.ndarray
    largest: float

    def real(self) -> np.ndarray:
        """The numbers that they stand for, in one rounding."""
        return self.values * self.scale


def quantize(x: np.ndarray, how: ActivationQuantization) -> Integers:
    """The codes of ``x`` less their zero point: saturate(rint(x / scale) + zero point) − zero point. NaN reads as 0.

    Computes in float32, or float64 where ``x`` is that.
    """
    x = x.astype(np.float32) if x.dtype == np.float16 else x
    if how.dtype == "binary":
        return Integers(np.where(x >= 0, x.dtype.type(1), x.dtype.type(-1)), mean_size(x, how), 1)
    low, high = code_range(how)
    with np.errstate(all="ignore"):
        if how.kind == "static":
            scale, zero = np.asarray(how.scale, x.dtype), np.asarray(how.zero_point, x.dtype)
        else:
            scale, zero = dynamic_grid(x, how)
        values = np.asarray(x / scale)
        np.rint(values, out=values)
        np.clip(values, low - zero, high - zero, out=values)
    values[np.isnan(values)] = 0
    return Integers(values, scale, largest_code(how))


def mean_size(x: np.ndarray, how: ActivationQuantization) -> np.ndarray:
    """Σ|x| / n of each group that shares a scale, broadcasts to ``x``. The sum is that of halves: filled up with zeros to a power of two,
    the second half is added to the first until one number is left, so that vectors of any width find the same bits."""
    shape = scale_shape(x.shape, how)
    groups = np.abs(x).reshape(prod(shape), -1) if x.size else np.zeros((prod(shape), 0), x.dtype)
    n = groups.shape[1]
    width = 1 << max(n - 1, 0).bit_length()
    sums = np.zeros((len(groups), width), x.dtype)
    sums[:, :n] = groups
    with np.errstate(all="ignore"):
        while width > 1:
            width //= 2
            sums = sums[:, :width] + sums[:, width:]
        scale = sums[:, 0] / x.dtype.type(max(n, 1))
    return scale.reshape(*shape, *(1,) * (x.ndim - len(shape)))


def dynamic_grid(x: np.ndarray, how: ActivationQuantization) -> tuple[np.ndarray, np.ndarray]:
    """(scale, zero point), which broadcast to ``x``: int8 symmetric, uint8 as DynamicQuantizeLinear has it. All zeros have scale 1."""
    axes = {"tensor": tuple(range(x.ndim)), "sample": tuple(range(1, x.ndim)), "row": (x.ndim - 1,) if x.ndim else ()}[how.granularity]
    if how.dtype == "int8":
        scale = np.max(np.abs(x), axis=axes, keepdims=True, initial=0) / x.dtype.type(127)
        scale = np.where(scale == 0, x.dtype.type(1), scale)
        return scale, np.zeros_like(scale)
    low, high = (function(x, axis=axes, keepdims=True, initial=0) for function in (np.min, np.max))
    scale = (high - low) / x.dtype.type(255)
    scale = np.where(scale == 0, x.dtype.type(1), scale)
    return scale, np.rint(np.clip(-low / scale, 0, 255))


def codes(x: np.ndarray, how: ActivationQuantization) -> tuple[np.ndarray, ...]:
    """The codes of ``x``; where they are dynamic also the scale (float32, or float64 where ``x`` is that), and for uint8 the zero point (uint8).

    Both tables have the shape of ``x`` up to where one scale serves: () per tensor, [samples] per sample, all but the last axis per row.
    """
    found = quantize(x, how)
    if how.kind == "static":
        return ((found.values + found.values.dtype.type(how.zero_point)).astype(how.dtype),)
    shape = scale_shape(x.shape, how)
    if how.dtype != "uint8":
        return found.values.astype(np.int8), found.scale.reshape(shape)
    with np.errstate(all="ignore"):
        zero = dynamic_grid(x.astype(found.values.dtype, copy=False), how)[1]
    zero = np.where(np.isnan(zero), 0, zero)
    return (found.values + zero).astype(np.uint8), found.scale.reshape(shape), zero.astype(np.uint8).reshape(shape)


def scale_shape(shape: tuple[int, ...], how: ActivationQuantization) -> tuple[int, ...]:
    """Of the tables of scales and zero points of a dynamic value of that shape."""
    return {"tensor": (), "sample": shape[:1], "row": shape[:-1]}[how.granularity]


def largest_code(how: ActivationQuantization) -> int:
    """Bound of |code − zero point|."""
    low, high = code_range(how)
    return 255 if how.kind == "dynamic" and how.dtype == "uint8" else max(high - how.zero_point, how.zero_point - low)


def code_range(how: ActivationQuantization) -> tuple[int, int]:
    """The least and the largest code."""
    return {"int8": (-128, 127), "uint8": (0, 255), "binary": (-1, 1)}[how.dtype]


def code_dtype(how: ActivationQuantization) -> str:
    """What codes are held in."""
    return "uint8" if how.dtype == "uint8" else "int8"


def from_codes(found: np.ndarray, how: ActivationQuantization, dtype: np.dtype, scale: np.ndarray | None = None,
               zero: np.ndarray | None = None) -> Integers:
    """What ``codes`` made, less its zero point, in that float dtype."""
    if scale is None:
        return Integers(found.astype(dtype) - dtype.type(how.zero_point), np.asarray(how.scale, dtype), largest_code(how))
    beside = (*scale.shape, *(1,) * (found.ndim - scale.ndim))
    values = found.astype(dtype)
    if zero is not None:
        values -= zero.reshape(beside).astype(dtype)
    return Integers(values, scale.reshape(beside), largest_code(how))


def dequantized(x: np.ndarray, how: ActivationQuantization) -> np.ndarray:
    """``x`` as a reader that is no matrix product sees it, in its dtype."""
    return quantize(x, how).real().astype(x.dtype, copy=False)


def weight_scale(tensor: EncodedTensor) -> np.ndarray | None:
    """float32[1] or float32[channels]: what the weight's integers are multiples of; None where its values are no such multiples."""
    values = tensor.values
    if isinstance(values, (Binary, Ternary)):
        return values.scale
    if isinstance(values, Affine):
        return values.scale[:, 0] if values.scale.shape[1] == 1 else None
    if isinstance(values, Codebook) and values.entries.dtype == np.int8:
        return np.ones(1, np.float32) if values.scale is None else values.scale
    return None


def weight_integers(tensor: EncodedTensor) -> EncodedTensor:
    """The weight whose values are the integers of one that ``weight_scale`` knows: its codes, each with a scale of one.

    They are at most 255, which every float dtype holds, however small the scales are.
    """
    values = tensor.values
    if isinstance(values, Plain) or values.scale is None:
        return tensor
    return replace(tensor, values=replace(values, scale=np.ones_like(values.scale)))


def integers(values: np.ndarray, scale: np.ndarray) -> Integers:
    """A weight's integers with their scale."""
    return Integers(values, scale, float(np.max(np.abs(values), initial=0)))


def exact_dtype(largest_sum: float, wide: np.dtype) -> np.dtype:
    """The float dtype in which sums up to that bound are exact."""
    return np.dtype(np.float64) if largest_sum >= EXACT_FLOAT32 else wide


def largest_sum(x: Integers, w: Integers, summed: Sequence[int], is_weight: bool) -> float:
    """Bound of any |partial sum| of products of ``x`` with a column of ``w``; ``summed``: the axes of ``w`` that are summed over.

    From the codes' range, not from data: what of ``w`` is no weight may be anything in its range.
    """
    if not is_weight:
        return x.largest * w.largest * prod(w.values.shape[axis] for axis in summed)
    return x.largest * float(np.max(np.abs(w.values).sum(axis=tuple(summed), dtype=np.float64), initial=0))
