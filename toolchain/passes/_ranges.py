"""Ranges of activations by what they do to the outputs of the net."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from ...formats.graph import ActivationQuantization, Graph, Node
from ...kernels.quantized import dequantized
from ...runtime import Session, load
from ..arrays import in_runs
from ._calibration import Progress, watched
from ._histogram import Histogram

PERCENTILES = (99.9, 99.97, 99.99, 99.999, 100.0)
"""Tried ranges: those that so many of 100 elements do not pass on either side. From narrow to wide."""

FIRST = 99.99
"""Where the search begins."""

RUNS = 32
"""Most samples of the calibration data that a range is judged by, evenly chosen, each by itself."""

Range = tuple[float, float]


@dataclass
class Trial:
    """Reads a value as codes of a grid: what the nodes that are given it read (``_calibration.watched``)."""

    how: ActivationQuantization | None = None

    def __call__(self, x: np.ndarray) -> np.ndarray | None:
        return None if self.how is None else dequantized(x, self.how)


def searched(graph: Graph, readers: Sequence[Sequence[Node]], histograms: Sequence[Histogram], on_grid: Callable[[Range], ActivationQuantization],
             data: Mapping[str, np.ndarray], progress: Progress | None = None) -> list[Range]:
    """For each value, told by the nodes that read it, the range with the least error at the graph's outputs while it alone is quantized.

    What a range cuts off may be all that a net looks at or nothing to it, which no histogram tells: MobileNetV2's last residual has corners
    that are thirty times as large as the rest, and the widest range is fifty times as bad there as the best, the narrowest elsewhere.
    Along the ranges the error falls and then rises, so the search walks from ``FIRST`` to wider ones while they are better, else to narrower ones.
    """
    runs = in_runs(graph.inputs, data, 1)
    runs = [runs[place] for place in np.unique(np.linspace(0, len(runs) - 1, RUNS).astype(int))]
    expected = _outputs(load(graph), runs)
    found = []
    for nodes, histogram in zip(readers, histograms):
        trial = Trial()
        session = load(watched(graph, {id(node): trial for node in nodes}))

        def judged(tried: Range, trial: Trial = trial, session: Session = session) -> float:
            trial.how = on_grid(tried)
            return _error(expected, _outputs(session, runs))

        found.append(_best(histogram, judged))
        if progress is not None:
            progress(len(found), len(histograms))
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


def _outputs(session: Session, runs: Sequence[Mapping[str, np.ndarray]]) -> list[list[np.ndarray]]:
    """Of each run the outputs that are floats."""
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
