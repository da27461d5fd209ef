"""ONNX's numbers for data types (TensorProto.DataType), and conversion between them."""

from __future__ import annotations

import numpy as np

from ._op import OpError

DTYPE_OF_CODE = {1: "float32", 2: "uint8", 3: "int8", 4: "uint16", 5: "int16", 6: "int32", 7: "int64", 9: "bool", 10: "float16",
                 11: "float64", 12: "uint32", 13: "uint64"}
NARROW = {21: ("uint8", 4), 22: ("int8", 4), 25: ("uint8", 2), 26: ("int8", 2)}
"""Integers of fewer bits than 8: the dtype that holds them, and their bits."""

CODE_OF_DTYPE = {dtype: code for code, dtype in DTYPE_OF_CODE.items()}


def dtype_of(place: str, code: int) -> str:
    """The dtype's name. Raises OpError, which names the node by ``place``, for one that does not exist here."""
    if code not in DTYPE_OF_CODE:
        valid = ", ".join(f"{number} ({name})" for number, name in DTYPE_OF_CODE.items())
        raise OpError(f"{place} asks for data type {code}; there are {valid}")
    return DTYPE_OF_CODE[code]


def to_bits(x: np.ndarray, dtype: str, bits: int) -> np.ndarray:
    """x as integers of ``bits`` bits, held in ``dtype``: first as integers of 64, then the lowest bits of those."""
    low = cast(x, "int64") & (1 << bits) - 1
    sign = 1 << bits - 1 if dtype == "int8" else 0
    return ((low ^ sign) - sign).astype(dtype)


def cast(x: np.ndarray, dtype: str) -> np.ndarray:
    """x in another dtype: floats lose their fraction, integers their high bits, and what is not zero is true.

    ONNX leaves open what becomes of floats that no integer of the dtype can hold. Here they become the nearest one, and NaN
    becomes 0, on every machine.
    """
    if x.dtype.kind != "f" or np.dtype(dtype).kind not in "iu":
        return x.astype(dtype, copy=False)
    x = x.astype(np.float32) if x.dtype == np.float16 else x  # which can hold the bounds
    limits = np.iinfo(dtype)
    below, above = x <= float(limits.min) - 1, x >= float(limits.max) + 1
    inside = np.where(below | above | np.isnan(x), x.dtype.type(0), x).astype(dtype)
    return np.where(below, limits.min, np.where(above, limits.max, inside)).astype(dtype)
