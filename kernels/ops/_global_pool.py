"""Makes the poolings over whole images: the spatial axes stay, with length 1."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ...formats.graph import Node
from ._check import FLOATS, need, want_dtype, want_rank
from ._dtype import widened
from ._flow import batch_and_channels
from ._op import Arg, Case, Op, Type


def global_pool(name: str, compute: Callable[[np.ndarray, tuple[int, ...], Mapping[str, Any]], np.ndarray], *,
                attributes: Mapping[str, Any] | None = None, check: Callable[[Node, Mapping[str, Any]], None] | None = None,
                cases: tuple[Case, ...] = ()) -> Op:
    """The operator ``compute(x, spatial axes, attributes)``, which keeps the axes. float16 is computed as float32."""
    def infer(node: Node, attrs: Mapping[str, Any], args: Sequence[Type | None]) -> list[Type]:
        x = need(node, args, 0, "data")
        want_dtype(node, x, FLOATS)
        want_rank(node, x, 2)
        if check is not None:
            check(node, attrs)
        return [Type(x.dtype, (*x.shape[:2], *(1,) * (len(x.shape) - 2)))]

    def run(attrs: Mapping[str, Any], x: np.ndarray) -> tuple[np.ndarray, ...]:
        (wide,) = widened(x)
        return (np.asarray(compute(wide, tuple(range(2, x.ndim)), attrs)).astype(x.dtype, copy=False),)

    return Op(name, attributes or {}, (1, 1), infer, run, (*_CASES, *cases), flow=batch_and_channels)


_CASES = (
    Case("image", (Arg((2, 5, 7, 9)),)),
    Case("one_pixel", (Arg((1, 17, 1, 1)),)),
    Case("line", (Arg((2, 3, 11)),)),
    Case("volume", (Arg((1, 3, 4, 5, 3)),)),
    Case("mobilenet", (Arg((1, 1280, 7, 7)),), bench=True),
)
