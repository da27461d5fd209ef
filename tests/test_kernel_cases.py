"""Every line of kernels.inc has a case that benchmarks time. (That each has a test is seen by conftest.py, at the end of a whole run.)"""

from __future__ import annotations

import pytest
from kernel_record import recorded, resolved, rows
from thinfer import runtime
from thinfer.benchmarks import kernel_cases
from thinfer.kernels import isa, roofs

pytestmark = pytest.mark.skipif(isa.native() is None, reason="no compiled kernels")
WIDTH = 256
"""Of fully connected layers: which kernels run them does not hang on their size."""


def test_every_kernel_has_a_benchmark_case(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cases of single nodes through all of their lowerings, small networks as they are planned, and the measurement of the machine's roofs."""
    found = set()
    for make in kernel_cases.node_cases(WIDTH):
        case = make()
        for level in isa.levels():
            for option in case.options(level).values():
                found |= resolved(case.bare(option).kernels, level)
    monkeypatch.setattr(roofs, "SECONDS", 0.0)
    monkeypatch.setattr(roofs, "cache_sizes", lambda: {2: 1 << 16})
    for level in isa.levels():
        monkeypatch.setenv("THINFER_ISA", level)
        with recorded() as planned:
            roofs.measure()
            for graph in kernel_cases.networks(WIDTH).values():
                runtime.load(graph)
        found |= planned
    assert sorted(rows() - found) == [], "kernels.inc has kernels without a case in benchmarks/kernel_cases.py or an operator's bench cases"


def test_benchmark_cases_run() -> None:
    """One case of each operator that has lowerings, at the best level."""
    level = isa.levels()[-1]
    seen = set()
    for make in kernel_cases.node_cases(WIDTH):
        case = make()
        if case.node.op not in seen:
            for option in case.options(level).values():
                case.call(option, level)()
                seen.add(case.node.op)
    assert {"Conv", "Gemm", "thinfer::Quantize", "Softmax", "LSTM", "Transpose"} <= seen
