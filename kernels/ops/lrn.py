"""LRN: ``x / (bias + alpha / size · Σ x²)^beta``, summed over ``size`` neighbouring channels (axis 1)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...formats.graph import Node
from ._check import FLOATS, need, want_dtype, want_rank, where
from ._dtype import widened
from ._flow import tie_same
from ._op import REQUIRED, Arg, Case, Op, OpError, Tie, Type


def _infer(node: Node, attrs: Mapping[str, Any], args: Sequence[Type | None]) -> list[Type]:
    x = need(node, args, 0, "data")
    want_dtype(node, x, FLOATS)
    want_rank(node, x, 2)
    if attrs["size"] < 1:
        raise OpError(f"{where(node)} has the size {attrs['size']}; it takes 1 or more channels")
    return [Type(x.dtype, x.shape)]


def _run(attrs: Mapping[str, Any], x: np.ndarray) -> tuple[np.ndarray, ...]:
    (wide,) = widened(x)
    size, channels = attrs["size"], x.shape[1]
    before = (size - 1) // 2
    squares = np.pad(np.square(wide), [(0, 0), (before, size - 1 - before), *[(0, 0)] * (x.ndim - 2)])
    total = np.zeros_like(wide)
    for k in range(size):
        total += squares[:, k:k + channels]
    bias, factor, power = (wide.dtype.type(item) for item in (attrs["bias"], attrs["alpha"] / size, attrs["beta"]))
    return (np.asarray(wide / (bias + factor * total) ** power).astype(x.dtype, copy=False),)


def _flow(node: Node, attrs: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]], tie: Tie) -> None:
    """Neighbours count in each other's sums, so that no channel may go."""
    tie_same(tie, node.inputs[0], node.outputs[0], (0, *range(2, len(shapes[node.inputs[0]]))))


def _case(name: str, x: tuple[int, ...], size: int, bench: bool = False, **attrs: Any) -> Case:
    return Case(name, (Arg(x, low=-3, high=3),), {"size": size, **attrs}, bench)


OP = Op("LRN", {"alpha": float(np.float32(1e-4)), "beta": 0.75, "bias": 1.0, "size": REQUIRED}, (1, 1), _infer, _run, flow=_flow, cases=(
    _case("image", (2, 7, 3, 4), 3),
    _case("even", (2, 7, 3, 4), 4, alpha=0.5, bias=2.0, beta=0.5),
    _case("wider_than_channels", (1, 3, 4, 4), 9, alpha=1.0),
    _case("one", (1, 3, 4, 4), 1, alpha=1.0),
    _case("line", (2, 5, 6), 3, alpha=0.25),
    _case("alexnet", (1, 64, 56, 56), 5, bench=True),
))
