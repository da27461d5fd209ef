"""DeformConv: a convolution whose every tap reads between the pixels, moved by ``offset`` and weighted by ``mask``.

``x`` [N, C, …], ``w`` [M, C / group, …kernel], ``offset`` [N, offset groups × taps × r, …], bias [M], ``mask`` [N, offset groups ×
taps, …] → [N, M, …]. (Dai et al. 2017; Zhu et al. 2018.)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

import numpy as np

from ...formats.graph import Node
from ._check import FLOATS, given, need, text, want_dtype, want_rank, want_same_dtype, where
from ._dtype import widened
from ._interpolation import sampled, taps, triangle
from ._op import Arg, Case, Op, OpError, Tie, Type
from ._window import Window, window


def _window(place: str, attrs: Mapping[str, Any], x: Sequence[int], w: Sequence[int]) -> Window:
    return window(place, {**attrs, "auto_pad": "NOTSET"}, x[2:], w[2:])


def _infer(node: Node, attrs: Mapping[str, Any], args: Sequence[Type | None]) -> list[Type]:
    x, w, offset = need(node, args, 0, "data"), need(node, args, 1, "weight"), need(node, args, 2, "offset")
    bias, mask, place = given(args, 3), given(args, 4), where(node)
    want_dtype(node, x, FLOATS)
    want_same_dtype(node, args)
    want_rank(node, x, 3)
    want_rank(node, w, len(x.shape), "weight", len(x.shape))
    groups, moved = attrs["group"], attrs["offset_group"]
    if groups < 1 or moved < 1 or x.shape[1] != w.shape[1] * groups or w.shape[0] % groups or x.shape[1] % moved:
        raise OpError(f"{place} has {x.shape[1]} input channels and a weight of the shape {text(w.shape)}, "
                      f"which do not fit group {groups} and offset_group {moved}")
    if attrs["kernel_shape"] is not None and tuple(attrs["kernel_shape"]) != w.shape[2:]:
        raise OpError(f"{place} has kernel_shape {text(attrs['kernel_shape'])}, but a weight of the shape {text(w.shape)}")
    out = _window(place, attrs, x.shape, w.shape).out
    count = moved * prod(w.shape[2:])
    for kind, what, wanted in ((offset, "offset", (x.shape[0], count * len(out), *out)), (bias, "bias", w.shape[:1]),
                               (mask, "mask", (x.shape[0], count, *out))):
        if kind is not None and kind.shape != wanted:
            raise OpError(f"{place} has {'an' if what == 'offset' else 'a'} {what} of the shape {text(kind.shape)}; it takes {text(wanted)}")
    return [Type(x.dtype, (x.shape[0], w.shape[0], *out))]


def _run(attrs: Mapping[str, Any], x: np.ndarray, w: np.ndarray, offset: np.ndarray, bias: np.ndarray | None = None,
         mask: np.ndarray | None = None) -> tuple[np.ndarray, ...]:
    wide, weight, moves = widened(x, w, offset)
    found = _window("DeformConv", attrs, x.shape, w.shape)
    groups, moved, kernel, places = attrs["group"], attrs["offset_group"], prod(w.shape[2:]), prod(found.out)
    moves = moves.reshape(len(x), moved, kernel, len(found.out), places)
    shares = np.ones((len(x), moved, kernel, 1), wide.dtype) if mask is None else mask.reshape(len(x), moved, kernel, places)
    rows = weight.reshape(groups, len(w) // groups, -1)
    y = np.zeros((len(x), len(w), *found.out), wide.dtype)
    for n, image in enumerate(wide):
        parts = [_columns(part, found, move) * share for part, move, share in zip(np.split(image, moved), moves[n], shares[n])]
        columns = np.concatenate(parts).reshape(groups, -1, places)
        y[n] = (rows @ columns).reshape(len(w), *found.out)
    if bias is not None:
        y += bias.reshape(-1, *(1,) * len(found.out))
    return (y.astype(x.dtype, copy=False),)


def _columns(image: np.ndarray, found: Window, moves: np.ndarray) -> np.ndarray:
    """What the taps read: [channels, taps, places], of an image [channels, …] and moves [taps, axes, places]. Outside is 0."""
    corners = np.stack(np.meshgrid(*(np.arange(n) * s - b for n, s, b in zip(found.out, found.strides, found.begin)), indexing="ij"))
    corners = corners.reshape(len(found.out), -1)
    columns = []
    for tap, move in zip(np.ndindex(*found.kernel), moves):
        at = corners + np.multiply(tap, found.dilations)[:, None] + move
        columns.append(sampled(image, *zip(*(taps(along, triangle, 1) for along in at))))
    return np.stack(columns, 1)


def _flow(node: Node, attrs: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]], tie: Tie) -> None:
    """Without groups output channels are the rows of the weight, input channels its columns."""
    x, w, y = *node.inputs[:2], node.outputs[0]
    if attrs["group"] == 1:
        tie((w, 0), (y, 1))
        if len(node.inputs) > 3 and node.inputs[3]:
            tie((w, 0), (node.inputs[3], 0))
        if attrs["offset_group"] == 1:
            tie((x, 1), (w, 1))


def _macs(attrs: Mapping[str, Any], args: Sequence[Type | None], outputs: Sequence[Type]) -> int:
    weight = args[1]
    assert weight is not None
    return outputs[0].size * weight.size // max(weight.shape[0], 1)


def _case(name: str, x: tuple[int, ...], w: tuple[int, ...], out: tuple[int, ...], bias: bool = False, mask: bool = False,
          offset_group: int = 1, **attrs: Any) -> Case:
    count = offset_group * prod(w[2:])
    args = [Arg(x), Arg(w, weight=True), Arg((x[0], count * len(out), *out), low=-1.5, high=1.5)]
    if bias or mask:
        args.append(Arg(w[:1], weight=True) if bias else Arg(absent=True))
    if mask:
        args.append(Arg((x[0], count, *out), low=0, high=1))
    return Case(name, tuple(args), {**attrs, **({"offset_group": offset_group} if offset_group > 1 else {})})


ATTRIBUTES = {"dilations": None, "group": 1, "kernel_shape": None, "offset_group": 1, "pads": None, "strides": None}

OP = Op("DeformConv", ATTRIBUTES, (3, 5), _infer, _run, flow=_flow, macs=_macs, cases=(
    _case("plain", (1, 2, 4, 5), (3, 2, 2, 2), (3, 4)),
    _case("padded", (2, 2, 4, 4), (2, 2, 3, 3), (4, 4), bias=True, pads=(1, 1, 1, 1)),
    _case("masked", (1, 2, 5, 5), (2, 2, 3, 2), (2, 4), mask=True, bias=True, strides=(2, 1), kernel_shape=(3, 2)),
    _case("groups", (1, 4, 5, 5), (4, 2, 2, 2), (3, 3), mask=True, group=2, offset_group=2, dilations=(2, 2)),
    _case("line", (1, 2, 6), (3, 2, 3), (4,)),
    _case("volume", (1, 1, 3, 3, 3), (2, 1, 2, 2, 2), (2, 2, 2), mask=True),
))
