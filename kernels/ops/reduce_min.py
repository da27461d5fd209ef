"""ReduceMin: the smallest element over some axes, or over all (``_reduce.py``). NaN where one is NaN; of nothing the greatest number."""

from __future__ import annotations

import numpy as np

from ._op import Arg
from ._reduce import EXTREMES, case, mobilenet_case, nothing_case, reduction, unbounded


def _min(x: np.ndarray, axes: tuple[int, ...], keep: bool) -> np.ndarray:
    return np.asarray(np.min(x, axis=axes, keepdims=keep, initial=unbounded(x.dtype, True)))


OP = reduction("ReduceMin", _min, dtypes=EXTREMES, more_cases=(
    nothing_case(), case("bool", Arg((3, 4), "bool"), (1,)), case("uint8", Arg((3, 4), "uint8", 0, 255), (0,)), mobilenet_case()))
