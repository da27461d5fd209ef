"""Conv: cross-correlation in 1 to 3 (or more) spatial dimensions, with groups, strides, dilations and padding.

``x`` [N, C, …], ``w`` [M, C / group, …kernel], optional bias [M] → [N, M, …].
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...formats.graph import Node
from ._check import FLOATS, given, need, text, want_dtype, want_rank, want_same_dtype, where
from ._conv import convolve
from ._dtype import widened
from ._flow import tie_same
from ._op import Arg, Case, Op, OpError, Tie, Type
from ._window import ATTRIBUTES, window


def _infer(node: Node, attrs: Mapping[str, Any], args: Sequence[Type | None]) -> list[Type]:
    x, w, bias = need(node, args, 0, "data"), need(node, args, 1, "weight"), given(args, 2)
    want_dtype(node, x, FLOATS)
    want_same_dtype(node, args)
    want_rank(node, x, 3)
    want_rank(node, w, len(x.shape), "weight", len(x.shape))
    groups, kernel = attrs["group"], w.shape[2:]
    if groups < 1 or x.shape[1] != w.shape[1] * groups:
        raise OpError(f"{where(node)} has {x.shape[1]} input channels, but its weight {text(w.shape)} with group {groups} "
                      f"takes {w.shape[1] * groups}")
    if w.shape[0] % groups:
        raise OpError(f"{where(node)} has {w.shape[0]} output channels, which its {groups} groups do not divide")
    if attrs["kernel_shape"] is not None and tuple(attrs["kernel_shape"]) != kernel:
        raise OpError(f"{where(node)} has kernel_shape {text(attrs['kernel_shape'])}, but a weight of the shape {text(w.shape)}")
    if bias is not None and bias.shape != w.shape[:1]:
        raise OpError(f"{where(node)} has a bias of the shape {text(bias.shape)}; it takes {w.shape[0]} numbers")
    found = window(where(node), attrs, x.shape[2:], kernel)
    return [Type(x.dtype, (x.shape[0], w.shape[0], *found.out))]


def _run(attrs: Mapping[str, Any], x: np.ndarray, w: np.ndarray, bias: np.ndarray | None = None) -> tuple[np.ndarray, ...]:
    wide_x, wide_w = widened(x, w)
    y = convolve(wide_x, wide_w, attrs["group"], window("Conv", attrs, x.shape[2:], w.shape[2:]))
    if bias is not None:
        y += bias.reshape(-1, *(1,) * (x.ndim - 2))
    return (y.astype(x.dtype, copy=False),)


def _flow(node: Node, attrs: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]], tie: Tie) -> None:
    """Output channels are the rows of the weight, input channels its columns; groups stay equally large.

    Depthwise: a channel goes with all of its (multiplier) outputs. Other groups: the same place in every group goes at once.
    """
    (x, w), y, groups = node.inputs[:2], node.outputs[0], attrs["group"]
    outputs, inner = shapes[w][:2]
    tie_same(tie, x, y, (0,))
    tie((w, 0), (y, 1))
    if len(node.inputs) > 2 and node.inputs[2]:
        tie((w, 0), (node.inputs[2], 0))
    if groups == 1:
        tie((x, 1), (w, 1))
    elif inner == 1:
        tie((x, 1), (w, 0), np.repeat(np.arange(groups), outputs // groups), np.arange(outputs))
    else:
        tie((w, 1), (x, 1), np.tile(np.arange(inner), groups), np.arange(inner * groups))
        each = outputs // groups
        tie((w, 0), (w, 0), np.tile(np.arange(each), groups), np.arange(outputs))


def _resize(attrs: Mapping[str, Any], shapes: Mapping[int, tuple[int, ...]]) -> dict[str, Any]:
    """A pruned depthwise Conv has as many groups as channels are left; other Convs keep theirs."""
    if attrs.get("group", 1) == 1:
        return dict(attrs)
    return {**attrs, "group": shapes[0][1] // shapes[1][1]}


def _macs(attrs: Mapping[str, Any], args: Sequence[Type | None], outputs: Sequence[Type]) -> int:
    weight = args[1]
    assert weight is not None
    return outputs[0].size * weight.size // max(weight.shape[0], 1)


def _case(name: str, x: tuple[int, ...], w: tuple[int, ...], bias: bool = True, bench: bool = False, **attrs: Any) -> Case:
    args = (Arg(x), Arg(w, weight=True), *((Arg(w[:1], weight=True),) if bias else ()))
    return Case(name, args, attrs, bench)


OP = Op("Conv", {**ATTRIBUTES, "group": 1}, (2, 3), _infer, _run, flow=_flow, macs=_macs, resize=_resize, cases=(
    _case("valid", (1, 3, 7, 9), (5, 3, 3, 3)),
    _case("no_bias", (2, 3, 8, 8), (4, 3, 3, 3), bias=False, pads=(1, 1, 1, 1)),
    _case("kernel_shape", (1, 2, 6, 6), (3, 2, 2, 3), kernel_shape=(2, 3)),
    _case("asymmetric_pads", (2, 3, 7, 5), (4, 3, 3, 2), pads=(0, 1, 2, 3)),
    _case("strides", (1, 3, 11, 13), (4, 3, 3, 5), strides=(2, 3), pads=(1, 2, 1, 2)),
    _case("dilations", (1, 3, 11, 13), (4, 3, 3, 2), dilations=(2, 3), pads=(2, 0, 1, 1)),
    _case("same_upper", (1, 3, 7, 8), (4, 3, 3, 4), auto_pad="SAME_UPPER", strides=(2, 2)),
    _case("same_lower", (1, 3, 7, 8), (4, 3, 3, 4), auto_pad="SAME_LOWER", strides=(2, 3)),
    _case("same_dilated", (1, 2, 9, 10), (3, 2, 3, 2), auto_pad="SAME_UPPER", dilations=(2, 3)),
    _case("auto_valid", (1, 3, 7, 8), (4, 3, 3, 4), auto_pad="VALID", strides=(1, 2)),
    _case("stride_past_kernel", (1, 3, 9, 9), (4, 3, 2, 2), strides=(4, 3)),
    _case("pointwise", (2, 17, 5, 7), (13, 17, 1, 1)),
    _case("pointwise_strided", (1, 8, 7, 7), (6, 8, 1, 1), strides=(2, 2)),
    _case("pointwise_padded", (1, 5, 4, 4), (6, 5, 1, 1), pads=(1, 0, 1, 2)),
    _case("groups", (2, 6, 7, 7), (9, 2, 3, 3), group=3, pads=(1, 1, 1, 1)),
    _case("groups_strided", (1, 8, 9, 9), (8, 4, 3, 3), group=2, strides=(2, 2)),
    _case("depthwise", (2, 7, 9, 8), (7, 1, 3, 3), group=7, pads=(1, 1, 1, 1)),
    _case("depthwise_strided", (1, 19, 9, 9), (19, 1, 5, 5), group=19, strides=(2, 2), pads=(2, 2, 2, 2)),
    _case("depthwise_dilated", (1, 5, 12, 11), (5, 1, 3, 3), group=5, dilations=(2, 3), pads=(1, 2, 3, 0)),
    _case("depthwise_same", (1, 6, 7, 7), (6, 1, 3, 3), group=6, auto_pad="SAME_UPPER", strides=(2, 2), bias=False),
    _case("depth_multiplier", (1, 5, 7, 7), (15, 1, 3, 3), group=5, pads=(1, 1, 1, 1)),
    _case("whole_image", (1, 3, 5, 5), (7, 3, 5, 5)),
    _case("line", (2, 3, 13), (4, 3, 5), pads=(2, 1), strides=(2,)),
    _case("line_depthwise", (1, 6, 11), (6, 1, 3), group=6, dilations=(2,)),
    _case("volume", (1, 2, 5, 6, 7), (3, 2, 2, 3, 3), pads=(0, 1, 1, 1, 0, 1), strides=(1, 2, 1)),
    _case("volume_groups", (1, 4, 4, 5, 4), (6, 2, 2, 2, 2), group=2),
    _case("stem", (1, 3, 224, 224), (32, 3, 3, 3), strides=(2, 2), pads=(1, 1, 1, 1), bench=True),
    _case("mobilenet_depthwise", (1, 96, 56, 56), (96, 1, 3, 3), group=96, pads=(1, 1, 1, 1), bench=True),
    _case("mobilenet_pointwise", (1, 96, 28, 28), (192, 96, 1, 1), bench=True),
    _case("resnet", (1, 64, 28, 28), (64, 64, 3, 3), pads=(1, 1, 1, 1), bench=True),
))
