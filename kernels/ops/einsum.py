"""Einsum: sums of products by an equation like ``bij,bjk->bik``, with ellipsis and with the right side left out."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...formats.graph import Node
from ...formats.record import dataclass
from ._broadcast import broadcast
from ._check import NUMBERS, need, text, want_dtype, want_same_dtype, where
from ._dtype import widened
from ._op import REQUIRED, VARIADIC, Arg, Case, Op, OpError, Tie, Type

TERM = re.compile(r"[A-Za-z]*(\.\.\.[A-Za-z]*)?")
DOTS = "..."


@dataclass(frozen=True)
class Equation:
    """The letters of each operand and of the result; ``...`` stands where other axes may."""

    operands: tuple[str, ...]
    result: str

    def __str__(self) -> str:
        return f"{','.join(self.operands)}->{self.result}"


def parsed(place: str, equation: str, operands: int) -> Equation:
    """The equation with its right side written out. Raises OpError, which names the node by ``place``."""
    left, arrow, right = equation.replace(" ", "").partition("->")
    terms = left.split(",")
    if len(terms) != operands or not all(map(TERM.fullmatch, (*terms, right))):
        raise OpError(f"{place} has the equation {equation!r}; for its {operands} operands it takes {operands} terms of letters, "
                      f"each with at most one ellipsis, with commas between them")
    counts = Counter("".join(terms).replace(".", ""))
    if not arrow:
        dots = DOTS if any(DOTS in term for term in terms) else ""
        right = dots + "".join(sorted(letter for letter, count in counts.items() if count == 1))
    letters = right.replace(".", "")
    if not set(letters) <= set(counts) or len(set(letters)) < len(letters) or (DOTS in right and not any(DOTS in term for term in terms)):
        raise OpError(f"{place} has the equation {equation!r}; the right side takes each letter of the left side at most once, and no others")
    return Equation(tuple(terms), right)


def _lengths(place: str, equation: Equation, shapes: Sequence[tuple[int, ...]]) -> tuple[dict[str, int], tuple[int, ...]]:
    """The length of each letter, and the lengths that the ellipsis stands for. Raises OpError where the operands do not fit."""
    found: dict[str, int] = {}
    others: list[tuple[int, ...]] = []
    for term, shape in zip(equation.operands, shapes):
        first, dots, last = term.partition(DOTS)
        letters = len(first) + len(last)
        if len(shape) < letters or (not dots and len(shape) > letters):
            raise OpError(f"{place} has an operand of the shape {text(shape)} for {term!r}")
        cut = len(shape) - len(last)
        if dots:
            others.append(shape[len(first):cut])
        for letter, length in zip(first + last, (*shape[:len(first)], *shape[cut:])):
            if found.get(letter, 1) != 1 and length not in (1, found[letter]):
                raise OpError(f"{place} has operands of the shapes {' and '.join(map(text, shapes))} for {equation}, "
                              f"where {letter!r} has the lengths {found[letter]} and {length}")
            found[letter] = max(found.get(letter, 1), length) if length else 0
    if len(set(map(len, others))) > 1:
        raise OpError(f"{place} has operands of the shapes {' and '.join(map(text, shapes))} for {equation}, where the ellipsis stands for "
                      f"{' and '.join(str(len(some)) for some in others)} axes; it takes the same number in each")
    return found, broadcast(place, others or [()])


def _infer(node: Node, attrs: Mapping[str, Any], args: Sequence[Type | None]) -> list[Type]:
    kinds = [need(node, args, place, f"operand {place}") for place in range(len(args))]
    want_dtype(node, kinds[0], NUMBERS)
    want_same_dtype(node, kinds)
    equation = parsed(where(node), attrs["equation"], len(kinds))
    lengths, others = _lengths(where(node), equation, [kind.shape for kind in kinds])
    first, dots, last = equation.result.partition(DOTS)
    return [Type(kinds[0].dtype, (*(lengths[k] for k in first), *(others if dots else ()), *(lengths[k] for k in last)))]


def _run(attrs: Mapping[str, Any], *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
    """By matrix products where they fit, in the order that costs least."""
    equation = parsed("Einsum", attrs["equation"], len(arrays))
    found = np.einsum(str(equation), *widened(*arrays), optimize="greedy")
    return (np.array(found, arrays[0].dtype),)


def _axes(term: str, rank: int) -> dict[int, str]:
    """Axis → letter; the axes of the ellipsis are left out."""
    first, _, last = term.partition(DOTS)
    return {**dict(enumerate(first)), **{rank - len(last) + k: letter for k, letter in enumerate(last)}}


def _flow(node: Node, attrs: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]], tie: Tie) -> None:
    """Axes of one letter go together, wherever they are."""
    equation = parsed(where(node), attrs["equation"], len(node.inputs))
    lengths, _ = _lengths(where(node), equation, [shapes[name] for name in node.inputs])
    seen: dict[str, tuple[str, int]] = {}
    for name, term in zip((*node.inputs, node.outputs[0]), (*equation.operands, equation.result)):
        for axis, letter in _axes(term, len(shapes[name])).items():
            if shapes[name][axis] == lengths[letter]:
                tie(seen.setdefault(letter, (name, axis)), (name, axis))


def _macs(attrs: Mapping[str, Any], args: Sequence[Type | None], outputs: Sequence[Type]) -> int:
    """One for each combination of all letters, as for a matrix product; more than two operands are multiplied two at a time."""
    if len(args) < 2:
        return 0
    lengths, others = _lengths("Einsum", parsed("Einsum", attrs["equation"], len(args)), [arg.shape for arg in args if arg is not None])
    return int(np.prod([*lengths.values(), *others], dtype=object))


def _case(name: str, equation: str, *shapes: tuple[int, ...], bench: bool = False) -> Case:
    return Case(name, tuple(map(Arg, shapes)), {"equation": equation}, bench)


OP = Op("Einsum", {"equation": REQUIRED}, (1, VARIADIC), _infer, _run, flow=_flow, macs=_macs, cases=(
    _case("product", "ij,jk->ik", (3, 4), (4, 5)),
    _case("implicit", "ij,jk", (3, 4), (4, 5)),
    _case("implicit_order", "ba", (3, 4)),
    _case("batched", "bij, bjk -> bik", (2, 3, 4), (2, 4, 5)),
    _case("heads", "bqhd,bkhd->bhqk", (2, 3, 2, 5), (2, 4, 2, 5)),
    _case("three", "ij,jk,kl->il", (2, 3), (3, 4), (4, 5)),
    _case("ellipsis", "...ij,...jk->...ik", (2, 1, 3, 4), (1, 5, 4, 2)),
    _case("ellipsis_implicit", "...a,...a", (3, 2, 4), (3, 1, 4)),
    _case("ellipsis_summed", "...ii->...i", (2, 3, 3)),
    _case("diagonal", "ii->i", (4, 4)),
    _case("trace", "ii", (4, 4)),
    _case("outer", "i,j->ij", (3,), (4,)),
    _case("case_matters", "aA,Ab->ab", (3, 4), (4, 5)),
    _case("sum", "abc->b", (2, 3, 4)),
    Case("int32", (Arg((3, 4), "int32", -9, 9), Arg((4, 2), "int32", -9, 9)), {"equation": "ij,jk->ik"}),
    _case("attention", "bqhd,bkhd->bhqk", (1, 64, 12, 32), (1, 64, 12, 32), bench=True),
))
