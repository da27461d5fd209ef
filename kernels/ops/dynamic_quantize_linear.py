"""DynamicQuantizeLinear: uint8 codes, their scale and zero point, so that the codes reach from the least to the largest element and hold 0."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...formats.graph import ActivationQuantization, Node
from ..quantized import dynamic_grid, quantize
from ._check import need, want_dtype
from ._op import Arg, Case, Op, Type

HOW = ActivationQuantization("dynamic", "uint8")


def _infer(node: Node, attrs: Mapping[str, Any], args: Sequence[Type | None]) -> list[Type]:
    x = need(node, args, 0, "data")
    want_dtype(node, x, ("float32", "float64"))
    return [Type("uint8", x.shape), Type(x.dtype, ()), Type("uint8", ())]


def _run(attrs: Mapping[str, Any], x: np.ndarray) -> tuple[np.ndarray, ...]:
    scale, zero = (table.reshape(()) for table in dynamic_grid(x, HOW))
    zero = np.where(np.isnan(zero), 0, zero)
    return (quantize(x, HOW).values + zero).astype(np.uint8), scale, zero.astype(np.uint8)


OP = Op("DynamicQuantizeLinear", {}, (1, 1), _infer, _run, cases=(
    # The range is 255 powers of two, so that scales are the same in float32 and float64.
    Case("both_signs", (Arg((6,), value=[-0.5, 0.49609375, 0, 0.3, -0.2, 0.11]),)),
    Case("positive", (Arg((2, 2), value=[[0.99609375, 0.5], [0.25, 0.7]]),)),
))
