"""The family logic: booleans between native nodes, at every ISA level, on odd shapes, against NumPy."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from native_harness import every_level, pytestmark  # noqa: F401
from thinfer import runtime
from thinfer.formats.graph import Graph, Node, ValueInfo
from thinfer.formats.tensor import EncodedTensor

RNG = np.random.default_rng(0)
SHAPES = [((3, 5), (3, 5)), ((2, 3, 5, 7), (3, 1, 1)), ((4, 1, 6), (5, 1)), ((), (7,)), ((9001,), (9001,)), ((2, 3, 4099), (2, 1, 4099)),
          ((1,), (1,))]


def integers(*shape: int) -> np.ndarray:
    """Few different floats, so that some are equal; some are not numbers."""
    x = RNG.integers(-2, 3, shape).astype(np.float32)
    return np.where(RNG.random(shape) < 0.1, np.float32(np.nan), x)


def natively(monkeypatch: pytest.MonkeyPatch, level: str, nodes: Sequence[Node], feeds: Mapping[str, np.ndarray], dtype: str,
             weights: Mapping[str, np.ndarray] | None = None) -> np.ndarray:
    """The value ``y``, made in one native segment; the same with three threads."""
    monkeypatch.setenv("THINFER_ISA", level)
    inputs = tuple(ValueInfo(name, array.dtype.name, array.shape) for name, array in feeds.items())
    graph = Graph(inputs, (ValueInfo("y", dtype, ("any",)),), tuple(nodes), {name: EncodedTensor.dense(a) for name, a in (weights or {}).items()})
    found = [runtime.load(graph, backend="native", threads=threads).run(feeds)["y"] for threads in (1, 3)]
    np.testing.assert_array_equal(*found)
    session = runtime.load(graph, backend="native")
    (stage,) = session._plan(tuple(array.shape for array in feeds.values())).stages
    assert hasattr(stage, "program")
    assert found[0].dtype == dtype
    return found[0]


COMPARED: dict[str, Callable[[Any, Any], np.ndarray]] = {
    "Equal": np.equal, "Less": np.less, "LessOrEqual": np.less_equal, "Greater": np.greater, "GreaterOrEqual": np.greater_equal}
JOINED: dict[str, Callable[[Any, Any], np.ndarray]] = {"And": np.logical_and, "Or": np.logical_or, "Xor": np.logical_xor, "Equal": np.equal}


@every_level
@pytest.mark.parametrize("op", COMPARED)
def test_comparisons(level: str, op: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for a, b in SHAPES:
        feeds = {"a": integers(*a), "b": integers(*b)}
        found = natively(monkeypatch, level, [Node(op, ("a", "b"), ("y",))], feeds, "bool")
        np.testing.assert_array_equal(found, COMPARED[op](feeds["a"], feeds["b"]))


@every_level
@pytest.mark.parametrize("op", JOINED)
def test_connectives(level: str, op: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of values, and of a value and a constant."""
    for a, b in SHAPES:
        first, second = RNG.random(a) < 0.5, RNG.random(b) < 0.5
        expected = JOINED[op](first, second)
        node = Node(op, ("a", "b"), ("y",))
        np.testing.assert_array_equal(natively(monkeypatch, level, [node], {"a": first, "b": second}, "bool"), expected)
        np.testing.assert_array_equal(natively(monkeypatch, level, [node], {"a": first}, "bool", {"b": second}), expected)


@every_level
def test_choices(level: str, monkeypatch: pytest.MonkeyPatch) -> None:
    node = Node("Where", ("c", "a", "b"), ("y",))
    for (a, b), condition in zip(SHAPES, ((3, 1), (7,), (4, 5, 6), (1,), (9001,), (3, 1), ())):
        c, first, second = RNG.random(condition) < 0.5, integers(*a), integers(*b)
        expected = np.where(c, first, second)
        np.testing.assert_array_equal(natively(monkeypatch, level, [node], {"c": c, "a": first, "b": second}, "float32"), expected)
        np.testing.assert_array_equal(natively(monkeypatch, level, [node], {"a": first}, "float32", {"c": c, "b": second}), expected)


@every_level
def test_maps(level: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for shape in ((3, 5), (), (9001,), (2, 3, 4, 5)):
        x, c = integers(*shape), np.asarray(RNG.random(shape) < 0.5)
        for node, given, expected in ((Node("IsNaN", ("x",), ("y",)), x, np.isnan(x)), (Node("Not", ("x",), ("y",)), c, ~c),
                                      (Node("Cast", ("x",), ("y",), {"to": 9}), x, x.astype(bool)),
                                      (Node("Cast", ("x",), ("y",), {"to": 1}), c, c.astype(np.float32))):
            np.testing.assert_array_equal(natively(monkeypatch, level, [node], {"x": given}, expected.dtype.name), expected)


@every_level
def test_masks_between_other_nodes(level: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What exporters make of a softmax over rows that may be masked as a whole; the product before it prefers another layout."""
    x, w = RNG.standard_normal((1, 5, 6, 7)).astype(np.float32), RNG.standard_normal((8, 5, 1, 1)).astype(np.float32)
    nodes = [Node("Conv", ("x", "w"), ("s",)), Node("Greater", ("s", "zero"), ("keep",)), Node("Where", ("keep", "s", "low"), ("m",)),
             Node("Softmax", ("m",), ("p",), {"axis": -1}), Node("IsNaN", ("p",), ("none",)), Node("Where", ("none", "zero", "p"), ("y",))]
    constants = {"w": w, "zero": np.zeros((), np.float32), "low": np.array(-np.inf, np.float32)}
    found = natively(monkeypatch, level, nodes, {"x": x}, "float32", constants)
    s = np.einsum("ncij,oc->noij", x.astype(np.float64), w[:, :, 0, 0])
    with np.errstate(all="ignore"):
        e = np.where(s > 0, np.exp(s), 0)
        expected = np.nan_to_num(e / e.sum(-1, keepdims=True))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
