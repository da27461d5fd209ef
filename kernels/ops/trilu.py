"""Trilu: the upper (or lower) triangle of each matrix in the last two axes from the ``k``-th diagonal on, zeros elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...formats.graph import Node
from ._check import given, need, text, want_dtype, want_rank, where
from ._flow import tie_same
from ._known import with_value
from ._op import Arg, Case, Op, OpError, Tie, Type


def _infer(node: Node, attrs: Mapping[str, Any], args: Sequence[Type | None]) -> list[Type]:
    x, k = need(node, args, 0, "data"), given(args, 1)
    want_rank(node, x, 2)
    if k is not None:
        want_dtype(node, k, ("int64",), "diagonal")
        if k.size != 1:
            raise OpError(f"{where(node)} has a diagonal of the shape {text(k.shape)}; it takes one number")
    return [with_value(Type(x.dtype, x.shape), args, lambda *values: _run(attrs, *values))]


def _run(attrs: Mapping[str, Any], x: np.ndarray, k: np.ndarray | None = None) -> tuple[np.ndarray, ...]:
    rows, columns = x.shape[-2:]
    distance = np.arange(columns) - np.arange(rows)[:, None]  # of each place to the main diagonal
    diagonal = 0 if k is None else int(k.reshape(()))
    kept = distance >= diagonal if attrs["upper"] else distance <= diagonal
    return (np.where(kept, x, np.zeros((), x.dtype)),)


def _flow(node: Node, attrs: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]], tie: Tie) -> None:
    tie_same(tie, node.inputs[0], node.outputs[0], range(len(shapes[node.inputs[0]]) - 2))


def _case(name: str, x: Arg, k: int | None = None, **attrs: int) -> Case:
    return Case(name, (x, *(() if k is None else (Arg((), "int64", value=k, constant=True),))), attrs)


OP = Op("Trilu", {"upper": 1}, (1, 2), _infer, _run, flow=_flow, cases=(
    _case("upper", Arg((4, 5))),
    _case("upper_above", Arg((2, 3, 4, 4)), 1),
    _case("upper_below", Arg((3, 5), "int64", -9, 9), -1),
    _case("lower", Arg((2, 5, 4)), upper=0),
    _case("lower_above", Arg((5, 4), "int8", -9, 9), 2, upper=0),
    _case("everything", Arg((3, 4)), -99),
    _case("nothing", Arg((3, 4), "bool"), -99, upper=0),
))
