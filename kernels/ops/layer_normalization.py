"""LayerNormalization: mean 0 and variance 1 over the axes from ``axis`` on, then scaled and shifted.

Also gives the means and the inverse standard deviations, with length 1 along those axes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...formats.graph import Node
from ._check import FLOATS, given, need, positive_axis, want_dtype, want_rank, want_same_dtype, where
from ._flow import tie_same
from ._norm import EPSILON, scaled, standardized, stash, want_stretchable
from ._op import Arg, Case, Op, Tie, Type


def _infer(node: Node, attrs: Mapping[str, Any], args: Sequence[Type | None]) -> list[Type]:
    x, scale, bias = need(node, args, 0, "data"), need(node, args, 1, "scale"), given(args, 2)
    want_dtype(node, x, FLOATS)
    want_same_dtype(node, args)
    want_rank(node, x, 1)
    axis = positive_axis(where(node), attrs["axis"], len(x.shape))
    want_stretchable(node, scale, x.shape, "scale")
    want_stretchable(node, bias, x.shape, "bias")
    means = Type(stash(where(node), attrs["stash_type"]), (*x.shape[:axis], *(1,) * (len(x.shape) - axis)))
    return [Type(x.dtype, x.shape), means, means]


def _run(attrs: Mapping[str, Any], x: np.ndarray, scale: np.ndarray, bias: np.ndarray | None = None) -> tuple[np.ndarray, ...]:
    axis, dtype = positive_axis("LayerNormalization", attrs["axis"], x.ndim), stash("LayerNormalization", attrs["stash_type"])
    normal, mean, inverse = standardized(x, range(axis, x.ndim), attrs["epsilon"], dtype)
    return scaled(normal, x.dtype, scale, bias), mean.astype(dtype, copy=False), inverse.astype(dtype, copy=False)


def leading_axes(node: Node, attrs: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]], tie: Tie) -> None:
    """The flow of normalizations over the last axes: those ahead of them pass through, unless the parameters reach there."""
    x, rank = node.inputs[0], len(shapes[node.inputs[0]])
    axis = positive_axis(where(node), attrs["axis"], rank)
    if all(len(shapes[name]) <= rank - axis for name in node.inputs[1:] if name):
        for output in filter(None, node.outputs):
            tie_same(tie, x, output, range(axis))


def _case(name: str, x: tuple[int, ...], parameters: tuple[int, ...], bias: bool = True, outputs: int = 1, bench: bool = False,
          **attrs: Any) -> Case:
    args = (Arg(x, low=-3, high=3), Arg(parameters, low=0.5, high=2, weight=True), *((Arg(parameters, weight=True),) if bias else ()))
    return Case(name, args, attrs, bench, outputs)


OP = Op("LayerNormalization", {"axis": -1, "epsilon": EPSILON, "stash_type": 1}, (2, 3), _infer, _run, flow=leading_axes, cases=(
    _case("tokens", (2, 5, 17), (17,)),
    _case("no_bias", (2, 5, 17), (17,), bias=False),
    _case("two_axes", (2, 3, 4, 5), (4, 5), axis=-2),
    _case("everything", (3, 4), (3, 4), axis=0),
    _case("stretched", (2, 3, 4), (4,), axis=1),
    _case("stretched_ahead", (2, 3, 4), (2, 1, 1), axis=1),
    _case("epsilon", (4, 9), (9,), epsilon=0.125),
    _case("vector", (33,), (33,)),
    _case("statistics", (2, 5, 7), (7,), outputs=3),
    _case("sentence", (1, 64, 384), (384,), bench=True),
))
