"""One weight that several nodes read, each with what is its own: none may get what was packed for another."""

from __future__ import annotations

import numpy as np
import pytest
from native_harness import every_level, pytestmark  # noqa: F401
from thinfer import runtime
from thinfer.formats.graph import ActivationQuantization, Graph, Node, ValueInfo, verify
from thinfer.formats.tensor import Affine, EncodedTensor
from thinfer.runtime.interpreter import evaluate


@every_level
@pytest.mark.parametrize(("op", "rows"), [("Conv", 1), ("Gemm", 1), ("Gemm", 8)])
def test_integer_branches_with_biases_of_their_own(op: str, rows: int, level: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both branches of an If make a value of one name from one weight."""
    monkeypatch.setenv("THINFER_ISA", level)
    rng = np.random.default_rng(0)
    convolves = op == "Conv"
    codes, scales = rng.integers(0, 256, 128).astype(np.uint8), np.full((8, 1), 0.01, np.float32)
    weight = EncodedTensor((8, 16, 1, 1) if convolves else (16, 8), "float32", Affine(codes, 8, scales, None, 16), axis=0 if convolves else 1)
    shape, after = ((1, 16, 4, 4), (1, 8, 4, 4)) if convolves else ((rows, 16), (rows, 8))

    def branch(bias: str) -> Graph:
        return Graph((), (ValueInfo("c", "float32", after),), (Node(op, ("x", "w", bias), ("c",)),), {})

    graph = verify(Graph((ValueInfo("cond", "bool", ()), ValueInfo("x", "float32", shape)), (ValueInfo("y", "float32", after),),
                         (Node("If", ("cond",), ("y",), {"then_branch": branch("b1"), "else_branch": branch("b2")}),),
                         {"w": weight, "b1": EncodedTensor.dense(np.full(8, 1, np.float32)), "b2": EncodedTensor.dense(np.full(8, 100, np.float32))},
                         quantized={"x": ActivationQuantization("static", "int8", float(np.float32(0.05)), 0)}))
    session, x = runtime.load(graph), rng.standard_normal(shape).astype(np.float32)
    for condition in (True, False, True):
        feeds = {"cond": np.array(condition), "x": x}
        np.testing.assert_array_equal(session.run(feeds)["y"], evaluate(graph, feeds)["y"])


def test_biases_of_grus_that_reset_before_and_after() -> None:
    rng = np.random.default_rng(0)
    weights = {name: EncodedTensor.dense(rng.uniform(-1, 1, shape).astype(np.float32))
               for name, shape in (("W", (1, 24, 8)), ("R", (1, 24, 8)), ("B", (1, 48)))}
    nodes = tuple(Node("GRU", ("x", "W", "R", "B"), (output,), {"hidden_size": 8, "linear_before_reset": after})
                  for after, output in enumerate(("y", "z")))
    outputs = tuple(ValueInfo(name, "float32", ("a", "b", "c", "d")) for name in ("y", "z"))
    graph = verify(Graph((ValueInfo("x", "float32", (3, 1, 8)),), outputs, nodes, weights))
    feeds = {"x": rng.standard_normal((3, 1, 8)).astype(np.float32)}
    expected = evaluate(graph, feeds)
    for name, found in runtime.load(graph).run(feeds).items():
        np.testing.assert_allclose(found, expected[name], rtol=0, atol=1e-6)
