"""SpaceToDepth: [N, C, H·b, W·b] → [N, C·b², H, W], blocks of b × b pixels laid out as channels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...formats.graph import Node
from ._blocks import checked, deep_channels
from ._check import text, where
from ._known import with_value
from ._op import REQUIRED, Arg, Case, Op, OpError, Tie, Type


def _infer(node: Node, attrs: Mapping[str, Any], args: Sequence[Type | None]) -> list[Type]:
    x = checked(node, attrs, args)
    b = attrs["blocksize"]
    n, c, h, w = x.shape
    if h % b or w % b:
        raise OpError(f"{where(node)} has images of {text((h, w))}, which blocks of {b}x{b} do not divide")
    return [with_value(Type(x.dtype, (n, c * b ** 2, h // b, w // b)), [x], lambda value: _run(attrs, value))]


def _run(attrs: Mapping[str, Any], x: np.ndarray) -> tuple[np.ndarray, ...]:
    b = attrs["blocksize"]
    n, c, h, w = x.shape
    blocks = x.reshape(n, c, h // b, b, w // b, b).transpose(0, 1, 3, 5, 2, 4).reshape(n, c * b ** 2, h // b, w // b)
    return (blocks[:, np.argsort(deep_channels(attrs, c).ravel())],)


def _flow(node: Node, attrs: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]], tie: Tie) -> None:
    """A channel goes with the b² channels that its pixels become."""
    x, y = node.inputs[0], node.outputs[0]
    deep = deep_channels(attrs, shapes[x][1])
    tie((x, 0), (y, 0))
    tie((x, 1), (y, 1), np.repeat(np.arange(deep.shape[0]), deep.shape[1]), deep.ravel())


OP = Op("SpaceToDepth", {"blocksize": REQUIRED, "mode": "DCR"}, (1, 1), _infer, _run, flow=_flow, cases=(
    Case("dcr", (Arg((2, 3, 4, 6)),), {"blocksize": 2}),
    Case("crd", (Arg((1, 2, 6, 3)),), {"blocksize": 3, "mode": "CRD"}),
    Case("ones", (Arg((1, 3, 2, 2)),), {"blocksize": 1}),
    Case("uint8", (Arg((1, 2, 2, 4), "uint8", 0, 99),), {"blocksize": 2}),
))
