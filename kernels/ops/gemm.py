"""Gemm: ``alpha · A' · B' + beta · C`` of matrices, where ' transposes if asked for and C broadcasts to [M, N]."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...formats.graph import Node
from ._broadcast import broadcast, tie_broadcast
from ._check import NUMBERS, given, need, text, want_dtype, want_rank, want_same_dtype, where
from ._dtype import widened
from ._op import Arg, Case, Op, OpError, Tie, Type


def _infer(node: Node, attrs: Mapping[str, Any], args: Sequence[Type | None]) -> list[Type]:
    a, b, c = need(node, args, 0, "matrix A"), need(node, args, 1, "matrix B"), given(args, 2)
    want_dtype(node, a, NUMBERS)
    want_same_dtype(node, args)
    want_rank(node, a, 2, "matrix A", 2)
    want_rank(node, b, 2, "matrix B", 2)
    (rows, inner), (depth, columns) = _turned(a.shape, attrs["transA"]), _turned(b.shape, attrs["transB"])
    if inner != depth:
        raise OpError(f"{where(node)} multiplies {text(a.shape)}{' transposed' * bool(attrs['transA'])} by "
                      f"{text(b.shape)}{' transposed' * bool(attrs['transB'])}; the inner lengths {inner} and {depth} differ")
    if c is not None and (len(c.shape) > 2 or broadcast(where(node), (c.shape, (rows, columns))) != (rows, columns)):
        raise OpError(f"{where(node)} adds C of the shape {text(c.shape)}, which does not broadcast to {rows}x{columns}")
    return [Type(a.dtype, (rows, columns))]


def _turned(shape: tuple[int, ...], transpose: int) -> tuple[int, ...]:
    return shape[::-1] if transpose else shape


def _run(attrs: Mapping[str, Any], a: np.ndarray, b: np.ndarray, c: np.ndarray | None = None) -> tuple[np.ndarray, ...]:
    wide_a, wide_b = widened(a.T if attrs["transA"] else a, b.T if attrs["transB"] else b)
    y = wide_a @ wide_b
    y = _scaled(y, attrs["alpha"])
    if c is not None and attrs["beta"] != 0:
        y = y + _scaled(widened(c)[0], attrs["beta"])
    return (y.astype(a.dtype, copy=False),)


def _scaled(array: np.ndarray, factor: float) -> np.ndarray:
    if factor == 1:
        return array
    return array * (array.dtype.type(factor) if array.dtype.kind == "f" else factor)


def _flow(node: Node, attrs: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]], tie: Tie) -> None:
    (a, b), y = node.inputs[:2], node.outputs[0]
    rows, inner = (1, 0) if attrs["transA"] else (0, 1)
    depth, columns = (1, 0) if attrs["transB"] else (0, 1)
    tie((a, inner), (b, depth))
    tie((a, rows), (y, 0))
    tie((b, columns), (y, 1))
    if len(node.inputs) > 2 and node.inputs[2]:
        tie_broadcast(tie, node.inputs[2], shapes[node.inputs[2]], y, shapes[y])


def _macs(attrs: Mapping[str, Any], args: Sequence[Type | None], outputs: Sequence[Type]) -> int:
    a = args[0]
    assert a is not None
    return outputs[0].size * _turned(a.shape, attrs["transA"])[1]


def _case(name: str, a: tuple[int, ...], b: tuple[int, ...], c: tuple[int, ...] | None = None, bench: bool = False, **attrs: Any) -> Case:
    args = (Arg(a), Arg(b, weight=True), *((Arg(c, weight=True),) if c is not None else ()))
    return Case(name, args, attrs, bench)


OP = Op("Gemm", {"alpha": 1.0, "beta": 1.0, "transA": 0, "transB": 0}, (2, 3), _infer, _run, flow=_flow, macs=_macs, cases=(
    _case("plain", (3, 7), (7, 5)),
    _case("linear", (1, 17), (13, 17), (13,), transB=1),
    _case("linear_batch", (5, 33), (19, 33), (19,), transB=1),
    _case("row_bias", (3, 7), (7, 5), (1, 5)),
    _case("column_bias", (3, 7), (7, 5), (3, 1)),
    _case("scalar_bias", (3, 7), (7, 5), ()),
    _case("full_bias", (3, 7), (7, 5), (3, 5)),
    _case("transposed_both", (7, 3), (5, 7), (5,), transA=1, transB=1),
    _case("transposed_first", (7, 3), (7, 5), transA=1),
    _case("scaled", (4, 6), (6, 9), (9,), alpha=0.5, beta=-2.0),
    _case("without_bias_scale", (4, 6), (9, 6), (9,), alpha=1.5, beta=0.0, transB=1),
    Case("int32", (Arg((3, 4), "int32", -9, 9), Arg((4, 5), "int32", -9, 9))),
    _case("classifier", (1, 1280), (1000, 1280), (1000,), transB=1, bench=True),
    _case("square", (1, 1024), (1024, 1024), transB=1, bench=True),
))
