"""Shapes of a model's inputs and outputs: what the source says, what the caller says, and whether they fit together."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from ...formats.errors import ThinferError
from ...formats.graph import Dim, Graph, ValueInfo
from ...kernels.ops._op import Type
from ..passes._edit import fresh
from ..passes._lengths import sample
from ..passes._samples import symbols
from ._errors import InputShapeError

UNKNOWN: tuple[Dim, ...] = ("?",)
"""The shape of a value whose source gives none."""


def with_input_shapes(graph: Graph, given: Mapping[str, tuple[Dim, ...]]) -> Graph:
    """The graph whose inputs have the shapes ``given``; a symbolic dimension that gets a length gets it everywhere."""
    valid = [info.name for info in graph.inputs]
    for name in given:
        if name not in valid:
            raise InputShapeError(f"the model has no input {name!r}; its inputs are {', '.join(valid)}")
    lengths: dict[str, Dim] = {}
    inputs = []
    for info in graph.inputs:
        if info.name in given:
            info = replace(info, shape=_fitted(info, given[info.name], lengths))
        if info.shape == UNKNOWN:
            raise InputShapeError(f"the model does not say the shape of its input {info.name!r}; give one, such as {info.name}:1,3,224,224")
        inputs.append(info)

    def known(info: ValueInfo) -> ValueInfo:
        return replace(info, shape=tuple(lengths.get(dim, dim) if isinstance(dim, str) else dim for dim in info.shape))

    return replace(graph, inputs=tuple(map(known, inputs)), outputs=tuple(map(known, graph.outputs)))


def named_for_people(graph: Graph) -> Graph:
    """Symbolic dimensions that torch numbered (s77) get names: N if one is the first of an input, else dim."""
    numbered = [(dim, place) for info in graph.inputs for place, dim in enumerate(info.shape)
                if isinstance(dim, str) and re.fullmatch(r"[su]\d+", dim)]
    taken, names = set(symbols(graph)), {}
    for dim, place in dict(numbered[::-1]).items():
        wanted = "N" if place == 0 else "dim"
        names[dim] = fresh(wanted, taken)

    def called(info: ValueInfo) -> ValueInfo:
        return replace(info, shape=tuple(names.get(dim, dim) if isinstance(dim, str) else dim for dim in info.shape))

    return replace(graph, inputs=tuple(map(called, graph.inputs)), outputs=tuple(map(called, graph.outputs)))


def _fitted(info: ValueInfo, shape: tuple[Dim, ...], lengths: dict[str, Dim]) -> tuple[Dim, ...]:
    """``shape`` if it fits the input; what it says of symbolic dimensions is added to ``lengths``."""
    def text(dims: tuple[Dim, ...]) -> str:
        return "x".join(map(str, dims))

    if info.shape == UNKNOWN:
        return shape
    fits = len(shape) == len(info.shape) and all(isinstance(own, str) or own == dim for own, dim in zip(info.shape, shape))
    if not fits:
        raise InputShapeError(f"input {info.name!r} has the shape {text(info.shape)}, which {text(shape)} does not fit")
    for own, dim in zip(info.shape, shape):
        if isinstance(own, str) and lengths.setdefault(own, dim) != dim:
            raise InputShapeError(f"the dimension {own} cannot be both {lengths[own]} and {dim}")
    return shape


def fitting(graph: Graph) -> Graph:
    """The graph, unless its shapes contradict each other whatever lengths its symbolic dimensions have: then InputShapeError.

    Lengths that only some models take, such as even ones, are known to whoever feeds them, so not finding any proves nothing.
    """
    free = symbols(graph)
    try:
        types = sample(graph)
    except ThinferError as error:
        hint = f"; if the lengths of {', '.join(free)} must be particular ones, give them with --input-shape" if free else ""
        raise InputShapeError(f"{error}{hint}") from None
    return graph if free else _as_said(graph, types)


def _as_said(graph: Graph, types: Mapping[str, Type | None]) -> Graph:
    """The graph, if its outputs have the lengths that it says; else InputShapeError."""
    for info in graph.outputs:
        found = types.get(info.name)
        if found is not None and info.shape != UNKNOWN and not _agree(info.shape, found.shape):
            raise InputShapeError(f"output {info.name!r} is said to have the shape {'x'.join(map(str, info.shape))}, but the nodes make "
                                  f"{'x'.join(map(str, found.shape)) or 'a scalar'}")
    return graph


def _agree(said: tuple[Dim, ...], found: tuple[int, ...]) -> bool:
    return len(said) == len(found) and all(isinstance(dim, str) or dim == length for dim, length in zip(said, found))


def with_output_shapes(graph: Graph) -> Graph:
    """Gives outputs whose shape the source leaves open the rank that the operators' rules find, with a name for each dimension;
    where they find none it stays open."""
    if all(info.shape != UNKNOWN for info in graph.outputs):
        return graph
    types = sample(graph)
    fixed = not symbols(graph)

    def known(info: ValueInfo) -> ValueInfo:
        found = types.get(info.name)
        if info.shape != UNKNOWN or found is None:
            return info
        return replace(info, shape=found.shape if fixed else tuple(f"{info.name}_{place}" for place in range(len(found.shape))))

    return replace(graph, outputs=tuple(map(known, graph.outputs)))
