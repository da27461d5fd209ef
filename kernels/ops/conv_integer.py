"""ConvInteger: the convolution of integers of 8 bits, less their zero points, in int32. Padding stands for zero."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...formats.graph import Node
from ._check import given, need, text, want_dtype, where
from ._linear import EIGHT_BITS, centred, exact_sums
from ._op import Arg, Case, Op, OpError, Type
from .conv import OP as CONV


def _infer(node: Node, attrs: Mapping[str, Any], args: Sequence[Type | None]) -> list[Type]:
    x, w = need(node, args, 0, "data"), need(node, args, 1, "weight")
    for place, kind in enumerate(args):
        if kind is not None:
            want_dtype(node, kind, EIGHT_BITS, "zero point" if place > 1 else "input")
    found = CONV.infer(node, attrs, [Type("float32", x.shape), Type("float32", w.shape)])[0]
    assert found is not None
    for zero, valid, what in ((given(args, 2), 1, "data"), (given(args, 3), w.shape[0], "weight")):
        if zero is not None and zero.size != 1 and zero.shape != (valid,):
            raise OpError(f"{where(node)} has a zero point of the shape {text(zero.shape)} for its {what}; it takes one number"
                          + (f" or {valid}" if valid > 1 else ""))
    return [Type("int32", found.shape)]


def _run(attrs: Mapping[str, Any], x: np.ndarray, w: np.ndarray, zero_x: np.ndarray | None = None,
         zero_w: np.ndarray | None = None) -> tuple[np.ndarray, ...]:
    return (exact_sums(CONV, dict(attrs), centred(x, zero_x, 0), centred(w, zero_w, 0), w[0].size if len(w) else 0).astype(np.int32),)


X, W = Arg((2, 4, 5, 5), "uint8", 0, 255), Arg((6, 4, 3, 3), "int8", -128, 127, weight=True)
OP = Op("ConvInteger", CONV.attributes, (2, 4), _infer, _run, macs=CONV.macs, cases=(
    Case("plain", (X, W)),
    Case("padded", (X, W, Arg((), "uint8", value=131)), {"pads": (1, 1, 1, 1), "strides": (2, 2)}),
    Case("zero_point_of_the_weight", (X, W, Arg((), "uint8", value=131), Arg((), "int8", value=5))),
    Case("groups", (X, Arg((6, 2, 3, 3), "int8", -128, 127), Arg((), "uint8", value=7)), {"group": 2}),
))
