"""What a graph's values must be for it to run at all, whatever the lengths of its symbolic dimensions."""

from __future__ import annotations

from collections.abc import Mapping

from ...formats.graph import Graph
from ...kernels.ops._op import Type
from ...runtime import shapes
from ..passes._samples import samples
from ._errors import UnreadableModel


def sound(graph: Graph, dtypes: Mapping[str, str]) -> Graph:
    """The graph. ``dtypes``: those that the source tells of outputs, for where only running gives the shape.

    Raises UnreadableModel if an output is said to have another dtype than the nodes make, OutOfMemory if a value is larger than this
    machine's memory.
    """
    sampled = samples(graph)
    fixed: dict[str, Type | None] = {}
    for name, kind in (sampled[0] if sampled else {}).items():
        if kind is not None and all(other is not None and other.shape == kind.shape for other in (types.get(name) for types in sampled)):
            fixed[name] = kind
    shapes.check_memory(graph.nodes, fixed)
    for info in graph.outputs:
        found = sampled[0].get(info.name) if sampled else None
        made = dtypes.get(info.name, info.dtype) if found is None else found.dtype
        if made != info.dtype:
            raise UnreadableModel(f"output {info.name!r} is said to have the data type {info.dtype}, but the nodes make {made}")
    return graph
