"""How far outputs are from those of a reference."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from .errors import UsageError


@dataclass(frozen=True)
class Comparison:
    """One output against its reference.

    ``error``: max|Δ| / max|reference|. ``cosine``: mean over samples (axis 0) of the cosine of the angle between them.
    ``top1``: share of samples whose greatest element has the same place; None unless the output is [samples, classes ≥ 2].
    A sample that is not finite everywhere, here or in the reference, does not count as agreeing.
    ``nonfinite``, ``reference_nonfinite``: number of elements that are infinite or no number.
    """

    output: str
    shape: tuple[int, ...]
    error: float
    cosine: float
    top1: float | None
    nonfinite: int
    reference_nonfinite: int


def compare(found: Mapping[str, np.ndarray], expected: Mapping[str, np.ndarray]) -> list[Comparison]:
    """Every output, by name where the names agree, else in order. Raises UsageError if the outputs do not correspond."""
    if set(found) != set(expected):
        if len(found) != len(expected):
            raise UsageError(f"the outputs are {', '.join(found)}, but those of the reference are {', '.join(expected)}")
        expected = dict(zip(found, expected.values()))
    return [_compared(name, array, expected[name]) for name, array in found.items()]


def _compared(name: str, found: np.ndarray, expected: np.ndarray) -> Comparison:
    if found.shape != expected.shape:
        raise UsageError(f"the output {name!r} has shape {list(found.shape)}, but that of the reference has {list(expected.shape)}")
    a, b = found.astype(np.float64), expected.astype(np.float64)
    return Comparison(name, tuple(found.shape), relative_error(a, b), _cosine(a, b), _top1(a, b), _nonfinite(a), _nonfinite(b))


def _nonfinite(array: np.ndarray) -> int:
    return int(array.size - np.isfinite(array).sum())


def relative_error(found: np.ndarray, expected: np.ndarray) -> float:
    """max|Δ| / max|expected|; infinite if only one of them is finite somewhere, or if they differ and all of expected is zero; NaN if no element
    of either is a number."""
    same = (found == expected) | (np.isnan(found) & np.isnan(expected))
    if same.all():
        return float("nan") if expected.size and np.isnan(expected).all() else 0.0
    if not (np.isfinite(found) | same).all() or not (np.isfinite(expected) | same).all():
        return float("inf")
    greatest = float(np.abs(expected[np.isfinite(expected)]).max())
    return float(np.abs(found[~same] - expected[~same]).max()) / greatest if greatest else float("inf")


def _cosine(found: np.ndarray, expected: np.ndarray) -> float:
    rows = (found.shape[0], -1) if found.ndim > 1 and found.size else (1, -1)
    a, b = found.reshape(rows), expected.reshape(rows)
    with np.errstate(all="ignore"):  # infinity and what is no number give a cosine that is no number
        lengths = np.sqrt((a * a).sum(1) * (b * b).sum(1))
        cosines = np.where(lengths > 0, (a * b).sum(1) / lengths, np.where((a == b).all(1), 1.0, 0.0))
    return float(cosines.mean()) if cosines.size else 1.0


def _top1(found: np.ndarray, expected: np.ndarray) -> float | None:
    if found.ndim != 2 or found.shape[1] < 2 or not len(found):
        return None
    finite = np.isfinite(found).all(1) & np.isfinite(expected).all(1)
    return float((finite & (found.argmax(1) == expected.argmax(1))).mean())
