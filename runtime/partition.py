"""Which nodes of a graph have to run for given shapes, which of them the native engine can run, and in what segments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set

import numpy as np

from ..formats.graph import ActivationQuantization, Graph, Node
from ..formats.record import dataclass, field, replace
from ..formats.tensor import EncodedTensor
from ..kernels import ops
from ..kernels.lowering import DTYPES, Lowering, Site, lowerings
from ..kernels.ops._op import HOW, QUANTIZE, Type
from .shapes import outline

Types = Mapping[str, "Type | None"]

MOST_AXES = 8
"""Values of higher rank run in NumPy: strided kernels walk that many axes."""


@dataclass(eq=False)
class Unit:
    """What one native kernel choice covers: a node, and what is fused into it: an addition of ``addend``, a Relu or Clip, a quantization.

    ``outputs`` are the values that the unit makes (the last fused node's): of a product with lowerings that have ``ends`` the floats, if somebody
    reads them, and ``codes`` on the grid ``how``. ``options``: the ways to run it. ``fused``: the nodes after the first.
    """

    site: Site
    outputs: tuple[str, ...]
    options: list[Lowering]
    low: float = -np.inf
    high: float = np.inf
    addend: str = ""
    codes: str = ""
    how: ActivationQuantization | None = None
    fused: list[Node] = field(default_factory=list)

    def reads(self) -> list[str]:
        """The values that it reads and that are no constants."""
        own = [name for i, name in enumerate(self.site.node.inputs) if name and i not in self.site.weights]
        return [*own, self.addend] if self.addend else own


@dataclass(frozen=True, eq=False)
class NativeSegment:
    """Units that run in one native call."""

    units: list[Unit]


@dataclass(frozen=True, eq=False)
class PythonSegment:
    """Nodes that run one by one in NumPy."""

    nodes: list[Node]


Segment = NativeSegment | PythonSegment


def known_values(types: Types, graph: Graph) -> dict[str, np.ndarray]:
    """Values (not weights) whose elements are known at plan time."""
    return {name: kind.value for name, kind in types.items() if kind is not None and kind.value is not None and name not in graph.weights}


def needed_nodes(graph: Graph, known: Mapping[str, np.ndarray]) -> list[Node]:
    """The nodes that the graph's outputs depend on and whose outputs are not known already, in order."""
    wanted = {info.name for info in graph.outputs if info.name not in known}
    kept: list[Node] = []
    for node in reversed(graph.nodes):
        if wanted.intersection(node.outputs):
            kept.append(node)
            wanted.update(name for name in node.reads() if name not in known)
    return kept[::-1]


class Partitioner:
    """Splits the needed nodes into segments. ``isa`` None: everything runs in NumPy."""

    def __init__(self, graph: Graph, types: Types, known: Mapping[str, np.ndarray], threads: int, isa: str | None,
                 factors: Mapping[str, float] | None = None) -> None:
        """``factors``: kernel → what its estimates are to be multiplied by (kernels/tuned.py)."""
        self.factors = factors or {}
        self.graph, self.types, self.known, self.threads, self.isa = graph, types, known, threads, isa
        self.consumers = graph.consumers()
        self.results = {info.name for info in graph.outputs}

    def segments(self) -> list[Segment]:
        nodes = needed_nodes(self.graph, self.known)
        options = {id(node): self._options(node) for node in nodes}
        found: list[Segment] = []
        for native, run in _runs(nodes, {key for key, (_, ways) in options.items() if ways}):
            if native:
                found.append(NativeSegment(self._units(run, options)))
            else:
                found.append(PythonSegment(run))
        return found

    def _options(self, node: Node) -> tuple[Site | None, list[Lowering]]:
        site = self.site(node) if self.isa is not None else None
        ways = [way for way in lowerings(site) if way.makes >= len(site.outputs)] if site is not None else []
        return site, [replace(way, cost=way.cost * self.factors[way.kernel]) if way.kernel in self.factors else way for way in ways]

    def site(self, node: Node) -> Site | None:
        """The node as kernels see it; None if compiled ones cannot take it (dtype, unknown shape, no elements)."""
        inputs = tuple([self.types[name] if name else None for name in node.inputs])
        names = tuple([name for name in node.outputs if name])
        outputs = tuple([kind for name in names if (kind := self.types[name]) is not None])
        if len(outputs) < len(names) or names != node.outputs[:len(names)]:
            return None
        weights: dict[int, EncodedTensor] = {}
        varies = False
        for i, (name, kind) in enumerate(zip(node.inputs, inputs)):
            if not name:
                continue
            if name in self.graph.weights:
                weights[i] = outline(self.graph.weights, name)
            elif name in self.known:
                weights[i] = EncodedTensor.dense(self.known[name])
            elif kind is None or kind.dtype not in DTYPES or kind.size == 0:
                return None
            else:
                varies = True
        if any([len(kind.shape) > MOST_AXES for kind in (*inputs, *outputs) if kind is not None]):
            return None
        if not varies or any([kind.dtype not in DTYPES or kind.size == 0 for kind in outputs]):
            return None
        attrs = ops.get(node.op).attrs_of(node)
        return Site(node, attrs, inputs, outputs, weights, self.threads, self.isa or "")

    def _units(self, nodes: Sequence[Node], options: Mapping[int, tuple[Site | None, list[Lowering]]]) -> list[Unit]:
        units: list[Unit] = []
        maker: dict[str, int] = {}  # value → place of the unit that makes it
        fused: set[int] = set()
        inside = {id(node) for node in nodes}
        for node in nodes:
            if id(node) in fused:
                continue
            site, ways = options[id(node)]
            assert site is not None
            at = self._added(node, units, maker)
            if at is None:
                at = len(units)
                units.append(Unit(site, node.outputs[:len(site.outputs)], ways))
            unit = units[at]
            for follower in (self._clamped(unit, node, inside), self._quantized(unit, inside)):
                if follower is not None:
                    unit.fused.append(follower)
                    fused.add(id(follower))
            maker.update(dict.fromkeys(unit.outputs, at))
        return units

    def _added(self, node: Node, units: Sequence[Unit], maker: Mapping[str, int]) -> int | None:
        """The place of the product that the addition ``node`` was fused into: the later one of its operands, so that the other one is there."""
        kinds = [self.types[name] for name in (*node.inputs, *node.outputs) if name]
        if node.op != "Add" or any(kind is None or kind.dtype != "float32" or kind.shape != kinds[0].shape for kind in kinds):  # type: ignore[union-attr]
            return None
        name, other = sorted(node.inputs, key=lambda name: maker.get(name, -1))[::-1]
        at = maker.get(name)
        if at is None or maker.get(other, -1) >= at or other in self.known or other in self.graph.weights or not self._is_only_read_by(name, node):
            return None
        unit = units[at]
        ending = [way for way in unit.options if way.ends]
        if not ending or unit.outputs != (name,) or unit.addend or np.isfinite((unit.low, unit.high)).any():
            return None
        unit.addend, unit.outputs, unit.options = other, node.outputs[:1], ending
        unit.fused.append(node)
        return at

    def _clamped(self, unit: Unit, node: Node, inside: Set[int]) -> Node | None:
        """The Relu or Clip after ``node``, the last one of the unit so far, that was fused into the unit."""
        follower = self._clamp_after(node, inside)
        fusing = [way for way in unit.options if way.fuses]
        if follower is None or not fusing:
            return None
        unit.low, unit.high = self._bounds(follower)
        unit.outputs, unit.options = follower.outputs[:1], fusing
        return follower

    def _quantized(self, unit: Unit, inside: Set[int]) -> Node | None:
        """The Quantize after the unit that was fused into it. Its floats stay if others read them."""
        ending = [way for way in unit.options if way.ends]
        readers = self.consumers.get(unit.outputs[0], [])
        found = next((reader for reader in readers if reader.op == QUANTIZE and reader.attrs[HOW].kind == "static" and id(reader) in inside), None)
        if found is None or not ending:
            return None
        unit.codes, unit.how, unit.options = found.outputs[0], found.attrs[HOW], ending
        kept = unit.outputs if len(readers) > 1 or unit.outputs[0] in self.results else ()
        unit.outputs = (*kept, unit.codes)
        return found

    def _is_only_read_by(self, name: str, node: Node) -> bool:
        return name not in self.results and [id(reader) for reader in self.consumers[name]] == [id(node)]
    def _clamp_after(self, node: Node, inside: Set[int]) -> Node | None:
        """The Relu or Clip (with known bounds) that is the only reader of the node's output."""
        readers = self.consumers.get(node.outputs[0], [])
        if len(readers) != 1 or node.outputs[0] in self.results or id(readers[0]) not in inside:
            return None
        reader = readers[0]
        if reader.inputs[0] != node.outputs[0] or reader.op not in ("Relu", "Clip"):
            return None
        bounds = [name for name in reader.inputs[1:] if name]
        return reader if all(self._value(name) is not None for name in bounds) else None

    def _bounds(self, node: Node) -> tuple[float, float]:
        if node.op == "Relu":
            return 0.0, float("inf")
        given = [self._value(name) if name else None for name in (*node.inputs[1:], "", "")[:2]]
        low, high = given
        return (float("-inf") if low is None else float(low.item())), (float("inf") if high is None else float(high.item()))

    def _value(self, name: str) -> np.ndarray | None:
        kind = self.types[name]
        return None if kind is None else kind.value


def _runs(nodes: Sequence[Node], native: set[int]) -> list[tuple[bool, list[Node]]]:
    """Groups nodes of one kind while dependencies allow, so that there are few segments; order inside a group is kept."""
    pending = list(nodes)
    made_by_pending = {name for node in pending for name in node.outputs if name}
    runs: list[tuple[bool, list[Node]]] = []
    kind = True
    while pending:
        taken: list[Node] = []
        left: list[Node] = []
        for node in pending:
            ready = (id(node) in native) == kind and not any(name in made_by_pending for name in node.reads())
            if ready:
                taken.append(node)
                made_by_pending.difference_update(node.outputs)
            else:
                left.append(node)
        if taken:
            runs.append((kind, taken))
        pending, kind = left, not kind
    return runs
