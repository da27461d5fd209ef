"""Random nets of operators that run natively and of others, with outputs anywhere in them: plans against node by node in float64."""

from __future__ import annotations

import numpy as np
import pytest
from graphs import error, wide
from thinfer import runtime
from thinfer.formats.graph import Graph, Node, ValueInfo, verify
from thinfer.formats.tensor import EncodedTensor
from thinfer.runtime.interpreter import evaluate
from thinfer.runtime.shapes import infer

SEEDS = 120
NODES = 14
ELEMENTWISE = ("Relu", "Sigmoid", "Tanh", "HardSwish", "Neg", "Abs", "Erf", "Sign", "Softplus", "Identity", "Ceil", "Dropout")
PAIRS = ("Add", "Sub", "Mul", "Max", "Min")


class Growing:
    """A graph that grows by one random node at a time. All values have four axes, the first of length ``batch``."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.weights: dict[str, EncodedTensor] = {}
        self.nodes: list[Node] = []
        self.shapes: dict[str, tuple[int, ...]] = {"x": (int(self.rng.integers(1, 3)), int(self.rng.integers(1, 9)), 6, 5)}

    def weight(self, *shape: int, dtype: str = "float32", values: object = None) -> str:
        name = f"w{len(self.weights)}"
        array = self.rng.standard_normal(shape) * 0.3 if values is None else np.asarray(values)
        self.weights[name] = EncodedTensor.dense(array.astype(dtype))
        return name

    def pick(self) -> str:
        """A value, rather a late one."""
        names = list(self.shapes)
        return names[-1] if self.rng.random() < 0.5 else str(self.rng.choice(names))

    def add(self, op: str, inputs: tuple[str, ...], outputs: int = 1, **attrs: object) -> None:
        names = tuple(f"v{len(self.shapes)}_{k}" for k in range(outputs))
        self.nodes.append(Node(op, inputs, names, attrs))
        types = infer(self.graph(names), {"x": self.shapes["x"]})
        for name in names:
            kind = types[name]
            assert kind is not None
            self.shapes[name] = kind.shape

    def grow(self) -> None:
        x = self.pick()
        n, c, h, w = self.shapes[x]
        kind = int(self.rng.integers(12))
        if kind <= 2:
            self.add(str(self.rng.choice(ELEMENTWISE)), (x,))
        elif kind == 3:
            same = [name for name, shape in self.shapes.items() if shape == self.shapes[x]]
            self.add(str(self.rng.choice(PAIRS)), (x, str(self.rng.choice(same))))
        elif kind == 4:
            self.add("Mul", (x, self.weight(1, c, 1, 1)) if self.rng.random() < 0.5 else (self.weight(1, 1, 1, w), x))
        elif kind == 5:
            out = int(self.rng.integers(1, 20))
            self.add("Conv", (x, self.weight(out, c, 3, 3), self.weight(out)), pads=(1, 1, 1, 1))
        elif kind == 6:
            self.add("Conv", (x, self.weight(c, 1, 3, 3)), group=c, pads=(1, 1, 1, 1))
        elif kind == 7 and c > 1:
            first = int(self.rng.integers(1, c))
            self.add("Split", (x, self.weight(dtype="int64", values=[first, c - first])), 2, axis=1)
        elif kind == 8:
            alike = [name for name, shape in self.shapes.items() if (shape[0], *shape[2:]) == (n, h, w)]
            self.add("Concat", (x, str(self.rng.choice(alike))), axis=1)
        elif kind == 9:
            self.add(str(self.rng.choice(("MaxPool", "AveragePool"))), (x,), kernel_shape=(3, 3), pads=(1, 1, 1, 1))
        elif kind == 10:
            self.add("Transpose", (x,), perm=(0, *(int(p) + 1 for p in self.rng.permutation(3))))
        else:
            self.add("Softmax", (x,), axis=int(self.rng.integers(1, 4)))

    def graph(self, outputs: tuple[str, ...]) -> Graph:
        infos = tuple(ValueInfo(name, "float32", self.shapes.get(name, ("a", "b", "c", "d"))) for name in outputs)
        return Graph((ValueInfo("x", "float32", self.shapes["x"]),), infos, tuple(self.nodes), self.weights)


@pytest.mark.parametrize("seed", range(SEEDS))
def test_plans_equal_the_interpreter(seed: int) -> None:
    growing = Growing(seed)
    while len(growing.nodes) < NODES:
        growing.grow()
    made = [name for name in growing.shapes if name != "x"]
    outputs = tuple(dict.fromkeys([made[-1], *growing.rng.choice(made, 3).tolist()]))
    graph = verify(growing.graph(outputs))
    feeds = {"x": growing.rng.standard_normal(growing.shapes["x"]).astype(np.float32)}
    expected = evaluate(graph, wide(feeds))
    for backend in ("native", "numpy"):
        session = runtime.load(graph, backend=backend, threads=1 + seed % 2)
        for _ in range(2):  # an arena is used again
            for name, array in session.run(feeds).items():
                steep = any(node.op in ("Sign", "Ceil") for node in graph.nodes)  # where rounding decides
                if steep:
                    assert array.shape == expected[name].shape
                    assert np.mean(np.abs(array - expected[name]) > 1e-3 * max(1.0, np.abs(expected[name]).max(initial=0))) < 0.05
                else:
                    assert error(array, expected[name]) < 1e-4, name
