"""Relu: ``max(x, 0)``; NaN stays NaN."""

from __future__ import annotations

import numpy as np

from ._check import SIGNED
from ._elementwise import activation_cases, unary
from ._op import Arg, Case

OP = unary("Relu", lambda x: np.maximum(x, x.dtype.type(0)), dtypes=SIGNED, cases=(
    *activation_cases(), Case("int32", (Arg((4, 5), "int32", -9, 9),)), Case("int8", (Arg((4, 5), "int8", -9, 9),))))
