"""LpPool: the p-norm ``(Σ |x|ᵖ)^(1/p)`` of each window; padding counts as zeros."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...formats.graph import Node
from ._check import FLOATS, need, want_dtype, want_rank, where
from ._dtype import widened
from ._flow import batch_and_channels
from ._op import REQUIRED, Op, OpError, Type
from ._pool_cases import pool_cases
from ._window import ATTRIBUTES, window


def check_power(node: Node, attrs: Mapping[str, Any]) -> None:
    """OpError unless p is 1 or more."""
    if attrs["p"] < 1:
        raise OpError(f"{where(node)} has p {attrs['p']}; it takes 1 or more")


def _infer(node: Node, attrs: Mapping[str, Any], args: Sequence[Type | None]) -> list[Type]:
    x = need(node, args, 0, "data")
    want_dtype(node, x, FLOATS)
    want_rank(node, x, 3)
    check_power(node, attrs)
    return [Type(x.dtype, (*x.shape[:2], *window(where(node), attrs, x.shape[2:], attrs["kernel_shape"]).out))]


def _run(attrs: Mapping[str, Any], x: np.ndarray) -> tuple[np.ndarray, ...]:
    found = window("LpPool", attrs, x.shape[2:], attrs["kernel_shape"])
    (wide,) = widened(x)
    total = np.zeros((*x.shape[:2], *found.out), wide.dtype)
    for _, view in found.taps(found.pad(np.abs(wide) ** attrs["p"], 0)):
        total += view
    return ((total ** wide.dtype.type(1 / attrs["p"])).astype(x.dtype, copy=False),)


OP = Op("LpPool", {**ATTRIBUTES, "kernel_shape": REQUIRED, "ceil_mode": 0, "p": 2}, (1, 1), _infer, _run, flow=batch_and_channels,
        cases=(*pool_cases(), *pool_cases("cubic", p=3)[:3], *pool_cases("absolute", p=1)[:3]))
