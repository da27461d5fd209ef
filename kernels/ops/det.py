"""Det: the determinants of the matrices in the last two axes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...formats.graph import Node
from ._check import FLOATS, need, text, want_dtype, want_rank, where
from ._dtype import widened
from ._flow import tie_same
from ._op import Arg, Case, Op, OpError, Tie, Type


def _infer(node: Node, attrs: Mapping[str, Any], args: Sequence[Type | None]) -> list[Type]:
    x = need(node, args, 0, "matrix")
    want_dtype(node, x, FLOATS)
    want_rank(node, x, 2)
    if x.shape[-1] != x.shape[-2]:
        raise OpError(f"{where(node)} has matrices of the shape {text(x.shape[-2:])}; they must be square")
    return [Type(x.dtype, x.shape[:-2])]


def _run(attrs: Mapping[str, Any], x: np.ndarray) -> tuple[np.ndarray, ...]:
    return (np.asarray(np.linalg.det(widened(x)[0])).astype(x.dtype, copy=False),)


def _flow(node: Node, attrs: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]], tie: Tie) -> None:
    tie_same(tie, node.inputs[0], node.outputs[0], range(len(shapes[node.inputs[0]]) - 2))


OP = Op("Det", {}, (1, 1), _infer, _run, flow=_flow, cases=(
    Case("matrix", (Arg((3, 3)),)),
    Case("batch", (Arg((2, 5, 4, 4)),)),
    Case("singular", (Arg((2, 2), value=[[1, 2], [2, 4]]),)),
    Case("one", (Arg((3, 1, 1)),)),
))
