"""From timed ways to run nodes to factors for the planner's estimates."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..runtime.tuning import Timed


@dataclass(frozen=True)
class Factor:
    """Of one kernel: measured / estimated time, over that ratio of all kernels on the whole, since only their ranks matter. ``factor``: the geometric
    mean over its ``cases``; ``least`` and ``most`` of them, so that one sees how far a factor can be trusted."""

    kernel: str
    cases: int
    factor: float
    least: float
    most: float


def factors(timed: Sequence[Timed]) -> list[Factor]:
    """One per kernel, by name. A kernel that no way used has none: its estimates stay."""
    by_kernel: dict[str, list[float]] = {}
    for way in timed:
        by_kernel.setdefault(way.kernel, []).append(float(np.log(way.measured / way.estimated)))
    whole = float(np.median([np.mean(logs) for logs in by_kernel.values()])) if by_kernel else 0.0
    return [Factor(kernel, len(logs), *(float(np.exp(f(logs) - whole)) for f in (np.mean, np.min, np.max)))
            for kernel, logs in sorted(by_kernel.items())]


def cpu() -> str:
    """What the system calls the CPU."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())
