"""Shrink: x moved towards 0 by bias where ``|x| > lambd``, else 0; integers take bias and lambd without their fractions."""

from __future__ import annotations

import numpy as np

from ._check import NUMBERS
from ._elementwise import unary
from ._op import Arg, Case


def _shrink(x: np.ndarray, bias: float, lambd: float) -> np.ndarray:
    if x.dtype.kind in "iu":  # as ONNX's definition by other operators casts them
        bias, lambd = np.int64(bias).astype(x.dtype), int(lambd)
    return np.where(x < -lambd, x + bias, np.where(x > lambd, x - bias, x.dtype.type(0)))


OP = unary("Shrink", _shrink, {"bias": 0.0, "lambd": 0.5}, NUMBERS, cases=(
    Case("hard", (Arg((2, 3, 5), low=-2, high=2),)),
    Case("soft", (Arg((33,), low=-4, high=4),), {"bias": 1.5, "lambd": 1.5}),
    Case("int32", (Arg((4, 5), "int32", -9, 9),), {"bias": 2.0, "lambd": 3.0}),
    Case("uint8", (Arg((4, 5), "uint8", 0, 9),), {"bias": 2.0, "lambd": 3.0}),
))
