"""Lengths that symbolic dimensions may have: found by trying common ones, and those that a contradiction suggests."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, product
from math import prod
from typing import Any

import numpy as np

from ...formats.errors import ThinferError
from ...formats.graph import Graph, Node
from ...kernels.ops._op import Type
from ...runtime import shapes
from ._samples import PRIMES, Types, samples, symbols

COMMON = (1, PRIMES[-1], 2, 3, 4, 6, 8, 12, 16, 32, 64, 128, 224, 256, 512, 768, 1024, 2048)
"""Lengths that all symbolic dimensions, or all but those that come first, may have at once."""

MOST_PROBES = 4096
"""Most combinations of lengths that one node is asked about."""

FEWEST_CHOICES = 4
"""With fewer for each dimension, a node that refuses them all proves nothing."""

DIVISIBLE = 5040
"""A length that many numbers divide."""

MOST_LENGTH, MOST_SUGGESTED = 1 << 24, 200


@dataclass(frozen=True)
class Fit:
    """``lengths``: of each symbolic dimension. ``types``: of every value then."""

    lengths: Mapping[str, int]
    types: Types

    def input_shapes(self, graph: Graph) -> dict[str, tuple[int, ...]]:
        return {info.name: shapes.concrete(info, self.lengths) for info in graph.inputs}


@dataclass(frozen=True)
class _Attempt:
    """What was inferred for some lengths up to the node that contradicted: ``types`` holds no more than that."""

    lengths: Mapping[str, int]
    types: Types
    error: ThinferError | None


def fit(graph: Graph) -> Fit | None:
    """Lengths at which all shapes fit together, the smallest common ones if there are several; None if none of those tried do.

    Raises a contradiction that no length at all can cure.
    """
    attempts: list[_Attempt] = []
    for lengths in _tries(graph):
        attempts.append(_attempt(graph, lengths))
        if attempts[-1].error is None:
            return Fit(lengths, attempts[-1].types)
    culprits = {id(node): (node, attempt.error) for attempt in attempts if (node := _culprit(graph, attempt)) is not None}
    for node, error in culprits.values():
        if error is not None and not _curable(node, attempts):
            raise error
    first_culprit = _culprit(graph, attempts[0])  # none where an input is too large even at length 1
    if attempts[0].error is not None and (first_culprit is None or not symbols(graph)):
        raise attempts[0].error
    for length in [length for node, _ in culprits.values() for length in _suggested(node, attempts)]:
        found = _attempt(graph, dict.fromkeys(symbols(graph), length))
        if found.error is None:
            return Fit(found.lengths, found.types)
    return None


def sample(graph: Graph) -> Types:
    """The types of all values under one choice of lengths, large different ones if they fit; none where no such choice is found.

    Raises what ``fit`` raises.
    """
    sampled = samples(graph)
    if sampled:
        return sampled[0]
    found = fit(graph)
    return found.types if found else {}


def _tries(graph: Graph) -> Iterator[dict[str, int]]:
    """Common lengths for all symbolic dimensions, and with 1 for those that come first in an input, which mostly are batches."""
    names = symbols(graph)
    later = {dim for info in graph.inputs for dim in info.shape[1:]}
    if not names:
        yield {}
        return
    for length in COMMON:
        yield dict.fromkeys(names, length)
        mixed = {name: length if name in later else 1 for name in names}
        if len(set(mixed.values())) > 1:
            yield mixed


def _attempt(graph: Graph, lengths: Mapping[str, int]) -> _Attempt:
    types: Types = {}
    try:
        given = {info.name: Type(info.dtype, shapes.concrete(info, lengths)) for info in graph.inputs}
        shapes.infer_types(graph, given, types=types)
    except ThinferError as error:
        return _Attempt(lengths, types, error)
    return _Attempt(lengths, types, None)


def _culprit(graph: Graph, attempt: _Attempt) -> Node | None:
    """The node whose rule refused; None if none did (an input was too large)."""
    return next((node for node in graph.nodes if not all(name in attempt.types for name in node.outputs if name)
                 and all(name in attempt.types for name in node.inputs if name)), None)


def _curable(node: Node, attempts: Sequence[_Attempt]) -> bool:
    """Whether the node takes inputs as they may be, or that cannot be known.

    A dimension of an input that differs between attempts depends on symbolic ones; each of those is tried by itself at what the
    numbers around it suggest. True where that cannot be done: only a contradiction between fixed lengths is sure to stay.
    """
    reached = [found for attempt in attempts if (found := _args(node, attempt)) is not None]
    if any(node.subgraphs()) or len(reached) < 2:
        return True
    places: list[tuple[int, int]] = []
    for place, seen in enumerate(zip(*reached)):
        if seen[0] is None:
            continue
        if any(kind is None or len(kind.shape) != len(seen[0].shape) or not _same_value(kind.value, seen[0].value) for kind in seen):
            return True
        places += [(place, axis) for axis in range(len(seen[0].shape)) if len({kind.shape[axis] for kind in seen if kind}) > 1]
    choices = _suggested(node, attempts)
    while len(choices) ** len(places) > MOST_PROBES:
        choices.pop()
    if places and len(choices) < FEWEST_CHOICES:
        return True
    return any(_takes(node, reached[0], places, lengths) for lengths in product(choices, repeat=len(places)))


def _args(node: Node, attempt: _Attempt) -> list[Type | None] | None:
    """The types of the node's inputs; None if the attempt did not come so far."""
    if any(attempt.types.get(name) is None for name in node.inputs if name):
        return None
    return [attempt.types[name] if name else None for name in node.inputs]


def _same_value(a: np.ndarray | None, b: np.ndarray | None) -> bool:
    return (a is None) == (b is None) and (a is None or b is None or np.array_equal(a, b))


def _takes(node: Node, args: Sequence[Type | None], places: Sequence[tuple[int, int]], lengths: Sequence[int]) -> bool:
    """Whether the node's rule takes the inputs with other lengths at ``places``, which are pairs of an input and an axis."""
    given = list(args)
    for (place, axis), length in zip(places, lengths):
        kind = given[place]
        assert kind is not None
        given[place] = replace(kind, shape=(*kind.shape[:axis], length, *kind.shape[axis + 1:]))
    try:
        shapes.node_types(node, given)
    except ThinferError:
        return False
    return True


def _suggested(node: Node, attempts: Sequence[_Attempt]) -> list[int]:
    """Lengths that might please the node: common ones, the numbers in its attributes and inputs, their sums and products; the most telling first."""
    numbers: set[int] = set()
    sums: set[int] = set()
    reached = (args for attempt in attempts if (args := _args(node, attempt)) is not None)
    for kind in filter(None, next(reached, ())):
        numbers.update(kind.shape)
        if kind.value is not None and kind.value.dtype.kind in "iu" and kind.value.size <= shapes.KNOWN_ELEMENTS:
            _note(kind.value.ravel().tolist(), numbers, sums)
    for value in node.attrs.values():
        _note([value] if isinstance(value, int) else value if isinstance(value, (tuple, list)) else [], numbers, sums)
    few = sorted(numbers)[-12:]
    found = (1, DIVISIBLE, *sorted(numbers), *sorted(sums), *COMMON, *(a * b for a, b in combinations(few, 2)))
    return [length for length in dict.fromkeys(found) if 0 < length <= MOST_LENGTH][:MOST_SUGGESTED]


def _note(values: Sequence[Any], numbers: set[int], sums: set[int]) -> None:
    whole = [abs(value) for value in values if isinstance(value, int)]
    numbers.update(whole[:64])
    sums.update({sum(whole), prod(whole)})
