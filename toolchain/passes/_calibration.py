"""What values are on calibration data, a few samples at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from ...formats.graph import Graph, ValueInfo
from ...runtime import load
from ..arrays import in_batches
from .encode import EncodingError

BATCH = 4
"""Samples that run at once: all values that are looked at are held for so many."""

Progress = Callable[[int, int], None]


def observed(graph: Graph, values: Sequence[str], data: Mapping[str, np.ndarray], progress: Progress | None = None,
             ) -> Iterator[dict[str, np.ndarray]]:
    """The named values on each batch of the data. Raises EncodingError if one is not finite."""
    session = load(replace(graph, outputs=tuple(ValueInfo(name, "float32", ()) for name in values)))
    runs = in_batches(graph.inputs, data, BATCH)
    for count, feeds in enumerate(runs):
        found = session.run(feeds)
        for name, array in found.items():
            if not np.isfinite(array).all():
                raise EncodingError(f"the value {name!r} is infinite or no number on the calibration data, so it cannot be quantized")
        yield found
        if progress is not None:
            progress(count + 1, len(runs))


def coarse(values: np.ndarray) -> np.ndarray:
    """float64, rounded to 9 significant bits, so that the last bits of sums, in which machines differ, seldom reach the file."""
    mantissa, exponent = np.frexp(np.asarray(values, np.float64))
    return np.asarray(np.ldexp(np.rint(mantissa * 512) / 512, exponent))
