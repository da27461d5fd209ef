"""Structured pruning: whole neurons and channels go, with everything that belongs to them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

import numpy as np

from ...formats.errors import ThinferError
from ...formats.graph import Graph, Node
from ...formats.tensor import EncodedTensor
from ...kernels import ops
from . import _importance
from ._edit import channel_axis, fresh, taken_names, uses
from ._flow import Axis, Coupling, components, coupling
from .canonicalize import without_defaults

SCOPES = ("global", "layer")
IMPORTANCES = ("l1", "apoz")
PRODUCERS = frozenset({"Conv", "Gemm", "MatMul"})

Exempt = Callable[[str], bool]


class PruningError(ThinferError, ValueError):
    """Channels cannot be pruned as asked."""


def prune_channels(graph: Graph, *, fraction: float, scope: str = "global", importance: str = "l1",
                   calibration: Mapping[str, np.ndarray] | None = None, exempt: Exempt | None = None,
                   per_node: Mapping[str, float] | None = None, round_to: int = 1) -> Graph:
    """Removes the least important channels: their rows, their columns, their entries of biases and of BatchNormalization.

        x ──► Conv [64, 3, 3, 3] ──► BN [64] ──► Conv [32, 64, 1, 1] ──► y
        x ──► Conv [51, 3, 3, 3] ──► BN [51] ──► Conv [32, 51, 1, 1] ──► y          (fraction 0.2)

    What is removed is a unit: a class of indices that stand or fall together (``_flow.coupling``), made by rows of Conv, Gemm
    or MatMul weights. Units that share a weight form a group, and no group is emptied.

    ``fraction``: share of units to remove, 0 ≤ fraction < 1; of each group (scope ``"layer"``) or of the whole net by
    importance (``"global"``). ``importance``: ``"l1"``, or ``"apoz"`` on ``calibration`` (input name → array, samples first).
    ``exempt``: tells of a weight's name or a node's label whether its group stays whole. ``per_node``: name pattern → fraction
    of the groups whose weight or node it matches; of several matching ones the smallest counts. ``round_to``: the number of
    units left in a group is a multiple of this, as far as it had so many.

    Raises PruningError for arguments that make no sense, CalibrationError.
    """
    chosen = _choose(graph, fraction, scope, importance, calibration, exempt, per_node, round_to)
    return _removed(graph, chosen) if chosen.axes else graph


def zero_channels(graph: Graph, *, fraction: float, scope: str = "global", importance: str = "l1",
                  calibration: Mapping[str, np.ndarray] | None = None, exempt: Exempt | None = None,
                  per_node: Mapping[str, float] | None = None, round_to: int = 1) -> Graph:
    """Sets to zero what ``prune_channels`` with the same arguments removes: the same shapes, and the outputs of the pruned net.

        x ──► Conv [64, 3, 3, 3] ──► BN [64] ──► Conv [32, 64, 1, 1] ──► y          (13 rows, entries and columns are zero)
    """
    chosen = _choose(graph, fraction, scope, importance, calibration, exempt, per_node, round_to)
    weights = dict(graph.weights)
    for (name, axis), index in chosen.axes.items():
        if name in weights:
            array = weights[name].decode().copy()
            array[(slice(None),) * axis + (index,)] = 0
            weights[name] = EncodedTensor.dense(array, axis=weights[name].axis, coder=weights[name].coder)
    return replace(graph, weights=weights)


@dataclass(frozen=True, eq=False)
class _Chosen:
    """What goes. ``axes``: axis → its indices; ``coupling``: how they hang together."""

    axes: dict[Axis, np.ndarray]
    coupling: Coupling


@dataclass(frozen=True, eq=False)
class _Units:
    """``classes``: int64[units], the class of each; ``groups``: int64[units], numbered from 0; ``names``: per group the names by
    which recipes may mean it."""

    classes: np.ndarray
    groups: np.ndarray
    names: list[set[str]]


def _choose(graph: Graph, fraction: float, scope: str, importance: str, calibration: Mapping[str, np.ndarray] | None,
            exempt: Exempt | None, per_node: Mapping[str, float] | None, round_to: int) -> _Chosen:
    """The one choice of ``prune_channels`` and ``zero_channels``."""
    _check(fraction, scope, importance, per_node or {}, round_to)
    found = coupling(graph)
    producers = _producers(graph, found)
    units = _units(found, producers)
    fractions = _fractions(units, exempt, per_node or {})
    if importance == "l1":
        score = _importance.l1(graph, found, list(producers))[units.classes]
    else:
        score = _importance.apoz(graph, found, units.classes, calibration)[units.classes]
    going = _least_important(units, score, fractions, fraction, scope, round_to)
    return _Chosen(dict(found.members(units.classes[going])), found)


def _check(fraction: float, scope: str, importance: str, per_node: Mapping[str, float], round_to: int) -> None:
    for what, share in (("fraction", fraction), *((f"fraction for {pattern!r}", share) for pattern, share in per_node.items())):
        if not 0 <= share < 1:
            raise PruningError(f"the {what} of channels to prune is {share}; it must be at least 0 and below 1")
    for what, value, valid in (("scope", scope, SCOPES), ("importance", importance, IMPORTANCES)):
        if value not in valid:
            raise PruningError(f"there is no {what} {value!r}; there are {', '.join(valid)}")
    if round_to < 1:
        raise PruningError(f"round_to is {round_to}; it must be at least 1")


def _producers(graph: Graph, found: Coupling) -> dict[Axis, set[str]]:
    """The output-channel axis of every weight of Conv, Gemm and MatMul, with the names by which recipes may mean it."""
    axes: dict[Axis, set[str]] = {}
    for node in graph.nodes:
        if node.op in PRODUCERS and node.inputs[1] in graph.weights:
            name = node.inputs[1]
            rank = len(graph.weights[name].shape)
            if rank > 1:
                axes.setdefault((name, channel_axis(node, 1, rank)), {name}).add(graph.label(node))
    return axes


def _units(found: Coupling, producers: dict[Axis, set[str]]) -> _Units:
    """Classes that may go and that a producer makes, in groups that share producers."""
    numbers, classes = [], []
    for number, axis in enumerate(producers):
        labels = np.unique(found.labels_of(axis)[~found.pinned_of(axis)])
        numbers.append(np.full(len(labels), number))
        classes.append(labels)
    of_producer = np.concatenate([*numbers, np.zeros(0, np.int64)]).astype(np.int64)
    of_class = np.concatenate([*classes, np.zeros(0, np.int64)]).astype(np.int64)
    unique, place = np.unique(of_class, return_inverse=True)
    linked = components(len(producers) + len(unique), of_producer, len(producers) + place)
    roots, groups = np.unique(linked[len(producers):], return_inverse=True)
    numbered = {int(root): group for group, root in enumerate(roots)}
    names: list[set[str]] = [set() for _ in roots]
    for number, meant in enumerate(producers.values()):
        if int(linked[number]) in numbered:
            names[numbered[int(linked[number])]] |= meant
    return _Units(unique, groups, names)


def _fractions(units: _Units, exempt: Exempt | None, per_node: Mapping[str, float]) -> list[float | None]:
    """Per group the fraction that is asked of it alone; None where the overall one counts."""
    everyone = sorted(set().union(*units.names))
    for pattern in per_node:
        if not any(fnmatchcase(name, pattern) for name in everyone):
            raise PruningError(f"the pattern {pattern!r} matches nothing that can be pruned; "
                               f"there are {', '.join(everyone) or 'no such channels'}")
    found: list[float | None] = []
    for names in units.names:
        asked = [share for pattern, share in per_node.items() if any(fnmatchcase(name, pattern) for name in names)]
        if exempt is not None and any(exempt(name) for name in names):
            asked = [0.0]
        found.append(min(asked) if asked else None)
    return found


def _least_important(units: _Units, score: np.ndarray, fractions: list[float | None], overall: float, scope: str,
                     round_to: int) -> np.ndarray:
    """Positions of the units that go. Units of equal importance go in their order in the net."""
    sizes = np.bincount(units.groups, minlength=len(units.names))
    quota = np.array([int(size * (overall if share is None else share)) for size, share in zip(sizes, fractions)], np.int64)
    order = np.argsort(score, kind="stable")
    if scope == "global":
        free = np.array([share is None for share in fractions], bool)
        quota[free] = _global_quota(units, order, free, sizes, overall)[free]
    quota = np.array([_rounded(int(size), int(count), round_to) for size, count in zip(sizes, quota)], np.int64)
    going = []
    for place in order:
        group = units.groups[place]
        if quota[group] > 0:
            quota[group] -= 1
            going.append(place)
    return np.sort(np.array(going, np.int64))


def _global_quota(units: _Units, order: np.ndarray, free: np.ndarray, sizes: np.ndarray, overall: float) -> np.ndarray:
    """How many units each group loses if the least important ones of all ``free`` groups go, but never a group's last."""
    left = int(sizes[free].sum() * overall)
    quota = np.zeros(len(sizes), np.int64)
    for place in order:
        group = units.groups[place]
        if left and free[group] and quota[group] < sizes[group] - 1:
            quota[group] += 1
            left -= 1
    return quota


def _rounded(size: int, going: int, round_to: int) -> int:
    """How many of ``size`` units go so that a multiple of ``round_to``, and at least one, stays."""
    staying = max(size - going, 1)
    return size - min(size, -(-staying // round_to) * round_to)


def _removed(graph: Graph, chosen: _Chosen) -> Graph:
    """The graph without the chosen indices: smaller weights, attributes and constant shapes that fit them."""
    weights = dict(graph.weights)
    for (name, axis), index in chosen.axes.items():
        if name in weights:
            smaller = np.delete(weights[name].decode(), index, axis)
            weights[name] = EncodedTensor.dense(smaller, axis=weights[name].axis, coder=weights[name].coder)
    shapes = _new_shapes(chosen)
    taken, read = taken_names(graph), uses(graph)
    nodes = tuple(_resized(node, shapes, chosen, weights, taken, read) for node in graph.nodes)
    return without_defaults(replace(graph, nodes=nodes, weights=weights))


def _new_shapes(chosen: _Chosen) -> dict[str, tuple[int, ...]]:
    return {name: tuple(length - len(chosen.axes.get((name, axis), ())) for axis, length in enumerate(known.shape))
            for name, known in chosen.coupling.types.items() if known is not None}


def _resized(node: Node, shapes: dict[str, tuple[int, ...]], chosen: _Chosen, weights: dict[str, EncodedTensor], taken: set[str],
             read: dict[str, int]) -> Node:
    """The node with the attributes and constant inputs that smaller inputs and outputs ask for."""
    touched = {name for name, _ in chosen.axes}
    op = ops.get(node.op)
    if op.resize is not None and touched & set(node.inputs):
        inputs = {place: shapes[name] for place, name in enumerate(node.inputs) if name in shapes}
        node = replace(node, attrs={**node.attrs, **op.resize(op.attrs_of(node), inputs)})
    if op.resize_constants is not None and touched & {*node.inputs, *node.outputs}:
        constants = {place: weights[name].decode() for place, name in enumerate(node.inputs) if name in weights}
        lengths = [shapes[name] for name in node.outputs if name]
        gone = {(place, axis): (chosen.coupling.spans[name, axis][1], index.tolist()) for place, name in enumerate(node.inputs)
                for (other, axis), index in chosen.axes.items() if other == name}
        for place, array in op.resize_constants(op.attrs_of(node), constants, lengths, gone).items():
            name = node.inputs[place] if read[node.inputs[place]] == 1 else fresh(node.inputs[place], taken)
            weights[name] = EncodedTensor.dense(array)
            node = node.with_inputs((*node.inputs[:place], name, *node.inputs[place + 1:]))
    return node
