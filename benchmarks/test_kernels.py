"""``pytest benchmarks``: one benchmark per case and kernel (pytest-benchmark), at the best ISA level or the one that ``THINFER_ISA`` names.

``pytest benchmarks --benchmark-json=FILE`` writes the figures with CPU, ISA level, threads, versions and git revision; ``-k gemv`` chooses.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from thinfer import runtime
from thinfer.benchmarks import kernel_cases
from thinfer.kernels import isa, roofs

pytestmark = pytest.mark.skipif(isa.native() is None, reason="no compiled kernels")
THREADS = 1
WIDTH, NARROW = 4096, 448
"""Of fully connected layers: as they are timed, and as they are made to see which kernels there are, a number that no other layer has."""


def _benchmarks() -> Iterator[Any]:
    """Cases are made to see their kernels, narrow ones, and made again when their turn comes."""
    if isa.native() is None:
        return
    level = isa.selected()
    for narrow, make in zip(kernel_cases.node_cases(NARROW), kernel_cases.node_cases(WIDTH)):
        case = narrow()
        for option in case.options(level, THREADS):
            yield pytest.param(make, option, id=f"{case.name}: {option}".replace(f" {NARROW}", f" {WIDTH}"))


@pytest.mark.parametrize(("make", "option"), list(_benchmarks()))
def test_kernel(benchmark: Any, make: Callable[[], kernel_cases.NodeCase], option: str) -> None:
    case, level = make(), isa.selected()
    options = case.options(level, THREADS)
    if option not in options:
        pytest.skip("this size has no such lowering")
    chosen = options[option]
    benchmark.extra_info |= {"op": case.node.op, "kernels": case.bare(chosen).kernels, "estimated ms": chosen.cost * 1e-6, "threads": THREADS}
    benchmark(case.call(chosen, level, THREADS))


@pytest.mark.parametrize("name", list(kernel_cases.networks(NARROW)))
def test_network(benchmark: Any, name: str) -> None:
    session = runtime.load(kernel_cases.networks(WIDTH)[name.replace(f" {NARROW}", f" {WIDTH}")], threads=THREADS)
    x = np.ones([int(dim) for dim in session.inputs[0].shape], np.float32)
    benchmark.extra_info["threads"] = THREADS
    benchmark(session.run, {session.inputs[0].name: x})


def test_roofs(benchmark: Any) -> None:
    """The kernels that measure what the machine can do at most."""
    benchmark.extra_info["threads"] = THREADS
    benchmark.pedantic(roofs.measure, rounds=2)
