"""MatMul: the matrix product of NumPy, with broadcast batch axes; a 1-D operand counts as a row or a column."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...formats.graph import Node
from ._broadcast import broadcast, tie_broadcast
from ._check import NUMBERS, need, text, want_dtype, want_rank, want_same_dtype, where
from ._dtype import widened
from ._op import Arg, Case, Op, OpError, Tie, Type


def _infer(node: Node, attrs: Mapping[str, Any], args: Sequence[Type | None]) -> list[Type]:
    a, b = need(node, args, 0, "first matrix"), need(node, args, 1, "second matrix")
    want_dtype(node, a, NUMBERS)
    want_same_dtype(node, args)
    want_rank(node, a, 1, "first")
    want_rank(node, b, 1, "second")
    inner, depth = a.shape[-1], b.shape[-2:][0]
    if inner != depth:
        raise OpError(f"{where(node)} multiplies {text(a.shape)} by {text(b.shape)}; the inner lengths {inner} and {depth} differ")
    batch = broadcast(where(node), (a.shape[:-2], b.shape[:-2]))
    return [Type(a.dtype, (*batch, *a.shape[-2:-1], *(b.shape[-1:] if len(b.shape) > 1 else ())))]


def _run(attrs: Mapping[str, Any], a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, ...]:
    wide_a, wide_b = widened(a, b)
    return (np.asarray(np.matmul(wide_a, wide_b)).astype(a.dtype, copy=False),)


def _flow(node: Node, attrs: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]], tie: Tie) -> None:
    """The inner axes go together, rows and columns go to the output, and so do batch axes that are not stretched."""
    (a, b), y = node.inputs, node.outputs[0]
    rank_a, rank_b = len(shapes[a]), len(shapes[b])
    tie((a, rank_a - 1), (b, max(rank_b - 2, 0)))
    place = len(shapes[y])
    if rank_b > 1:
        place -= 1
        tie((b, rank_b - 1), (y, place))
    if rank_a > 1:
        place -= 1
        tie((a, rank_a - 2), (y, place))
    batch = shapes[y][:place]
    tie_broadcast(tie, a, shapes[a][:-2], y, batch)
    tie_broadcast(tie, b, shapes[b][:-2], y, batch)


def _macs(attrs: Mapping[str, Any], args: Sequence[Type | None], outputs: Sequence[Type]) -> int:
    a = args[0]
    assert a is not None
    return outputs[0].size * a.shape[-1]


def _case(name: str, a: tuple[int, ...], b: tuple[int, ...], weight: bool = True, bench: bool = False) -> Case:
    return Case(name, (Arg(a), Arg(b, weight=weight)), bench=bench)


OP = Op("MatMul", {}, (2, 2), _infer, _run, flow=_flow, macs=_macs, cases=(
    _case("plain", (3, 7), (7, 5)),
    _case("one_row", (1, 33), (33, 17)),
    _case("tokens", (2, 5, 9), (9, 11)),
    _case("batched", (2, 3, 4, 5), (2, 3, 5, 6), weight=False),
    _case("batch_stretched", (2, 1, 4, 5), (3, 5, 6), weight=False),
    _case("vector_first", (7,), (7, 5)),
    _case("vector_second", (3, 7), (7,)),
    _case("vectors", (9,), (9,)),
    _case("vector_times_batch", (5,), (3, 5, 2), weight=False),
    _case("batch_times_vector", (3, 4, 5), (5,)),
    Case("weight_first", (Arg((6, 7), weight=True), Arg((7, 3)))),
    Case("int64", (Arg((3, 4), "int64", -9, 9), Arg((4, 5), "int64", -9, 9))),
    _case("square", (1, 1024), (1024, 1024), bench=True),
    _case("projection", (1, 64, 256), (256, 256), bench=True),
))
