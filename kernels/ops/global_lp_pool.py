"""GlobalLpPool: the p-norm of each channel over all spatial positions; the spatial axes stay, with length 1."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ._global_pool import global_pool
from ._op import Arg, Case
from .lp_pool import check_power


def _norm(x: np.ndarray, axes: tuple[int, ...], attrs: Mapping[str, Any]) -> np.ndarray:
    return np.sum(np.abs(x) ** attrs["p"], axis=axes, keepdims=True) ** x.dtype.type(1 / attrs["p"])


OP = global_pool("GlobalLpPool", _norm, attributes={"p": 2}, check=check_power, cases=(
    Case("cubic", (Arg((2, 3, 4, 5)),), {"p": 3}), Case("absolute", (Arg((2, 3, 4, 5)),), {"p": 1})))
