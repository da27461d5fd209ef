"""IsNaN: whether x is not a number."""

from __future__ import annotations

import numpy as np

from ._elementwise import unary
from ._op import Arg, Case

OP = unary("IsNaN", np.isnan, result="bool", cases=(
    Case("special", (Arg((5,), value=[np.nan, 1, np.inf, -np.inf, 0]),)),
    Case("image", (Arg((2, 3, 5)),)),
))
