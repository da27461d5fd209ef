"""Ranges of activations by what they do to the outputs of the net."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial

import numpy as np

from ...formats.graph import Graph
from ...runtime import load
from ..arrays import in_runs
from ._calibration import Progress
from ._histogram import Histogram

PERCENTILES = (99.9, 99.97, 99.99, 99.999, 100.0)
"""Tried ranges: those that so many of 100 elements do not pass on either side. From narrow to wide."""

FIRST = 99.99
"""Where the search begins."""

RUNS = 32
"""Most samples of the calibration data that a range is judged by, evenly chosen, each by itself."""

Range = tuple[float, float]
QuantizedOne = Callable[[int, Range], Graph]
"""(a value's number, its range) → the graph in which that value alone is quantized."""


def searched(graph: Graph, histograms: Sequence[Histogram], quantized_one: QuantizedOne, data: Mapping[str, np.ndarray],
             progress: Progress | None = None) -> list[Range]:
    """For each value the range with the least error at the graph's outputs while it alone is quantized.

    What a range cuts off may be all that a net looks at or nothing to it, which no histogram tells: MobileNetV2's last residual has corners
    that are thirty times as large as the rest, and the widest range is fifty times as bad there as the best, the narrowest elsewhere.
    Along the ranges the error falls and then rises, so the search walks from ``FIRST`` to wider ones while they are better, else to narrower ones.
    """
    runs = in_runs(graph.inputs, data, 1)
    runs = [runs[place] for place in np.unique(np.linspace(0, len(runs) - 1, RUNS).astype(int))]
    expected = _outputs(graph, runs)

    def judged(number: int, tried: Range) -> float:
        return _error(expected, _outputs(quantized_one(number, tried), runs))

    found = []
    for number, histogram in enumerate(histograms):
        found.append(_best(histogram, partial(judged, number)))
        if progress is not None:
            progress(number + 1, len(histograms))
    return found


def _best(histogram: Histogram, judged: Callable[[Range], float]) -> Range:
    """The range at the bottom of a valley."""
    ranges = list(dict.fromkeys(histogram.percentile(percent) for percent in PERCENTILES))
    error = cache(lambda place: judged(ranges[place]))
    first = ranges.index(histogram.percentile(FIRST))
    wider = _walked(error, first, 1, len(ranges))
    return ranges[wider if wider != first else _walked(error, first, -1, len(ranges))]


def _walked(error: Callable[[int], float], place: int, step: int, count: int) -> int:
    while 0 <= place + step < count and error(place + step) < error(place):
        place += step
    return place


def _outputs(graph: Graph, runs: Sequence[Mapping[str, np.ndarray]]) -> list[list[np.ndarray]]:
    """Of each run the outputs that are floats."""
    session = load(graph)
    return [[array for array in session.run(feeds).values() if array.dtype.kind == "f"] for feeds in runs]


def _error(expected: Sequence[Sequence[np.ndarray]], found: Sequence[Sequence[np.ndarray]]) -> float:
    """Σ ‖Δ‖² / ‖y‖² over runs and outputs, to 4 significant bits: what differs by less, last bits of sums may decide, in which machines
    differ. A difference that is not finite is worse than any other."""
    total = 0.0
    for wanted, got in ((a, b) for run, other in zip(expected, found) for a, b in zip(run, other)):
        wide = wanted.astype(np.float64)
        total += float(((got - wide) ** 2).sum() / max(float((wide ** 2).sum()), 1e-30)) if np.isfinite(got).all() else np.inf
    mantissa, exponent = np.frexp(total)
    return float(np.ldexp(np.rint(mantissa * 16) / 16, exponent))
