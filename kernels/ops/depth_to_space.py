"""DepthToSpace: [N, C·b², H, W] → [N, C, H·b, W·b], channels laid out as blocks of b × b pixels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...formats.graph import Node
from ._blocks import checked, deep_channels
from ._check import where
from ._known import with_value
from ._op import REQUIRED, Arg, Case, Op, OpError, Tie, Type


def _infer(node: Node, attrs: Mapping[str, Any], args: Sequence[Type | None]) -> list[Type]:
    x = checked(node, attrs, args)
    b = attrs["blocksize"]
    n, c, h, w = x.shape
    if c % b ** 2:
        raise OpError(f"{where(node)} has {c} channels, which blocks of {b}x{b} do not divide")
    return [with_value(Type(x.dtype, (n, c // b ** 2, h * b, w * b)), [x], lambda value: _run(attrs, value))]


def _run(attrs: Mapping[str, Any], x: np.ndarray) -> tuple[np.ndarray, ...]:
    b = attrs["blocksize"]
    n, c, h, w = x.shape
    blocks = x[:, deep_channels(attrs, c // b ** 2)].reshape(n, c // b ** 2, b, b, h, w)
    return (blocks.transpose(0, 1, 4, 2, 5, 3).reshape(n, c // b ** 2, h * b, w * b),)


def _flow(node: Node, attrs: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]], tie: Tie) -> None:
    """A channel goes with the b² channels that its pixels come from."""
    x, y = node.inputs[0], node.outputs[0]
    deep = deep_channels(attrs, shapes[y][1])
    tie((x, 0), (y, 0))
    tie((x, 1), (y, 1), deep.ravel(), np.repeat(np.arange(deep.shape[0]), deep.shape[1]))


OP = Op("DepthToSpace", {"blocksize": REQUIRED, "mode": "DCR"}, (1, 1), _infer, _run, flow=_flow, cases=(
    Case("dcr", (Arg((2, 12, 2, 3)),), {"blocksize": 2}),
    Case("crd", (Arg((1, 18, 2, 2)),), {"blocksize": 3, "mode": "CRD"}),
    Case("ones", (Arg((1, 3, 2, 2)),), {"blocksize": 1}),
    Case("int8", (Arg((1, 4, 2, 2), "int8", -9, 9),), {"blocksize": 2, "mode": "CRD"}),
))
