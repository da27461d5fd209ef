"""QLinearMatMul: MatMulInteger, and the sums as codes of another scale and zero point.

In one order of roundings, that of ``docs/quantization.md``: the sum as float32 times the float32 product of both scales, over the new scale.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...formats.graph import Node
from ._check import need, text, want_dtype, want_same_dtype, where
from ._linear import EIGHT_BITS, SCALES, centred, exact_sums, quantized_to
from ._op import Arg, Case, Op, OpError, Type
from .mat_mul import OP as MATMUL
from .mat_mul_integer import want_zero_point


def _infer(node: Node, attrs: Mapping[str, Any], args: Sequence[Type | None]) -> list[Type]:
    a, a_scale, a_zero, b, b_scale, b_zero, _, y_zero = want_operands(node, args)
    found = MATMUL.infer(node, {}, [Type("float32", a.shape), Type("float32", b.shape)])[0]
    assert found is not None
    for which, x, tables, axis in (("first", a, (a_scale, a_zero), -2), ("second", b, (b_scale, b_zero), -1)):
        for table in tables:
            want_zero_point(node, x, table, axis, which)
    return [Type(y_zero.dtype, found.shape)]


def want_operands(node: Node, args: Sequence[Type | None]) -> list[Type]:
    """The first eight inputs: two operands and a result, each with scale and zero point; OpError where their dtypes do not fit."""
    names = ("first input", "its scale", "its zero point", "second input", "its scale", "its zero point", "scale of the output",
             "zero point of the output")
    found = [need(node, args, place, what) for place, what in enumerate(names)]
    for place, kind in enumerate(found):
        want_dtype(node, kind, SCALES if place in (1, 4, 6) else EIGHT_BITS, names[place])
    want_same_dtype(node, (found[0], found[2]))
    want_same_dtype(node, (found[3], found[5]))
    if found[6].size != 1 or found[7].size != 1:
        raise OpError(f"{where(node)} has a scale or zero point of the output of the shape {text(found[6].shape)} or {text(found[7].shape)}; "
                      "it takes one number each")
    return found


def _run(attrs: Mapping[str, Any], a: np.ndarray, a_scale: np.ndarray, a_zero: np.ndarray, b: np.ndarray, b_scale: np.ndarray,
         b_zero: np.ndarray, y_scale: np.ndarray, y_zero: np.ndarray) -> tuple[np.ndarray, ...]:
    sums = exact_sums(MATMUL, {}, centred(a, a_zero, -2), centred(b, b_zero, -1), a.shape[-1])
    wide = np.promote_types(a_scale.dtype, np.float32)
    rows = a_scale.reshape(-1, 1) if a_scale.ndim == 1 and a_scale.size > 1 else a_scale
    factor = rows.astype(wide) * b_scale.astype(wide)
    y = sums.astype(wide) * (factor.reshape(()) if factor.size == 1 else factor)
    return (quantized_to(y, y_scale.astype(wide).reshape(()), y_zero.reshape(()), y_zero.dtype),)


def _number(value: float, dtype: str = "float32") -> Arg:
    return Arg((), dtype, value=value)


TO_UINT8 = (_number(0.75), _number(131, "uint8"))
OP = Op("QLinearMatMul", {}, (8, 8), _infer, _run, macs=lambda attrs, args, outputs: outputs[0].size * (args[0].shape[-1] if args[0] else 0),
        cases=(
    Case("uint8", (Arg((2, 3, 5), "uint8", 0, 255), _number(0.0625), _number(113, "uint8"), Arg((5, 4), "uint8", 0, 255), _number(0.03125),
                   _number(114, "uint8"), *TO_UINT8)),
    Case("int8", (Arg((3, 5), "int8", -128, 127), _number(0.0625), _number(3, "int8"), Arg((5, 4), "int8", -128, 127), _number(0.03125),
                  _number(-4, "int8"), _number(0.5), _number(7, "int8"))),
))
