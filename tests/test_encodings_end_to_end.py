"""Any structure × values × coder × dtype × shape × axis: through a file, then NumPy and native against float64 with the decoded weight."""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np
import pytest
from format_samples import CODERS, assert_same_weight
from graphs import error, magnitude, reference
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from random_weights import STRUCTURES, VALUES, random_weight
from thinfer import runtime
from thinfer.formats.graph import Graph, Node, ValueInfo, verify
from thinfer.formats.reader import from_bytes
from thinfer.formats.tensor import EncodedTensor
from thinfer.formats.writer import to_bytes
from thinfer.kernels import isa

BACKENDS = ("numpy", *(("numba",) if find_spec("numba") else ()), *(("native",) if isa.native() is not None else ()))


@st.composite
def products(draw: st.DrawFn) -> tuple[Node, tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    """(node, shapes of x, weight and y) of a Gemm, MatMul or Conv."""
    rows, outputs, inputs = draw(st.integers(1, 5)), draw(st.integers(1, 40)), draw(st.integers(1, 150))
    op = draw(st.sampled_from(["Gemm", "MatMul", "Conv"]))
    if op == "MatMul":
        return Node("MatMul", ("x", "w"), ("y",)), (rows, inputs), (inputs, outputs), (rows, outputs)
    if op == "Gemm":
        return Node("Gemm", ("x", "w"), ("y",), {"transB": 1}), (rows, inputs), (outputs, inputs), (rows, outputs)
    groups, kernel, channels = draw(st.integers(1, 4)), draw(st.integers(1, 3)), draw(st.integers(1, 24))
    size = draw(st.integers(kernel, 6))
    attrs = {"group": groups, "pads": (kernel // 2,) * 4} if groups > 1 else {"pads": (kernel // 2,) * 4}
    out = size + 2 * (kernel // 2) - kernel + 1
    return (Node("Conv", ("x", "w"), ("y",), attrs), (rows, channels * groups, size, size), (outputs * groups, channels, kernel, kernel),
            (rows, outputs * groups, out, out))


@pytest.mark.parametrize("structure", STRUCTURES)
@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
@given(products(), st.sampled_from(VALUES), st.sampled_from(CODERS), st.integers(0, 3), st.sampled_from([0.05, 0.3, 0.9]),
       st.integers(0, 2**32 - 1))
def test_any_weight_through_a_file_runs_on_every_backend(structure: str, product: tuple[Node, tuple[int, ...], tuple[int, ...], tuple[int, ...]],
                                                        values: str, coder: str, axis: int, kept: float, seed: int) -> None:
    node, x_shape, w_shape, y_shape = product
    rng = np.random.default_rng(seed)
    weight = random_weight(rng, w_shape, structure, values, axis=axis % len(w_shape), coder=coder, kept=kept)
    graph = verify(Graph((ValueInfo("x", "float32", x_shape),), (ValueInfo("y", "float32", y_shape),), (node,), {"w": weight}))
    read = from_bytes(to_bytes(graph), check=True)
    assert_same_weight(read.weights["w"], weight)
    feeds = {"x": rng.standard_normal(x_shape).astype(np.float32)}
    decoded = Graph(graph.inputs, graph.outputs, graph.nodes, {"w": EncodedTensor.dense(weight.decode())})
    expected, sums = reference(decoded, feeds)["y"], magnitude(decoded, feeds)
    for backend in BACKENDS:
        assert error(runtime.load(read, backend=backend).run(feeds)["y"], expected, sums) <= 2e-6, backend  # type: ignore[arg-type]


@settings(max_examples=150, deadline=None)
@given(st.lists(st.integers(0, 40), max_size=4).map(tuple), st.sampled_from(STRUCTURES), st.sampled_from(VALUES), st.sampled_from(CODERS),
       st.sampled_from(["float32", "float16"]), st.integers(0, 3), st.integers(0, 2**32 - 1))
def test_any_shape_and_dtype_through_a_file_decodes_alike(shape: tuple[int, ...], structure: str, values: str, coder: str, dtype: str, axis: int,
                                                          seed: int) -> None:
    if np.prod(shape) > 20000:
        return
    weight = random_weight(np.random.default_rng(seed), shape, structure, "fp16" if (dtype, values) == ("float16", "plain") else values,
                           dtype=dtype, axis=min(axis, max(len(shape) - 1, 0)), coder=coder)
    graph = Graph((), (), (), {"w": weight})
    for decoder in ("numpy", None):
        found = from_bytes(to_bytes(graph), decoder=decoder, check=True).weights["w"]  # type: ignore[arg-type]
        assert_same_weight(found, weight)
        assert found.decode().tobytes() == weight.decode().tobytes()
