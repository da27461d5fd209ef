"""A model node by node: time, work, bytes, and how near each node comes to what the machine can do (the roofline; Williams et al. 2009)."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..kernels.roofs import Roofs, measure
from ..runtime import Session
from ..runtime.profile import NodeProfile
from .report import table

RUNS = 31
SECONDS = 5.0
"""So many runs are timed, or as many as that time allows, but three."""


@dataclass(frozen=True)
class NodeLine:
    """One node. ``share``: of the sum over all nodes. ``bound_seconds``: what the machine would take at least: the larger of the multiply-adds that
    its kernel's algorithm needs, at the peak of their arithmetic, and the bytes at the bandwidth of the caches that can hold them (of values: the
    node's own; of weights: all of the model's). ``roof``: bound_seconds / seconds_min; above 1 only where a kernel's arithmetic is cheaper than
    int8: signs are counted, and products of few bits added in 16 bits."""

    node: str
    op: str
    kernels: tuple[str, ...]
    seconds_min: float
    seconds_median: float
    share: float
    macs: int
    integer: bool
    value_bytes: int
    weight_bytes: int
    bound_seconds: float | None
    roof: float | None


@dataclass(frozen=True)
class Profile:
    """``run_seconds_min``, ``run_seconds_median``: of whole runs without timing inside. ``roofs``: None without compiled kernels."""

    run_seconds_min: float
    run_seconds_median: float
    roofs: Roofs | None
    nodes: tuple[NodeLine, ...]


def profile(session: Session, feeds: Mapping[str, np.ndarray], threads: int) -> Profile:
    """Runs and profiles in turns; the machine's roofs are measured before and after, since others may use it, too."""
    roofs = measure(threads) if session.isa is not None else None
    session.run(feeds)
    whole: list[float] = []
    runs: list[list[NodeProfile]] = []
    end = time.perf_counter() + SECONDS
    while len(runs) < 3 or (len(runs) < RUNS and time.perf_counter() < end):
        start = time.perf_counter()
        session.run(feeds)
        whole.append(time.perf_counter() - start)
        runs.append(session.profile(feeds))
    if roofs is not None:
        roofs = roofs.best(measure(threads))
    best = [min(row.seconds for row in rows) for rows in zip(*runs)]
    weights = sum(row.weight_bytes for row in runs[0])
    lines = [_line(row, [rows[i].seconds for rows in runs], sum(best), weights, roofs) for i, row in enumerate(runs[0])]
    return Profile(min(whole), statistics.median(whole), roofs, tuple(lines))


def _line(row: NodeProfile, seconds: Sequence[float], whole: float, weights: int, roofs: Roofs | None) -> NodeLine:
    best = min(seconds)
    bound = _bound(row, weights, roofs) if roofs is not None else None
    return NodeLine(row.node, row.op, row.kernels, best, statistics.median(seconds), best / whole if whole else 0.0, row.macs, row.integer,
                    row.value_bytes, row.weight_bytes, bound, bound / best if bound is not None and best else None)


def _bound(row: NodeProfile, weights: int, roofs: Roofs) -> float:
    work = row.work / (roofs.int8 if row.integer else roofs.fma)
    reading = roofs.seconds(row.value_bytes)
    if row.weight_bytes:
        reading += roofs.seconds(weights) * row.weight_bytes / weights
    return max(work, reading)


def profile_table(found: Profile) -> str:
    """A line per node, then the sum and the roofs."""
    head = ("node", "op", "kernels", "min ms", "median ms", "share", "M MACs", "G MACs/s", "MB", "GB/s", "roof")
    cells = [(line.node, line.op, ", ".join(dict.fromkeys(line.kernels)), f"{1e3 * line.seconds_min:.4f}", f"{1e3 * line.seconds_median:.4f}",
              f"{100 * line.share:.1f} %", f"{1e-6 * line.macs:.3f}" if line.macs else "", _rate(1e-9 * line.macs, line.seconds_min),
              f"{1e-6 * (line.value_bytes + line.weight_bytes):.3f}", _rate(1e-9 * (line.value_bytes + line.weight_bytes), line.seconds_min),
              "" if line.roof is None else f"{100 * line.roof:.0f} %") for line in found.nodes]
    whole = f"a whole run: min {1e3 * found.run_seconds_min:.4f} ms, median {1e3 * found.run_seconds_median:.4f} ms"
    return "\n".join([table(head, [*cells, _sum(found.nodes)], right=range(3, 11)), whole, _roofs_text(found.roofs)])


def _sum(lines: Sequence[NodeLine]) -> tuple[str, ...]:
    """The table's last line."""
    best, median = sum(line.seconds_min for line in lines), sum(line.seconds_median for line in lines)
    macs, nbytes = sum(line.macs for line in lines), sum(line.value_bytes + line.weight_bytes for line in lines)
    bounds = [line.bound_seconds for line in lines if line.bound_seconds is not None]
    return ("sum", "", "", f"{1e3 * best:.4f}", f"{1e3 * median:.4f}", "", f"{1e-6 * macs:.3f}", _rate(1e-9 * macs, best),
            f"{1e-6 * nbytes:.3f}", _rate(1e-9 * nbytes, best), f"{100 * sum(bounds) / best:.0f} %" if bounds and best else "")


def _rate(amount: float, seconds: float) -> str:
    return f"{amount / seconds:.1f}" if amount and seconds else ""


def _roofs_text(roofs: Roofs | None) -> str:
    if roofs is None:
        return "no compiled kernels, so no roofs"
    levels = ", ".join(f"{name} {1e-9 * rate:.0f}" for name, _, rate in roofs.levels)
    return (f"roofs at ISA level {roofs.isa}, threads {roofs.threads}: {1e-9 * roofs.fma:.0f} G MACs/s fp32, {1e-9 * roofs.int8:.0f} G MACs/s int8; "
            f"reads in GB/s: {levels}\nroof: the least time that these allow for a node's multiply-adds (Winograd's are fewer) or bytes, over its "
            "own least time; above 100 % only where signs are counted, or products of few bits are added in 16 bits")
