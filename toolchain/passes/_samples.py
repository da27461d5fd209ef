"""Shapes of a graph with symbolic dimensions, looked at through several concrete ones."""

from __future__ import annotations

from ...formats.errors import ThinferError
from ...formats.graph import Graph
from ...kernels.ops._op import Type
from ...runtime import shapes

PRIMES = (211, 223, 227, 229, 233, 239, 241, 251, 257, 263, 269, 271)
"""Lengths for symbolic dimensions: no product or quotient of fixed small ones, and large enough for any window to fit."""

Types = dict[str, "Type | None"]


def symbols(graph: Graph) -> list[str]:
    """The symbolic dimensions of the graph's inputs, in order of appearance."""
    return list(dict.fromkeys(dim for info in graph.inputs for dim in info.shape if isinstance(dim, str)))


def samples(graph: Graph) -> list[Types]:
    """The type of every value under different lengths of the symbolic dimensions; none if the shapes cannot be inferred so.

    There is one sample more than there are symbols (one in all without symbols). Lengths that shape arithmetic by Shape,
    Gather, Concat, Reshape and Mul makes are monomials in the symbols, and so is a dimension that Reshape infers; monomials
    that agree on as many points as they have unknowns, at independent logarithms, agree everywhere.
    """
    names = symbols(graph)
    found = []
    for shift in range(len(names) + 1):
        lengths = {name: PRIMES[(place * (shift + 1) + shift) % len(PRIMES)] for place, name in enumerate(names)}
        try:
            found.append(shapes.infer(graph, {info.name: shapes.concrete(info, lengths) for info in graph.inputs}))
        except ThinferError:
            return []
    return found


def shape_of(types: Types, name: str) -> tuple[int, ...] | None:
    """The shape of a value in one sample; None where it is unknown."""
    found = types.get(name)
    return found.shape if found is not None else None


def rank(sampled: list[Types], name: str) -> int | None:
    """The number of dimensions of a value; None where it is unknown."""
    shape = shape_of(sampled[0], name) if sampled else None
    return len(shape) if shape is not None else None
