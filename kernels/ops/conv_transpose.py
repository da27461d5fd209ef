"""ConvTranspose: every input element adds the kernel, scaled by it, to the output; the gradient of Conv, with the same attributes.

``x`` [N, C, …], ``w`` [C, M / group, …kernel], optional bias [M] → [N, M, …].

SAME_UPPER and SAME_LOWER make the lengths input · stride, but nothing past what the kernel touches: onnx's shape inference and
onnxruntime have it so where a kernel is shorter than its stride, for which the specification would need negative padding.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

import numpy as np

from ...formats.graph import Node
from ._check import FLOATS, given, need, text, want_dtype, want_rank, want_same_dtype, where
from ._dtype import widened
from ._flow import tie_same
from ._op import Arg, Case, Op, OpError, Tie, Type
from ._window import ATTRIBUTES, Window, per_axis, window


def geometry(place: str, attrs: Mapping[str, Any], spatial: Sequence[int], kernel: Sequence[int]) -> tuple[Window, tuple[int, ...]]:
    """The window whose positions are the input's elements, over the output; and the output's lengths. Raises OpError.

    The window's ``end`` may be negative where the output reaches past everything that the kernel touches.
    """
    rank = len(spatial)
    strides, dilations = per_axis(place, attrs, "strides", rank, 1), per_axis(place, attrs, "dilations", rank, 1)
    extra = tuple(attrs["output_padding"] or (0,) * rank)
    if len(kernel) != rank or any(k < 1 for k in kernel):
        raise OpError(f"{place} has the kernel shape {text(kernel)}; its input has {rank} spatial axes, each needs a length of 1 or more")
    if len(extra) != rank or any(e < 0 for e in extra):
        raise OpError(f"{place} has output_padding {extra}; it takes {rank} numbers of 0 or more")
    full = tuple(s * (n - 1) + e + (k - 1) * d + 1 for s, n, e, k, d in zip(strides, spatial, extra, kernel, dilations))
    out = _wanted(place, attrs, [min(n * s, f) for n, s, f in zip(spatial, strides, full)])
    if out is None:
        checked = window(place, {**attrs, "ceil_mode": 0}, full, kernel) if attrs["auto_pad"] == "NOTSET" else None
        begin, end = (checked.begin, checked.end) if checked else ((0,) * rank, (0,) * rank)
        out = tuple(f - b - e for f, b, e in zip(full, begin, end))
    else:
        total = [max(f - o, 0) for f, o in zip(full, out)]
        begin = tuple(t // 2 if attrs["auto_pad"] == "SAME_UPPER" else t - t // 2 for t in total)
        end = tuple(f - o - b for f, o, b in zip(full, out, begin))
    if any(length < 1 for length in out):
        raise OpError(f"{place} has an output of the lengths {text(out)}; its padding leaves nothing")
    return Window(tuple(kernel), strides, dilations, begin, end, tuple(spatial), (0,) * rank), out


def _wanted(place: str, attrs: Mapping[str, Any], same: Sequence[int]) -> tuple[int, ...] | None:
    """The output's lengths where attributes say them: output_shape (spatial, or with batch and channels), or SAME_UPPER and SAME_LOWER."""
    rank, shape = len(same), attrs["output_shape"]
    if shape is not None:
        if len(shape) not in (rank, rank + 2) or any(length < 1 for length in shape[-rank:]):
            raise OpError(f"{place} has output_shape {tuple(shape)}; it takes {rank} numbers of 1 or more")
        return tuple(shape[-rank:])
    return tuple(same) if attrs["auto_pad"] in ("SAME_UPPER", "SAME_LOWER") else None


def _infer(node: Node, attrs: Mapping[str, Any], args: Sequence[Type | None]) -> list[Type]:
    x, w, bias = need(node, args, 0, "data"), need(node, args, 1, "weight"), given(args, 2)
    want_dtype(node, x, FLOATS)
    want_same_dtype(node, args)
    want_rank(node, x, 3)
    want_rank(node, w, len(x.shape), "weight", len(x.shape))
    groups = attrs["group"]
    if groups < 1 or x.shape[1] != w.shape[0] or w.shape[0] % groups:
        raise OpError(f"{where(node)} has {x.shape[1]} input channels in {groups} groups, and a weight of the shape {text(w.shape)}; "
                      f"its first length is that of the channels, which the groups divide")
    if attrs["kernel_shape"] is not None and tuple(attrs["kernel_shape"]) != w.shape[2:]:
        raise OpError(f"{where(node)} has kernel_shape {text(attrs['kernel_shape'])}, but a weight of the shape {text(w.shape)}")
    if bias is not None and bias.shape != (w.shape[1] * groups,):
        raise OpError(f"{where(node)} has a bias of the shape {text(bias.shape)}; it takes {w.shape[1] * groups} numbers")
    return [Type(x.dtype, (x.shape[0], w.shape[1] * groups, *geometry(where(node), attrs, x.shape[2:], w.shape[2:])[1]))]


def _run(attrs: Mapping[str, Any], x: np.ndarray, w: np.ndarray, bias: np.ndarray | None = None) -> tuple[np.ndarray, ...]:
    """One matrix product per group makes what every tap adds; the taps are then added up where they fall."""
    found, out = geometry("ConvTranspose", attrs, x.shape[2:], w.shape[2:])
    wide, weight = widened(x, w)
    batch, groups, each, taps, inner = len(x), attrs["group"], w.shape[1], prod(found.kernel), w.shape[0] // attrs["group"]
    rows = weight.reshape(groups, inner, each * taps).swapaxes(1, 2)
    columns = np.matmul(rows, wide.reshape(batch, groups, inner, prod(found.out))).reshape(batch, groups * each, taps, *found.out)
    full = tuple(b + length + max(e, 0) for b, length, e in zip(found.begin, out, found.end))
    padded = np.zeros((batch, groups * each, *full), wide.dtype)
    for place, (_, covered) in enumerate(found.taps(padded)):
        covered += columns[:, :, place]
    inside: tuple[Any, ...] = tuple(slice(b, b + length) for b, length in zip(found.begin, out))
    y: np.ndarray = padded[(..., *inside)]
    if bias is not None:
        y = y + widened(bias)[0].reshape(-1, *(1,) * (x.ndim - 2))
    return (np.ascontiguousarray(y.astype(x.dtype, copy=False)),)


def _flow(node: Node, attrs: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]], tie: Tie) -> None:
    """Input channels are the rows of the weight, output channels its columns; with groups both stay."""
    (x, w), y = node.inputs[:2], node.outputs[0]
    tie_same(tie, x, y, (0,))
    if attrs["group"] == 1:
        tie((x, 1), (w, 0))
        tie((w, 1), (y, 1))
        if len(node.inputs) > 2 and node.inputs[2]:
            tie((w, 1), (node.inputs[2], 0))


def _macs(attrs: Mapping[str, Any], args: Sequence[Type | None], outputs: Sequence[Type]) -> int:
    x, weight = args[:2]
    assert x is not None
    assert weight is not None
    return x.size * weight.size // max(weight.shape[0], 1)


def _case(name: str, x: tuple[int, ...], w: tuple[int, ...], bias: bool = True, bench: bool = False, **attrs: Any) -> Case:
    args = (Arg(x), Arg(w, weight=True), *((Arg((w[1] * attrs.get("group", 1),), weight=True),) if bias else ()))
    return Case(name, args, attrs, bench)


OP = Op("ConvTranspose", {**ATTRIBUTES, "group": 1, "output_padding": None, "output_shape": None}, (2, 3), _infer, _run, flow=_flow,
        macs=_macs, cases=(
    _case("plain", (2, 3, 5, 4), (3, 4, 3, 3)),
    _case("no_bias", (1, 3, 5, 4), (3, 4, 3, 2), bias=False),
    _case("doubled", (1, 5, 4, 6), (5, 3, 2, 2), strides=(2, 2)),
    _case("pads", (1, 3, 5, 4), (3, 4, 3, 3), strides=(2, 3), pads=(1, 0, 2, 1)),
    _case("output_padding", (1, 3, 5, 4), (3, 4, 3, 3), strides=(2, 3), pads=(1, 1, 1, 1), output_padding=(1, 2)),
    _case("dilations", (1, 2, 5, 4), (2, 3, 3, 2), dilations=(2, 3), strides=(1, 2)),
    _case("output_shape", (1, 2, 5, 4), (2, 3, 3, 3), strides=(3, 2), output_shape=(16, 8)),
    _case("same_upper", (1, 2, 5, 4), (2, 3, 4, 3), strides=(2, 1), auto_pad="SAME_UPPER"),
    _case("same_lower", (1, 2, 5, 4), (2, 3, 4, 3), strides=(2, 1), auto_pad="SAME_LOWER"),
    _case("auto_valid", (1, 2, 5, 4), (2, 3, 3, 3), auto_pad="VALID", strides=(2, 2)),
    _case("groups", (2, 6, 4, 5), (6, 2, 3, 3), group=3, strides=(2, 2), pads=(1, 1, 1, 1)),
    _case("depthwise", (1, 5, 4, 4), (5, 1, 4, 4), group=5, strides=(2, 2), pads=(1, 1, 1, 1)),
    _case("kernel_shape", (1, 2, 3, 3), (2, 3, 2, 3), kernel_shape=(2, 3)),
    _case("line", (2, 3, 7), (3, 4, 4), strides=(2,), pads=(1, 1)),
    _case("volume", (1, 2, 3, 4, 3), (2, 3, 2, 3, 2), strides=(2, 1, 2), pads=(0, 1, 0, 1, 1, 0)),
    _case("decoder", (1, 64, 28, 28), (64, 32, 2, 2), strides=(2, 2), bench=True),
))
