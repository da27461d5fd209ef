"""CPUs to pin to, and how busy others keep them."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path

STAT = Path("/proc/stat")
IDLE = (3, 4)
"""Fields of a line of /proc/stat that count idle time: idle and waiting for disks."""


def pinned(threads: int) -> frozenset[int]:
    """The last CPUs that this process may use, one per thread. Raises ValueError if it may use fewer."""
    if not hasattr(os, "sched_getaffinity"):
        return frozenset()
    allowed = sorted(os.sched_getaffinity(0))
    if len(allowed) < threads:
        raise ValueError(f"{threads} threads need as many CPUs; this process may use {len(allowed)}")
    return frozenset(allowed[-threads:])


def busy(cpus: Collection[int]) -> float:
    """Seconds that the CPUs have been busy since boot, time stolen by the host included; 0 where the system does not tell."""
    if not STAT.exists():
        return 0.0
    names = {f"cpu{cpu}" for cpu in cpus}
    total = 0
    for line in STAT.read_text().splitlines():
        name, *fields = line.split()
        if name in names:
            total += sum(int(value) for i, value in enumerate(fields[:8]) if i not in IDLE)
    return total / os.sysconf("SC_CLK_TCK")
