"""Makes the operators that work on each element alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ...formats.graph import Node
from ._broadcast import broadcast, tie_broadcast
from ._check import FLOATS, NUMBERS, need, want_dtype, want_same_dtype, where
from ._flow import same_everywhere
from ._known import with_value
from ._op import Arg, Case, Op, Tie, Type


def unary(name: str, compute: Callable[[np.ndarray, Mapping[str, Any]], np.ndarray], attributes: Mapping[str, Any] | None = None,
          dtypes: Sequence[str] = FLOATS, cases: tuple[Case, ...] | None = None) -> Op:
    """An operator ``y = compute(x, attrs)`` that keeps shape and dtype."""
    def run(attrs: Mapping[str, Any], x: np.ndarray) -> tuple[np.ndarray, ...]:
        return (np.asarray(compute(x, attrs), x.dtype),)

    def infer(node: Node, attrs: Mapping[str, Any], args: Sequence[Type | None]) -> list[Type]:
        x = need(node, args, 0, "data")
        want_dtype(node, x, dtypes)
        return [with_value(Type(x.dtype, x.shape), [x], lambda value: run(attrs, value))]

    return Op(name, attributes or {}, (1, 1), infer, run, cases or activation_cases(), flow=same_everywhere)


def activation_cases() -> tuple[Case, ...]:
    """Cases for an activation: ordinary shapes, both saturated ends, one large for benchmarks."""
    return (Case("image", (Arg((2, 3, 5, 7), low=-4, high=4),)),
            Case("saturated", (Arg((3, 17), low=-60, high=60),)),
            Case("scalar", (Arg((), low=-1, high=1),)),
            Case("vector", (Arg((33,), low=-8, high=8),)),
            Case("mobilenet", (Arg((1, 96, 56, 56), low=-4, high=4),), bench=True))


def binary(name: str, compute: Callable[[np.ndarray, np.ndarray], np.ndarray], low: float = -1.0) -> Op:
    """An operator ``y = compute(a, b)`` with broadcasting; ``low`` bounds the second input of the cases from below."""
    def run(attrs: Mapping[str, Any], a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, ...]:
        return (np.asarray(compute(a, b), np.result_type(a.dtype, b.dtype)),)

    def infer(node: Node, attrs: Mapping[str, Any], args: Sequence[Type | None]) -> list[Type]:
        a, b = need(node, args, 0, "first operand"), need(node, args, 1, "second operand")
        want_dtype(node, a, NUMBERS)
        want_same_dtype(node, (a, b))
        kind = Type(a.dtype, broadcast(where(node), (a.shape, b.shape)))
        return [with_value(kind, [a, b], lambda x, y: run(attrs, x, y))]

    def flow(node: Node, attrs: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]], tie: Tie) -> None:
        output = node.outputs[0]
        for value in node.inputs:
            tie_broadcast(tie, value, shapes[value], output, shapes[output])

    return Op(name, {}, (2, 2), infer, run, _binary_cases(low), flow=flow)


def _binary_cases(low: float) -> tuple[Case, ...]:
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
            Case("uint8", (Arg((5,), "uint8", value=[200, 100, 9, 8, 7]), Arg((5,), "uint8", value=[3, 100, 9, 4, 2]))),
            case("residual", (1, 24, 56, 56), (1, 24, 56, 56), bench=True))
