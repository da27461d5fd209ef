"""Every line of kernels.inc has a case that benchmarks time, and gives there what NumPy gives: layers with smaller images, at every ISA level.
(That each has a test of its own, with odd shapes, is seen by conftest.py at the end of a whole run.)"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from math import prod

import numpy as np
import pytest
from kernel_record import Row, recorded, resolved, rows
from thinfer import runtime
from thinfer.benchmarks import kernel_cases
from thinfer.benchmarks.bare import Bare
from thinfer.benchmarks.kernel_cases import NodeCase
from thinfer.formats.graph import Graph
from thinfer.kernels import isa, ops, roofs
from thinfer.kernels.lowering import Lowering
from thinfer.kernels.slabs import aligned

pytestmark = pytest.mark.skipif(isa.native() is None, reason="no compiled kernels")
WIDTH, IMAGE = 128, 9
"""Of fully connected layers, and of images: which kernels run them does not hang on their size."""
ROUNDING = 2e-6
"""Of what is added, without signs: sums in float32."""
PRODUCTS = ("Conv", "Gemm", "MatMul")


def cases() -> Iterator[NodeCase]:
    for layer in kernel_cases.layers(WIDTH):
        yield kernel_cases.of_layer(replace(layer, x=(*layer.x[:2], *(min(length, IMAGE) for length in layer.x[2:]))))
    yield from (*kernel_cases.reorders(), *kernel_cases.of_operators())
    for name, graph in kernel_cases.quantized(WIDTH).items():
        yield from kernel_cases.nodes_of(name, graph)


def expected(case: NodeCase) -> tuple[list[np.ndarray], float]:
    """(outputs by NumPy, in float64 where everything is floats; the largest sum of sizes of what is added)."""
    operator = ops.get(case.node.op)
    attrs = operator.attrs_of(case.node)
    arrays = [None if array is None else case.weights[i].decode() if i in case.weights else array for i, array in enumerate(case.arrays)]
    if all(kind.dtype == "float32" for kind in case.outputs):
        arrays = [a.astype(np.float64) if a is not None and a.dtype == np.float32 else a for a in arrays]
    found = [np.asarray(y) for y in operator.run(attrs, *arrays)[:len(case.outputs)]]
    sizes = found
    if case.node.op in PRODUCTS:
        sizes = operator.run(attrs, *(None if a is None else np.abs(a) for a in arrays))
    return found, max((float(np.abs(y[np.isfinite(y)]).max(initial=0)) for y in map(np.asarray, sizes) if y.dtype.kind == "f"), default=0.0)


def run(case: NodeCase, option: Lowering, bare: Bare, level: str) -> list[np.ndarray]:
    raw = tuple(aligned(prod(kind.shape) * np.dtype(kind.dtype).itemsize) for kind in case.outputs)
    bare.engine([out.nbytes for out in raw], level, 1).run((), raw)
    found = []
    for i, (kind, out) in enumerate(zip(case.outputs, raw)):
        y = out.view(kind.dtype)
        last = i == 0 and option.output == "NHWC" and len(kind.shape) > 2
        found.append(np.moveaxis(y.reshape(kind.shape[0], *kind.shape[2:], kind.shape[1]), -1, 1) if last else y.reshape(kind.shape))
    return found


@pytest.mark.parametrize("level", isa.levels())
def test_every_kernel_is_right_where_it_is_timed(level: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cases of single nodes through all of their lowerings that have a kernel of this level (the others run what a lower level ran), small
    networks as they are planned, and the measurement of the machine's roofs."""
    found: set[Row] = set()
    for case in cases():
        made = {name: (option, case.bare(option)) for name, option in case.options(level).items()}
        there = {name: resolved(bare.kernels, level) for name, (_, bare) in made.items()}
        options = {name: both for name, both in made.items() if any(row[1] == level for row in there[name])}
        # Products of codes are held against NumPy as a plan has them, in networks: alone their case has no codes but 0.
        want, size = expected(case) if options and "thinfer::" not in case.node.op else ([], 0.0)
        for name, (option, bare) in options.items():
            for y, exact in zip(run(case, option, bare, level), want):
                what = f"{case.name}: {name} at {level}"
                if y.dtype == np.float32:
                    np.testing.assert_allclose(y, exact, rtol=1e-5, atol=ROUNDING * size, err_msg=what)
                else:
                    np.testing.assert_array_equal(y, exact, err_msg=what)
            found |= there[name]
    monkeypatch.setattr(roofs, "SECONDS", 0.0)
    monkeypatch.setattr(roofs, "cache_sizes", lambda threads: {2: 1 << 16})
    monkeypatch.setenv("THINFER_ISA", level)
    with recorded() as planned:
        roofs.measure()
        for name, graph in kernel_cases.networks(WIDTH).items():
            whole(name, graph)
    missing = sorted(row for row in rows() - found - planned if row[1] == level)
    assert missing == [], "kernels.inc has kernels without a case in benchmarks/kernel_cases.py or an operator's bench cases"


def whole(name: str, graph: Graph) -> None:
    """A network as it is planned, against the NumPy backend."""
    rng = np.random.default_rng(3)
    feeds = {info.name: rng.standard_normal([int(dim) for dim in info.shape]).astype(np.float32) for info in graph.inputs}
    want = runtime.load(graph, backend="numpy").run(feeds)
    for key, y in runtime.load(graph).run(feeds).items():
        np.testing.assert_allclose(y, want[key], rtol=1e-5, atol=1e-5 * float(np.abs(want[key]).max()), err_msg=name)
