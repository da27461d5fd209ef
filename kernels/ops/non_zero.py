"""NonZero: the indices of all elements that are not zero, int64 [rank, count], in row-major order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...formats.graph import Node
from ._check import need
from ._known import only_values
from ._op import Arg, Case, Op, Type


def _infer(node: Node, attrs: Mapping[str, Any], args: Sequence[Type | None]) -> list[Type]:
    need(node, args, 0, "data")
    return only_values(args, lambda value: _run(attrs, value))


def _run(attrs: Mapping[str, Any], x: np.ndarray) -> tuple[np.ndarray, ...]:
    """A scalar has no axes: its index has no numbers, so that the shape is (0, 1) or (0, 0)."""
    return (np.argwhere(x).T.astype(np.int64),)


OP = Op("NonZero", {}, (1, 1), _infer, _run, cases=(
    Case("matrix", (Arg((3, 4), "int64", -1, 1),)),
    Case("mask", (Arg((2, 3, 2), "bool"),)),
    Case("floats", (Arg((4,), value=[0, -0.5, 0, 2]),)),
    Case("zeros", (Arg((2, 2), "int64", 0, 0),)),
))
