"""Size: how many elements the input has, as an int64 scalar."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...formats.graph import Node
from ._check import need
from ._op import Arg, Case, Op, Type


def _infer(node: Node, attrs: Mapping[str, Any], args: Sequence[Type | None]) -> list[Type]:
    return [Type.of(np.array(need(node, args, 0, "data").size, np.int64))]


def _run(attrs: Mapping[str, Any], x: np.ndarray) -> tuple[np.ndarray, ...]:
    return (np.array(x.size, np.int64),)


OP = Op("Size", {}, (1, 1), _infer, _run, cases=(
    Case("image", (Arg((2, 3, 5)),)),
    Case("scalar", (Arg(()),)),
    Case("empty", (Arg((0, 3), "int8"),)),
))
