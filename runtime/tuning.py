"""Times every way in which the nodes of a plan could run, each alone, beside what the planner estimates of it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from ..formats.record import dataclass
from ..kernels.isa import native
from ..kernels.lowering import Lowering
from .partition import NativeSegment, Unit
from .plan import Plan
from .program import ProgramBuilder

SECONDS = 0.02
"""What one way is timed for; its best run counts."""


@dataclass(frozen=True)
class Timed:
    """``estimated``: nanoseconds as the plan counted them, tuned or not; ``measured``: those of the best run, on one thread."""

    kernel: str
    estimated: float
    measured: float


def ways(plan: Plan, isa: str) -> Iterator[Timed]:
    """One for each node, and each lowering of it that has steps; nodes with the same shapes and estimates count once."""
    seen: set[object] = set()
    for segment in plan.segments:
        for unit in segment.units if isinstance(segment, NativeSegment) else ():
            for option in unit.options:
                key = unit.site.node.op, tuple(kind.shape for kind in unit.site.inputs if kind is not None), option.kernel, option.cost
                if not option.alias and key not in seen:
                    seen.add(key)
                    yield Timed(option.kernel, option.cost, 1e9 * _seconds(plan, unit, option, isa))


def _seconds(plan: Plan, unit: Unit, option: Lowering, isa: str) -> float:
    """Of the node without what would be fused into it; its inputs lie as the lowering wants them."""
    node, module = unit.site.node, native()
    assert module is not None
    builder = ProgramBuilder(plan.types, plan.weights, plan.known, [], [])
    arrays: list[np.ndarray] = []
    for i, kind in enumerate(unit.site.inputs):
        if kind is not None and i not in unit.site.weights and builder.given(node.inputs[i], option.inputs[i] or "NCHW", len(arrays)):
            arrays.append(_filled(kind.size, kind.dtype))
    program = builder.build([Unit(unit.site, node.outputs[:len(unit.site.outputs)], [option])], [option])
    code, names = program.serialise()
    engine: Any = module.Engine(code, names, isa, program.weights, [array.nbytes for array in arrays], [], program.arena_bytes,
                                program.scratch_bytes, module.ThreadPool(1))
    call = engine.bound(arrays, [], None, False)
    call()
    best, end = float("inf"), time.perf_counter() + SECONDS
    while True:
        start = time.perf_counter()
        call()
        now = time.perf_counter()
        best = min(best, now - start)
        if now >= end:
            return best


def _filled(size: int, dtype: str) -> np.ndarray:
    rng = np.random.default_rng(0)
    return rng.standard_normal(size, np.float32) if dtype == "float32" else rng.integers(0, 2, size).astype(dtype)


