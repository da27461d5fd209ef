"""Clip: ``min(max(x, low), high)``, both bounds optional scalars; where low > high the result is high."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...formats.graph import Node
from ._check import NUMBERS, given, need, text, want_dtype, want_same_dtype, where
from ._flow import same_everywhere
from ._known import with_value
from ._op import Arg, Case, Op, OpError, Type


def _infer(node: Node, attrs: Mapping[str, Any], args: Sequence[Type | None]) -> list[Type]:
    x = need(node, args, 0, "data")
    want_dtype(node, x, NUMBERS)
    want_same_dtype(node, args)
    for place, what in ((1, "lower"), (2, "upper")):
        bound = given(args, place)
        if bound is not None and bound.size != 1:
            raise OpError(f"{where(node)} has a {what} bound of the shape {text(bound.shape)}; it takes a scalar")
    return [with_value(Type(x.dtype, x.shape), args, lambda *values: _run(attrs, *values))]


def _run(attrs: Mapping[str, Any], x: np.ndarray, low: np.ndarray | None = None, high: np.ndarray | None = None) -> tuple[np.ndarray, ...]:
    y = x if low is None else np.maximum(x, low.reshape(()).astype(x.dtype))
    y = y if high is None else np.minimum(y, high.reshape(()).astype(x.dtype))
    return (np.asarray(y, x.dtype),)


def _scalar(value: float, dtype: str = "float32") -> Arg:
    return Arg((), dtype, value=value, constant=True)


OP = Op("Clip", {}, (1, 3), _infer, _run, flow=same_everywhere, cases=(
    Case("relu6", (Arg((2, 3, 5, 7), low=-4, high=9), _scalar(0), _scalar(6))),
    Case("low_only", (Arg((3, 17)), _scalar(-0.25))),
    Case("high_only", (Arg((3, 17)), Arg(absent=True), _scalar(0.25))),
    Case("unbounded", (Arg((3, 5)),)),
    Case("crossed", (Arg((3, 5)), _scalar(0.5), _scalar(-0.5))),
    Case("int64", (Arg((9,), "int64", -9, 9), _scalar(-2, "int64"), _scalar(5, "int64"))),
    Case("mobilenet", (Arg((1, 96, 56, 56), low=-4, high=9), _scalar(0), _scalar(6)), bench=True),
))
