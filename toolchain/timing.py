"""Latency of sessions beside each other."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

ROUNDS = 7
BLOCK_SECONDS = 0.2


@dataclass(frozen=True)
class Latency:
    """Seconds per call."""

    minimum: float
    median: float


def interleaved(calls: Mapping[str, Callable[[], object]], progress: Callable[[int, int], None] | None = None) -> dict[str, Latency]:
    """Times the calls in turns, A B A B …, so that whatever else the machine does meanwhile hits all of them alike.

    Each turn begins with one call that does not count and lasts a fifth of a second, or one call if that is longer.
    """
    taken: dict[str, list[float]] = {name: [] for name in calls}
    for done in range(ROUNDS):
        if progress is not None:
            progress(done, ROUNDS)
        for name, call in calls.items():
            call()
            end = time.perf_counter() + BLOCK_SECONDS
            while True:
                start = time.perf_counter()
                call()
                stop = time.perf_counter()
                taken[name].append(stop - start)
                if stop >= end:
                    break
    return {name: Latency(min(seconds), statistics.median(seconds)) for name, seconds in taken.items()}
