"""MatMulInteger: the matrix product of integers of 8 bits, less their zero points, in int32 (which wraps, as ONNX allows)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...formats.graph import Node
from ._check import given, need, text, want_dtype, where
from ._linear import EIGHT_BITS, centred, exact_sums
from ._op import Arg, Case, Op, OpError, Type
from .mat_mul import OP as MATMUL


def _infer(node: Node, attrs: Mapping[str, Any], args: Sequence[Type | None]) -> list[Type]:
    a, b = need(node, args, 0, "first matrix"), need(node, args, 1, "second matrix")
    for place, kind in enumerate(args):
        if kind is not None:
            want_dtype(node, kind, EIGHT_BITS, "zero point" if place > 1 else "input")
    found = MATMUL.infer(node, {}, [Type("float32", a.shape), Type("float32", b.shape)])[0]
    assert found is not None
    want_zero_point(node, a, given(args, 2), -2, "first")
    want_zero_point(node, b, given(args, 3), -1, "second")
    return [Type("int32", found.shape)]


def want_zero_point(node: Node, x: Type, zero: Type | None, axis: int, which: str) -> None:
    """OpError unless there is none, or it has one element, one per row or column, or the rank of ``x`` and length 1 or that of ``x``."""
    if zero is None or zero.size == 1:
        return
    length = x.shape[axis] if len(x.shape) >= 2 else 1
    full = len(zero.shape) == len(x.shape) and all(n in (1, m) for n, m in zip(zero.shape, x.shape))
    if zero.shape != (length,) and not full:
        raise OpError(f"{where(node)} has a zero point of the shape {text(zero.shape)} for its {which} matrix {text(x.shape)}; "
                      f"it takes one number or {length}")


def _run(attrs: Mapping[str, Any], a: np.ndarray, b: np.ndarray, zero_a: np.ndarray | None = None,
         zero_b: np.ndarray | None = None) -> tuple[np.ndarray, ...]:
    return (exact_sums(MATMUL, {}, centred(a, zero_a, -2), centred(b, zero_b, -1), a.shape[-1]).astype(np.int32),)


A, B = Arg((2, 3, 5), "uint8", 0, 255), Arg((5, 4), "int8", -128, 127, weight=True)
OP = Op("MatMulInteger", {}, (2, 4), _infer, _run, macs=MATMUL.macs, cases=(
    Case("plain", (A, B)),
    Case("zero_points", (A, B, Arg((), "uint8", value=131), Arg((), "int8", value=-7))),
    Case("zero_point_per_column", (A, B, Arg((), "uint8", value=131), Arg((1, 4), "int8", -9, 9))),
    Case("zero_point_per_row", (Arg((3, 5), "int8", -128, 127), B, Arg((3, 1), "int8", -9, 9))),
))
