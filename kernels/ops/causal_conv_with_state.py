"""CausalConvWithState: a depthwise convolution that looks back only, and carries the last k - 1 positions from call to call.

``input`` [batch, channels, length], ``weight`` [channels, 1, k], ``past_state`` and ``present_state`` [batch, channels, k - 1].
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...formats.graph import Node
from ._cell_activations import sigmoid
from ._check import FLOATS, given, need, text, want_dtype, want_rank, want_same_dtype, where
from ._conv import convolve
from ._dtype import widened
from ._op import Arg, Case, Op, OpError, Type
from ._window import Window

ACTIVATIONS = ("silu", "swish", "none")


def _infer(node: Node, attrs: Mapping[str, Any], args: Sequence[Type | None]) -> list[Type]:
    x, weight, bias, past = need(node, args, 0, "data"), need(node, args, 1, "weight"), given(args, 2), given(args, 3)
    want_dtype(node, x, FLOATS)
    want_same_dtype(node, args)
    want_rank(node, x, 3, "data", 3)
    want_rank(node, weight, 3, "weight", 3)
    if attrs["activation"] not in ACTIVATIONS:
        raise OpError(f"{where(node)} has the activation {attrs['activation']!r}; it takes {', '.join(ACTIVATIONS)}")
    state = (*x.shape[:2], weight.shape[2] - 1)
    taps = (x.shape[1], 1, max(weight.shape[2], 1))
    for kind, what, shape in ((weight, "weight", taps), (bias, "bias", x.shape[1:2]), (past, "past_state", state)):
        if kind is not None and kind.shape != shape:
            raise OpError(f"{where(node)} has a {what} of the shape {text(kind.shape)}; here it takes {text(shape)}")
    return [Type(x.dtype, x.shape), Type(x.dtype, state)]


def _run(attrs: Mapping[str, Any], x: np.ndarray, weight: np.ndarray, bias: np.ndarray | None = None,
         past: np.ndarray | None = None) -> tuple[np.ndarray, ...]:
    kernel = weight.shape[2]
    before = np.zeros((*x.shape[:2], kernel - 1), x.dtype) if past is None else past
    whole = np.concatenate((before, x), axis=2)
    wide, w = widened(whole, weight)
    window = Window((kernel,), (1,), (1,), (0,), (0,), (x.shape[2],), (0,))
    y = convolve(wide, w, len(w), window)
    if bias is not None:
        y = y + widened(bias)[0][:, None]
    if attrs["activation"] != "none":
        y = y * sigmoid(y)
    return y.astype(x.dtype, copy=False), whole[:, :, x.shape[2]:]


def _macs(attrs: Mapping[str, Any], args: Sequence[Type | None], outputs: Sequence[Type]) -> int:
    assert args[1] is not None
    return outputs[0].size * args[1].shape[2]


def _case(name: str, x: tuple[int, ...], kernel: int, bias: bool = True, past: bool = True, **attrs: Any) -> Case:
    args = [Arg(x), Arg((x[1], 1, kernel), weight=True), Arg((x[1],), weight=True, absent=not bias),
            Arg((*x[:2], kernel - 1), absent=not past)]
    while args[-1].absent:
        args.pop()
    return Case(name, tuple(args), attrs)


OP = Op("CausalConvWithState", {"activation": "none"}, (2, 4), _infer, _run, macs=_macs, cases=(
    _case("plain", (2, 3, 7), 4),
    _case("silu", (2, 3, 7), 3, activation="silu"),
    _case("no_bias", (1, 5, 6), 3, bias=False, activation="swish"),
    _case("fresh", (1, 5, 6), 3, past=False),
    _case("bare", (1, 5, 6), 2, bias=False, past=False),
    _case("one_step", (2, 4, 1), 4),
    _case("one_tap", (1, 3, 5), 1, past=False),
    _case("one_channel", (1, 1, 6), 3),
))
