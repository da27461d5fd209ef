"""Fair timing on a noisy machine: contenders take turns in blocks, minimum and median are kept, ratios come from the same run."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Timing:
    """Seconds per call over all blocks."""

    minimum: float
    median: float
    calls: int


def interleaved(contenders: Mapping[str, Callable[[], object]], *, rounds: int = 7, block_seconds: float = 0.15) -> dict[str, Timing]:
    """Times every contender in blocks A B C A B C …; each block warms up with one call, then times single calls for ``block_seconds``."""
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, call in contenders.items():
            call()
            stop = time.perf_counter() + block_seconds
            while True:
                start = time.perf_counter()
                call()
                end = time.perf_counter()
                seconds[name].append(end - start)
                if end >= stop:
                    break
    return {name: Timing(min(taken), statistics.median(taken), len(taken)) for name, taken in seconds.items()}
