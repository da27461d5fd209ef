"""Makes the operators that work on each element alone, with any number of inputs that broadcast."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from typing import Any

import numpy as np

from ...formats.graph import Node
from ._broadcast import broadcast, tie_broadcast
from ._check import FLOATS, NUMBERS, need, want_dtype, want_same_dtype, where
from ._dtype import widened
from ._known import with_value
from ._op import VARIADIC, Arg, Case, Op, Tie, Type

Check = Callable[[Node, Mapping[str, Any], Sequence[Type]], None]
"""(node, all attributes, input types): raises OpError for what dtypes and broadcasting do not say."""

PLACES = ("first operand", "second operand")


def elementwise(name: str, compute: Callable[..., Any], inputs: tuple[int, int], cases: tuple[Case, ...], *,
                attributes: Mapping[str, Any] | None = None, dtypes: Sequence[str] = FLOATS, result: str | None = None,
                check: Check | None = None) -> Op:
    """An operator ``y = compute(*inputs, **attributes)`` with NumPy's broadcasting.

    All inputs have one dtype out of ``dtypes``, y has the dtype ``result`` or theirs. float16 is computed as float32.
    """
    def run(attrs: Mapping[str, Any], *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        found = np.asarray(compute(*widened(*arrays), **attrs))
        return (found.astype(result or arrays[0].dtype, copy=False),)

    def infer(node: Node, attrs: Mapping[str, Any], args: Sequence[Type | None]) -> list[Type]:
        count = max(inputs[0], len(args))
        kinds = [need(node, args, place, PLACES[place] if count == 2 else "data") for place in range(count)]
        for kind in kinds:
            want_dtype(node, kind, dtypes)
        want_same_dtype(node, kinds)
        if check is not None:
            check(node, attrs, kinds)
        shape = broadcast(where(node), [kind.shape for kind in kinds])
        return [with_value(Type(result or kinds[0].dtype, shape), kinds, lambda *values: run(attrs, *values))]

    return Op(name, attributes or {}, inputs, infer, run, cases, flow=broadcast_flow)


def broadcast_flow(node: Node, attrs: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]], tie: Tie) -> None:
    """The flow of operators that work on each element alone: every axis that an input fully spans goes to that of the output."""
    output = node.outputs[0]
    for value in filter(None, node.inputs):
        tie_broadcast(tie, value, shapes[value], output, shapes[output])


def unary(name: str, compute: Callable[..., Any], attributes: Mapping[str, Any] | None = None, dtypes: Sequence[str] = FLOATS,
          cases: tuple[Case, ...] | None = None, *, low: float = -4, high: float = 4, result: str | None = None,
          check: Check | None = None) -> Op:
    """An operator ``y = compute(x, **attributes)``. Unless given, its cases are numbers in [low, high] of each kind of dtype."""
    return elementwise(name, compute, (1, 1), unary_cases(dtypes, low, high) if cases is None else cases,
                       attributes=attributes, dtypes=dtypes, result=result, check=check)


def unary_cases(dtypes: Sequence[str] = FLOATS, low: float = -4, high: float = 4) -> tuple[Case, ...]:
    """Ordinary shapes, in floats and in integers where the operator takes them."""
    shapes = {"image": (2, 3, 5), "scalar": (), "vector": (37,)}
    floats = tuple(Case(label, (Arg(shape, low=low, high=high),)) for label, shape in shapes.items() if "float32" in dtypes)
    integers = tuple(Case(dtype, (Arg((3, 5), dtype, max(low, np.iinfo(dtype).min), high),)) for dtype in ("int32", "uint8", "int64")
                     if dtype in dtypes)
    return floats + integers


def activation_cases() -> tuple[Case, ...]:
    """Cases for an activation: ordinary shapes, both saturated ends, one large for benchmarks."""
    return (Case("image", (Arg((2, 3, 5, 7), low=-4, high=4),)),
            Case("saturated", (Arg((3, 17), low=-60, high=60),)),
            Case("scalar", (Arg((), low=-1, high=1),)),
            Case("vector", (Arg((33,), low=-8, high=8),)),
            Case("mobilenet", (Arg((1, 96, 56, 56), low=-4, high=4),), bench=True))


def binary(name: str, compute: Callable[..., Any], cases: tuple[Case, ...], *, attributes: Mapping[str, Any] | None = None,
           dtypes: Sequence[str] = NUMBERS, result: str | None = None, check: Check | None = None) -> Op:
    """An operator ``y = compute(a, b, **attributes)`` with broadcasting."""
    return elementwise(name, compute, (2, 2), cases, attributes=attributes, dtypes=dtypes, result=result, check=check)


def arithmetic_cases(low: float = -1.0) -> tuple[Case, ...]:
    """Cases for arithmetic on floats and integers; ``low`` bounds the second input from below."""
    def case(label: str, a: tuple[int, ...], b: tuple[int, ...], weight: bool = False, bench: bool = False) -> Case:
        return Case(label, (Arg(a), Arg(b, low=low, weight=weight)), bench=bench)

    return (case("same", (2, 3, 5, 7), (2, 3, 5, 7)),
            case("scalar", (3, 5), ()),
            case("scalar_first", (), (3, 5)),
            case("channel_constant", (2, 6, 5, 5), (6, 1, 1), weight=True),
            case("last_axis", (4, 9), (9,), weight=True),
            case("both_stretched", (3, 1, 5), (2, 1)),
            case("gate", (2, 8, 5, 3), (2, 8, 1, 1)),
            case("one_element", (1,), (1, 1)),
            Case("int64", (Arg((3, 4), "int64", -20, 20), Arg((4,), "int64", value=[3, -7, 1, 5]))),
            Case("int8", (Arg((4,), "int8", value=[-128, 127, 7, -7]), Arg((4,), "int8", value=[2, 3, -2, 2]))),
            Case("uint8", (Arg((5,), "uint8", value=[200, 100, 9, 8, 7]), Arg((5,), "uint8", value=[3, 100, 9, 4, 2]))),
            case("residual", (1, 24, 56, 56), (1, 24, 56, 56), bench=True))


def variadic(name: str, fold: Callable[[Any, Any], Any], dtypes: Sequence[str] = FLOATS,
             last: Callable[[Any, int], Any] = lambda total, count: total) -> Op:
    """An operator on one or more operands with broadcasting: they are folded two by two, and ``last`` gets the result and how many."""
    cases = (Case("one", (Arg((2, 3)),)),
             Case("three", (Arg((3, 4)), Arg((3, 4)), Arg((3, 4)))),
             Case("stretched", (Arg((3, 1, 5)), Arg((4, 1)), Arg(()), Arg((1, 1)))),
             Case("constant", (Arg((2, 6, 5, 5)), Arg((6, 1, 1), weight=True))),
             *(case for case in pair_cases(("int64", "uint8", "int8"), -99, 99) if case.args[0].dtype in dtypes))
    return elementwise(name, lambda *arrays: last(reduce(fold, arrays), len(arrays)), (1, VARIADIC), cases, dtypes=dtypes)


def pair_cases(dtypes: Sequence[str], low: float = -3, high: float = 3, *, second: tuple[float, float] | None = None,
               attrs: Mapping[str, Any] | None = None) -> tuple[Case, ...]:
    """Cases for two operands of each of ``dtypes``: equal shapes, and both stretched. ``second``: the bounds of the second one."""
    def arg(dtype: str, shape: tuple[int, ...], bounds: tuple[float, float]) -> Arg:
        least = np.iinfo(dtype).min if np.dtype(dtype).kind in "iu" else -np.inf
        return Arg(shape, dtype, max(bounds[0], least), bounds[1])

    return tuple(Case(f"{dtype}_{label}", (arg(dtype, a, (low, high)), arg(dtype, b, second or (low, high))), attrs or {})
                 for dtype in dtypes
                 for label, a, b in (("same", (3, 4, 5), (3, 4, 5)), ("stretched", (3, 1, 5), (4, 1))))


def comparison_cases() -> tuple[Case, ...]:
    """Cases for comparisons: few values, so that many are equal, and what is not finite."""
    special = [np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0]
    return (*pair_cases(("float32", "int64", "uint8")),
            Case("special", (Arg((6,), value=special), Arg((6, 1), value=[[item] for item in special]))))
