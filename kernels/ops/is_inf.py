"""IsInf: whether x is infinite; either sign can be left out."""

from __future__ import annotations

import numpy as np

from ._elementwise import unary
from ._op import Arg, Case


def _is_inf(x: np.ndarray, detect_negative: int, detect_positive: int) -> np.ndarray:
    wanted = np.where(x < 0, bool(detect_negative), bool(detect_positive))
    return np.isinf(x) & wanted


_SPECIAL = Arg((6,), value=[np.nan, np.inf, -np.inf, 0, -2, 3])

OP = unary("IsInf", _is_inf, {"detect_negative": 1, "detect_positive": 1}, result="bool", cases=(
    Case("both", (_SPECIAL,)),
    Case("positive", (_SPECIAL,), {"detect_negative": 0}),
    Case("negative", (_SPECIAL,), {"detect_positive": 0}),
    Case("image", (Arg((2, 3, 5)),)),
))
