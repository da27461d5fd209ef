"""Ranges of activations by what they do to the outputs of the net."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np

from ...formats.graph import ActivationQuantization, Graph, Node
from ...formats.tensor import EncodedTensor
from ...kernels.quantized import dequantized
from ...runtime import Session, load
from ..arrays import in_runs
from ._calibration import Progress
from ._histogram import Histogram
from ._suffix import Held, suffix

PERCENTILES = (99.9, 99.97, 99.99, 99.999, 100.0)
"""Tried ranges: those that so many of 100 elements do not pass on either side. From narrow to wide."""

FIRST = 99.99
"""Where the search begins."""

RUNS = 32
"""Most samples of the calibration data that are looked at, evenly chosen, each by itself."""

TELLING, OTHERS = 6, 6
"""Those of them that tell most ranges apart: from which the narrowest range cuts most, and evenly chosen ones that stand for the rest."""

NEAR = 1.1
"""Errors as near as this are formed from all runs."""

SURE = 2.0
"""So are those whose difference is not that many times its standard error: samples of which some are a hundred times as loud as others are judged
by few of them only where these agree."""

Range = tuple[float, float]
Arrays = Mapping[str, np.ndarray]


@dataclass
class Trial:
    """Reads a value as codes of a grid: what the nodes that are given it read (``_calibration.watched``)."""

    how: ActivationQuantization | None = None

    def __call__(self, x: np.ndarray) -> np.ndarray | None:
        return None if self.how is None else dequantized(x, self.how)


def searched(graph: Graph, readers: Sequence[Sequence[Node]], histograms: Sequence[Histogram], on_grid: Callable[[Range], ActivationQuantization],
             data: Arrays, progress: Progress | None = None) -> list[Range]:
    """For each value, told by the nodes that read it, the range with the least error at the graph's outputs while it alone is quantized.

    What a range cuts off may be all that a net looks at or nothing to it, which no histogram tells: MobileNetV2's last residual has corners
    that are thirty times as large as the rest, and the widest range is fifty times as bad there as the best, the narrowest elsewhere.
    Along the ranges the error falls and then rises, so the search walks from ``FIRST`` to wider ones while they are better, else to narrower ones.

    What comes before a value is run once for all of them, in the graph's order; a trial runs what comes after it, on few runs where those decide.
    """
    graph = _plain(graph)
    runs = in_runs(graph.inputs, data, 1)
    runs = [runs[place] for place in np.unique(np.linspace(0, len(runs) - 1, RUNS).astype(int))]
    whole = load(graph)
    expected = [_floats(whole.run(feeds)) for feeds in runs]
    held = Held(graph, runs)
    trials = [Trial() for _ in readers]
    parts = [suffix(graph, nodes, trial) for nodes, trial in zip(readers, trials)]
    order = sorted(range(len(parts)), key=lambda at: parts[at].place)
    found: dict[int, Range] = {}
    for count, at in enumerate(order):
        part, trial, histogram = parts[at], trials[at], histograms[at]
        held.make(part.needs)  # from those of the value before, which are forgotten then
        held.keep({name for other in order[count:] for name in parts[other].needs})
        session = load(held.part(part.nodes, part.needs, part.outputs))
        names = [info.name for info in session.inputs]

        def judged(tried: Range, run: int, trial: Trial = trial, session: Session = session, names: Sequence[str] = names) -> float:
            trial.how = on_grid(tried)
            return error(expected[held.places[run]], session.run({name: held.runs[run][name] for name in names}))

        few = _weights([run.get(readers[at][0].inputs[0]) for run in held.runs], histogram.percentile(PERCENTILES[0]))
        found[at] = _best(histogram, judged, few, len(held.runs))
        if progress is not None:
            progress(count + 1, len(order))
    return [found[at] for at in range(len(parts))]


def _plain(graph: Graph) -> Graph:
    """The graph with weights as they are multiplied, which runs sooner; as it is where products in integers want them."""
    if any(scope.quantized for scope in graph.scopes()):
        return graph
    return replace(graph, weights={name: EncodedTensor.dense(tensor.decode(), axis=tensor.axis) for name, tensor in graph.weights.items()})


def _weights(values: Sequence[np.ndarray | None], narrowest: Range) -> dict[int, float]:
    """Run → what its error counts, of those that tell most ranges apart. Few runs make most of the error of a range that is too narrow, each of them
    much: so those that lose most to the narrowest count for themselves, and some of the others for all others. Values that a subgraph makes
    (None) tell nothing; then all runs count."""
    cut = np.array([np.nan if x is None else _cut_off(x, narrowest) for x in values])
    if np.isnan(cut).any() or len(cut) <= TELLING + OTHERS:
        return dict.fromkeys(range(len(cut)), 1.0)
    ranked = np.argsort(-cut, kind="stable")
    telling, rest = ranked[:TELLING].tolist(), np.sort(ranked[TELLING:])
    others = rest[np.linspace(0, len(rest) - 1, OTHERS).astype(int)].tolist()
    return {**dict.fromkeys(others, len(rest) / OTHERS), **dict.fromkeys(telling, 1.0)}


def _cut_off(x: np.ndarray, kept: Range) -> float:
    """Sum of squares of what the range takes from the elements."""
    low, high = kept
    beyond = np.concatenate([x[x > high] - high, x[x < low] - low])
    return rounded(float(beyond @ beyond))


def _best(histogram: Histogram, judged: Callable[[Range, int], float], few: Mapping[int, float], count: int) -> Range:
    """The range at the bottom of a valley. ``judged``: the error of a range in a run; ``few``: runs that come first, and their weights; ``count``
    runs are there."""
    ranges = list(dict.fromkeys(histogram.percentile(percent) for percent in PERCENTILES))
    of = cache(judged)

    def total(tried: Range, weights: Mapping[int, float], most: float = np.inf) -> float:
        """Of all runs, or of as many as it takes to pass ``most``."""
        found = 0.0
        for run, weight in weights.items():
            found += weight * of(tried, run)
            if found > most:
                break
        return rounded(found)

    def is_clear(one: Range, other: Range) -> bool:
        """Whether the few runs tell which range is better: the difference is more than what the runs that they stand for may make of it."""
        gained = {run: of(one, run) - of(other, run) for run in few}
        drawn = np.array([gained[run] for run, weight in few.items() if weight != 1])
        spread = max(few.values()) * float(drawn.std()) * len(drawn) ** 0.5 if len(drawn) else 0.0
        return abs(sum([weight * gained[run] for run, weight in few.items()])) > SURE * spread

    def is_better(one: Range, other: Range) -> bool:
        own, theirs = total(one, few), total(other, few)
        if max(own, theirs) <= NEAR * min(own, theirs) or (np.isfinite(own + theirs) and not is_clear(one, other)):
            every = dict.fromkeys(range(count), 1.0)
            theirs = total(other, every)
            own = total(one, every, 1.2 * theirs)
        return own < theirs

    first = ranges.index(histogram.percentile(FIRST))
    wider = _walked(ranges, first, 1, is_better)
    return ranges[wider if wider != first else _walked(ranges, first, -1, is_better)]


def _walked(ranges: Sequence[Range], place: int, step: int, is_better: Callable[[Range, Range], bool]) -> int:
    while 0 <= place + step < len(ranges) and is_better(ranges[place + step], ranges[place]):
        place += step
    return place


def _floats(outputs: Arrays) -> dict[str, np.ndarray]:
    return {name: array for name, array in outputs.items() if array.dtype.kind == "f"}


def error(expected: Arrays, found: Arrays) -> float:
    """Σ ‖Δ‖² / ‖y‖² over the outputs that are floats, of those that were found. A difference that is not finite is worse than any other."""
    total = 0.0
    for name, got in found.items():  # in their order, as last bits hang on it
        if name in expected:
            wanted = expected[name].astype(np.float64)
            total += float(((got - wanted) ** 2).sum() / max(float((wanted ** 2).sum()), 1e-30)) if np.isfinite(got).all() else np.inf
    return total


def rounded(total: float) -> float:
    """To 4 significant bits: what differs by less, last bits of sums may decide, in which machines differ."""
    mantissa, exponent = np.frexp(total)
    return float(np.ldexp(np.rint(mantissa * 16) / 16, exponent))
