"""What each node of a run took: time, multiply-accumulates, bytes. For reports; nothing of it happens in ``run``."""

from __future__ import annotations

import time
from collections.abc import Container, Iterable, Mapping, Sequence

import numpy as np

from ..formats.graph import Graph, Node
from ..formats.record import dataclass
from ..formats.tensor import EncodedTensor
from ..kernels import ops
from ..kernels.lowering import Lowering
from ..kernels.ops._op import DOMAIN, Type
from .partition import Unit
from .program import Program
from .shapes import outline
from .weights import PackedWeights


@dataclass(frozen=True)
class NodeProfile:
    """One node of a run, and those that run in the same steps.

    ``op``: their operators, joined by " + ". ``kernels``: the native kernels of its steps, reorders included, in order; ("numpy",) or ("numba",)
    where that runs it. ``seconds``: of wall time. ``macs``: multiply-accumulates with the weights that are there (0: none worth counting).
    ``work``: no more than these, and fewer where its kernel's algorithm does with fewer. ``integer``: they are done in int8. ``value_bytes``,
    ``weight_bytes``: the buffers that its steps touch, each counted once, weights as they lie in RAM.
    """

    node: str
    op: str
    kernels: tuple[str, ...]
    seconds: float
    macs: int
    work: int
    integer: bool
    value_bytes: int
    weight_bytes: int


def native_profile(graph: Graph, units: Sequence[Unit], chosen: Sequence[Lowering], program: Program, times: np.ndarray) -> list[NodeProfile]:
    """A row per unit that has steps. ``times``: int64 nanoseconds of each step."""
    kernels: list[list[str]] = [[] for _ in units]
    spent = [0] * len(units)
    for step, taken in zip(program.steps, times.tolist()):
        kernels[step.unit].append(step.kernel)
        spent[step.unit] += taken
    rows = []
    for place, unit in enumerate(units):
        if kernels[place]:
            nodes = [unit.site.node, *unit.fused]
            macs, dense = _macs_of(unit)
            rows.append(NodeProfile(graph.label(nodes[0]), _text(nodes), tuple(kernels[place]), 1e-9 * spent[place], macs,
                                    min(macs, round(dense * chosen[place].work)), nodes[0].op.startswith(DOMAIN), *program.traffic[place]))
    return rows


class NodeWatch:
    """Collects rows of nodes that NumPy or Numba runs; each call ends one node and begins the next."""

    def __init__(self, graph: Graph, weights: PackedWeights, compiled: Container[int]) -> None:
        """``compiled``: ids of the nodes that Numba runs."""
        self.rows: list[NodeProfile] = []
        self._graph, self._weights, self._compiled = graph, weights, compiled
        self._since = time.perf_counter()

    def __call__(self, node: Node, args: Sequence[np.ndarray | None], made: Sequence[np.ndarray]) -> None:
        seconds = time.perf_counter() - self._since
        held = {i: outline(self._weights.source, name) for i, name in enumerate(node.inputs) if name in self._weights.source}
        kinds = [Type(held[i].dtype, held[i].shape) if i in held else None if array is None else Type(array.dtype.name, array.shape)
                 for i, array in enumerate(args)]
        macs, _ = _macs(node, kinds, [Type(array.dtype.name, array.shape) for array in made], held)
        values = sum(array.nbytes for i, array in enumerate(args) if array is not None and i not in held) + sum(array.nbytes for array in made)
        backend = "numba" if id(node) in self._compiled else "numpy"
        self.rows.append(NodeProfile(self._graph.label(node), _text([node]), (backend,), seconds, macs, macs, False, values,
                                     self._touched(node, args, held)))
        self._since = time.perf_counter()

    def _touched(self, node: Node, args: Sequence[np.ndarray | None], held: Iterable[int]) -> int:
        """Bytes of the weights: expanded, or as they are packed for Numba."""
        expanded = sum(array.nbytes for i in held if (array := args[i]) is not None)
        packed = {node.inputs[i] for i in held if args[i] is None}
        return expanded + sum(size for name, forms in self._weights.memory().items() if name in packed for _, size in forms)


def _text(nodes: Sequence[Node]) -> str:
    return " + ".join(node.op.removeprefix(DOMAIN) for node in nodes)


def _macs_of(unit: Unit) -> tuple[int, int]:
    site = unit.site
    return _macs(site.node, site.inputs, site.outputs, site.weights)


def _macs(node: Node, inputs: Sequence[Type | None], outputs: Sequence[Type], weights: Mapping[int, EncodedTensor]) -> tuple[int, int]:
    """Multiply-accumulates with the weights that are there, and with all."""
    op = ops.get(node.op)
    if op.macs is None:
        return 0, 0
    dense = op.macs(op.attrs_of(node), inputs, outputs)
    largest = max(weights.values(), key=lambda tensor: tensor.size, default=None)
    return dense if largest is None or not largest.size else dense * largest.held // largest.size, dense
