"""RMSNormalization: ``x / √(mean(x²) + epsilon)`` over the axes from ``axis`` on, then scaled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...formats.graph import Node
from ._check import FLOATS, need, positive_axis, want_dtype, want_rank, where
from ._dtype import widened
from ._norm import EPSILON, stash, want_stretchable
from ._op import Arg, Case, Op, Type
from .layer_normalization import leading_axes


def _infer(node: Node, attrs: Mapping[str, Any], args: Sequence[Type | None]) -> list[Type]:
    x, scale = need(node, args, 0, "data"), need(node, args, 1, "scale")
    want_dtype(node, x, FLOATS)
    want_dtype(node, scale, FLOATS, "scale")
    want_rank(node, x, 1)
    positive_axis(where(node), attrs["axis"], len(x.shape))
    stash(where(node), attrs["stash_type"])
    want_stretchable(node, scale, x.shape, "scale")
    return [Type(scale.dtype, x.shape)]


def _run(attrs: Mapping[str, Any], x: np.ndarray, scale: np.ndarray) -> tuple[np.ndarray, ...]:
    axes = tuple(range(positive_axis("RMSNormalization", attrs["axis"], x.ndim), x.ndim))
    wide = x.astype(np.result_type(x, stash("RMSNormalization", attrs["stash_type"])), copy=False)
    normal = wide / np.sqrt(np.square(wide).mean(axis=axes, keepdims=True) + wide.dtype.type(attrs["epsilon"]))
    rounded, factor = widened(normal.astype(x.dtype, copy=False), scale)
    return (np.asarray(rounded * factor).astype(scale.dtype, copy=False),)


def _case(name: str, x: tuple[int, ...], scale: tuple[int, ...], bench: bool = False, **attrs: Any) -> Case:
    return Case(name, (Arg(x, low=-3, high=3), Arg(scale, low=0.5, high=2, weight=True)), attrs, bench)


OP = Op("RMSNormalization", {"axis": -1, "epsilon": EPSILON, "stash_type": 1}, (2, 2), _infer, _run, flow=leading_axes, cases=(
    _case("tokens", (2, 5, 17), (17,)),
    _case("two_axes", (2, 3, 4, 5), (4, 5), axis=-2),
    _case("everything", (3, 4), (3, 4), axis=0),
    _case("stretched", (2, 3, 4), (4,), axis=1),
    _case("epsilon", (4, 9), (9,), epsilon=0.125),
    _case("sentence", (1, 64, 384), (384,), bench=True),
))
