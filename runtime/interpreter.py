"""The NumPy backend: runs a graph node by node with the operators' own implementations, expanding one node's weights at a time.

It is the reference for the other backends and what runs where no compiled kernels exist.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from ..formats.graph import Graph, Node
from ..kernels import ops


def run_node(node: Node, args: Sequence[np.ndarray | None]) -> tuple[np.ndarray, ...]:
    """The outputs of one node on concrete arrays."""
    op = ops.get(node.op)
    with np.errstate(all="ignore"):
        return op.run(op.attrs_of(node), *args)


def last_uses(nodes: Sequence[Node]) -> list[tuple[str, ...]]:
    """For each node the values that no later node reads."""
    seen: set[str] = set()
    dying: list[tuple[str, ...]] = []
    for node in reversed(nodes):
        fresh = tuple(name for name in dict.fromkeys((*node.inputs, *node.outputs)) if name and name not in seen)
        seen.update(fresh)
        dying.append(fresh)
    return dying[::-1]


def execute(nodes: Sequence[Node], values: dict[str, np.ndarray], weight: Callable[[str], np.ndarray | None],
            keep: frozenset[str]) -> dict[str, np.ndarray]:
    """Runs ``nodes`` over ``values`` (changed in place); values that are neither needed later nor in ``keep`` are dropped.

    ``weight``: the expanded constant of that name, or None if the name is no constant.
    """
    for node, dying in zip(nodes, last_uses(nodes)):
        args = []
        for name in node.inputs:
            args.append(None if not name else values[name] if name in values else weight(name))
        values.update((name, out) for name, out in zip(node.outputs, run_node(node, args)) if name)
        for name in dying:
            if name not in keep:
                values.pop(name, None)
    return values


def evaluate(graph: Graph, feeds: Mapping[str, np.ndarray], outputs: Sequence[str] | None = None) -> dict[str, np.ndarray]:
    """The graph's outputs (or any values named in ``outputs``) for ``feeds``, by name. In float64 if the feeds are float64."""
    wanted = tuple(outputs) if outputs is not None else tuple(info.name for info in graph.outputs)
    wide = any(array.dtype == np.float64 for array in feeds.values())

    def weight(name: str) -> np.ndarray:
        array = graph.weights[name].decode()
        return array.astype(np.float64) if wide and array.dtype == np.float32 else array

    values = execute(graph.nodes, dict(feeds), weight, frozenset(wanted))
    return {name: values[name] if name in values else weight(name) for name in wanted}
