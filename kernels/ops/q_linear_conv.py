"""QLinearConv: ConvInteger with a bias on the grid of the sums, and the sums as codes of another scale and zero point.

In one order of roundings, that of ``docs/quantization.md``: the sum as float32 times the float32 product of both scales, plus the bias
as float32 times that product, over the new scale.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...formats.graph import Node
from ._check import given, text, want_dtype, where
from ._linear import centred, exact_sums, quantized_to
from ._op import Arg, Case, Op, OpError, Type
from .conv import OP as CONV
from .q_linear_mat_mul import want_operands


def _infer(node: Node, attrs: Mapping[str, Any], args: Sequence[Type | None]) -> list[Type]:
    x, x_scale, x_zero, w, w_scale, w_zero, _, y_zero = want_operands(node, args)
    bias = given(args, 8)
    kinds = [Type("float32", kind.shape) if kind is not None else None for kind in (x, w, bias)]
    found = CONV.infer(node, attrs, kinds)[0]
    assert found is not None
    if bias is not None:
        want_dtype(node, bias, ("int32",), "bias")
    for table, valid, what in ((x_scale, 1, "data"), (x_zero, 1, "data"), (w_scale, w.shape[0], "weight"), (w_zero, w.shape[0], "weight")):
        if table.size != 1 and table.shape != (valid,):
            raise OpError(f"{where(node)} has a scale or zero point of the shape {text(table.shape)} for its {what}; it takes one number"
                          + (f" or {valid}" if valid > 1 else ""))
    return [Type(y_zero.dtype, found.shape)]


def _run(attrs: Mapping[str, Any], x: np.ndarray, x_scale: np.ndarray, x_zero: np.ndarray, w: np.ndarray, w_scale: np.ndarray,
         w_zero: np.ndarray, y_scale: np.ndarray, y_zero: np.ndarray, bias: np.ndarray | None = None) -> tuple[np.ndarray, ...]:
    sums = exact_sums(CONV, dict(attrs), centred(x, x_zero, 0), centred(w, w_zero, 0), w[0].size if len(w) else 0)
    wide = np.promote_types(x_scale.dtype, np.float32)
    after_batch = (-1, *(1,) * (x.ndim - 2))
    factor = (x_scale.astype(wide).reshape(()) * w_scale.astype(wide)).reshape(after_batch)
    y = sums.astype(wide) * factor
    if bias is not None:
        y = y + bias.astype(wide).reshape(after_batch) * factor
    return (quantized_to(y, y_scale.astype(wide).reshape(()), y_zero.reshape(()), y_zero.dtype),)


def _number(value: float, dtype: str = "float32") -> Arg:
    return Arg((), dtype, value=value)


X, W = Arg((2, 4, 5, 5), "uint8", 0, 255), Arg((6, 4, 3, 3), "int8", -128, 127)
QX, QW, QY = ((_number(s), _number(z, d)) for s, z, d in ((0.0625, 131, "uint8"), (0.03125, 0, "int8"), (2.5, 120, "uint8")))
OP = Op("QLinearConv", CONV.attributes, (8, 9), _infer, _run, cases=(
    Case("padded", (X, *QX, W, *QW, *QY), {"pads": (1, 1, 1, 1), "strides": (2, 2)}),
    Case("bias", (X, *QX, W, *QW, *QY, Arg((6,), "int32", -9999, 9999))),
    Case("per_channel", (X, *QX, W, Arg((6,), low=0.02, high=0.05), Arg((6,), "int8", 0, 0), *QY)),
    Case("groups", (X, *QX, Arg((6, 2, 3, 3), "int8", -128, 127), *QW, *QY), {"group": 2}),
), macs=lambda attrs, args, outputs: outputs[0].size * (args[3].size // max(args[3].shape[0], 1) if args[3] else 0))
