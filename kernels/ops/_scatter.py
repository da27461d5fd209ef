"""Writing updates into a copy of the data: what ScatterElements and ScatterND have in common."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ._op import OpError, Type

REDUCTIONS: dict[str, Callable[..., Any] | None] = {"none": None, "add": np.add, "mul": np.multiply, "min": np.minimum, "max": np.maximum}
"""How an update meets what is already there; None: it takes its place."""


def scattered(x: np.ndarray, at: tuple[Any, ...], updates: np.ndarray, reduction: str) -> np.ndarray:
    """``x`` with ``updates`` at the places ``at``. Places that stand twice are reduced one after another."""
    y = x.copy()
    combine = REDUCTIONS[reduction]
    if combine is None:
        y[at] = updates
    else:
        combine.at(y, at, updates)  # type: ignore[attr-defined]
    return y


def check_reduction(place: str, reduction: str, x: Type) -> None:
    """OpError if there is no such reduction, or not for this dtype."""
    if reduction not in REDUCTIONS:
        raise OpError(f"{place} has the reduction {reduction!r}; it takes {', '.join(REDUCTIONS)}")
    if x.dtype == "bool" and reduction in ("add", "mul"):
        raise OpError(f"{place} has the reduction {reduction!r} for bool, which can be neither added nor multiplied")
