"""The NumPy backend: runs a graph node by node with the operators' own implementations, expanding one node's weights at a time.

It is the reference for the other backends and what runs where no compiled kernels exist.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import numpy as np

from ..formats.graph import Graph, Node, ValueInfo
from ..kernels import ops
from ..kernels.ops._integer import FORMS, SCALE
from ..kernels.ops._op import DOMAIN, Body, Type
from ..kernels.quantized import weight_integers
from .errors import OutOfMemory
from .explicit import explicit
from .shapes import BodyInference, check_memory, node_types, type_of

Lookup = Callable[[str], np.ndarray]
"""The elements of a value or weight, by name; the integers of a weight, by its name after ``INTEGERS``."""

INTEGERS: Final = "\0integers of "
"""No name of a file begins so."""

MakeBody = Callable[[Graph, Lookup], Body]
"""(subgraph, what the graphs around it have) → what the operator that holds it runs."""


Done = Callable[[Node, "Sequence[np.ndarray | None]", "Sequence[np.ndarray]"], None]
"""Called with a node that ran, what it read and what it made."""

Compiled = tuple[Sequence[str], Callable[[Sequence["np.ndarray | None"], Mapping[str, Body] | None], tuple[np.ndarray, ...]]]
"""What runs a node in place of its operator: the inputs that it reads ("" for the others), and the function of these."""


def reads(node: Node) -> tuple[str, ...]:
    """What the node asks a Lookup for, input by input: "" where it has none."""
    if node.attrs.get(SCALE) is None:
        return node.inputs
    weights = FORMS[node.op.removeprefix(DOMAIN)].weights
    return tuple(INTEGERS + name if place in weights else name for place, name in enumerate(node.inputs))


def run_node(node: Node, args: Sequence[np.ndarray | None]) -> tuple[np.ndarray, ...]:
    """The outputs of one node without subgraphs on concrete arrays."""
    with np.errstate(all="ignore"):
        return ops.get(node.op).prepared(node)(args, None)


class InterpretedBody:
    """A subgraph that runs node by node; ``outer`` gives what it reads of the graphs around it."""

    def __init__(self, graph: Graph, outer: Lookup) -> None:
        self.graph, self._outer = graph, outer
        self._names = [info.name for info in graph.outputs]
        self._nodes = NodeList(graph.nodes, frozenset(self._names))

    @property
    def outputs(self) -> tuple[ValueInfo, ...]:
        return self.graph.outputs

    def __call__(self, *inputs: np.ndarray) -> tuple[np.ndarray, ...]:
        values = {info.name: array for info, array in zip(self.graph.inputs, inputs)}
        self._nodes.run(values, self._outer)
        return tuple(values[name] if name in values else self._outer(name) for name in self._names)

    def types(self, *inputs: Type | None) -> list[Type | None]:
        return BodyInference(self.graph, {name: Type.of(self._outer(name)) for name in self.graph.captures()})(*inputs)


class NodeList:
    """Nodes that run one after another; values that are neither needed later nor in ``keep`` are dropped on the way.

    ``types``: what is known of the values. Where it is not all that concerns a node, the shapes are checked when they are there,
    by the operator's own rule, which says what is wrong in words. Without ``types`` nothing is checked. ``compiled`` says what runs a
    node in place of its operator, if anything does.
    """

    def __init__(self, nodes: Sequence[Node], keep: frozenset[str], make_body: MakeBody = InterpretedBody,
                 types: Mapping[str, Type | None] | None = None, compiled: Callable[[Node], Compiled | None] = lambda _: None) -> None:
        self._steps = [(node, *(compiled(node) or (reads(node), ops.get(node.op).prepared(node))), dict(node.subgraphs()), dying)
                       for node, dying in zip(nodes, _last_uses(nodes, keep))]
        self._make_body = make_body
        self._unchecked = {id(node) for node in nodes if types is not None and not any(node.subgraphs())
                           and any(types[name] is None for name in (*node.inputs, *node.outputs) if name)}

    def run(self, values: dict[str, np.ndarray], outer: Lookup, done: Done | None = None) -> None:
        """Adds what the nodes make to ``values``. ``outer``: what is not among the values, so the expanded constants, and in a
        subgraph what the graphs around it have. ``done`` is called after each node."""

        def find(name: str) -> np.ndarray:
            return values[name] if name in values else outer(name)

        with np.errstate(all="ignore"):
            for node, names, outputs, held, dying in self._steps:
                args = [find(name) if name else None for name in names]
                if id(node) in self._unchecked:
                    found = node_types(node, [None if array is None else type_of(array) for array in args])
                    check_memory([node], dict(zip(node.outputs, found)))
                try:
                    made = outputs(args, {key: self._make_body(body, find) for key, body in held.items()})
                except OutOfMemory:  # a node of a subgraph says so itself
                    raise
                except MemoryError:
                    raise OutOfMemory(f"there is not enough memory for what {node.op} node {node.name or node.outputs[0]!r} makes") from None
                values.update((name, out) for name, out in zip(node.outputs, made) if name)
                for name in dying:
                    values.pop(name, None)
                if done is not None:
                    done(node, args, made)


def _last_uses(nodes: Sequence[Node], keep: frozenset[str]) -> list[tuple[str, ...]]:
    """For each node the values that no later node reads and that are not in ``keep``."""
    seen = set(keep)
    dying: list[tuple[str, ...]] = []
    for node in reversed(nodes):
        fresh = tuple(name for name in dict.fromkeys((*node.reads(), *node.outputs)) if name and name not in seen)
        seen.update(fresh)
        dying.append(fresh)
    return dying[::-1]


def evaluate(graph: Graph, feeds: Mapping[str, np.ndarray], outputs: Sequence[str] | None = None) -> dict[str, np.ndarray]:
    """The graph's outputs (or any values named in ``outputs``) for ``feeds``, by name. In float64 if the feeds are float64."""
    wanted = tuple(outputs) if outputs is not None else tuple(info.name for info in graph.outputs)
    wide = any(array.dtype == np.float64 for array in feeds.values())

    def weight(name: str) -> np.ndarray:
        tensor = graph.weights[name.removeprefix(INTEGERS)]
        array = (weight_integers(tensor) if name.startswith(INTEGERS) else tensor).decode()
        return array.astype(np.float64) if wide and array.dtype == np.float32 else array

    values = dict(feeds)
    NodeList(explicit(graph).nodes, frozenset(wanted)).run(values, weight)
    return {name: values[name] if name in values else weight(name) for name in wanted}
