"""SwiGLU: ``a / (1 + exp(-alpha · a)) · b`` (Shazeer 2020, GLU Variants Improve Transformer)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ...formats.graph import Node
from ._check import FLOATS, text, where
from ._elementwise import binary
from ._maths import swish
from ._op import Arg, Case, OpError, Type


def _check(node: Node, attrs: Mapping[str, Any], kinds: Sequence[Type]) -> None:
    a, b = (kind.shape for kind in kinds)
    if a != b:
        raise OpError(f"{where(node)} has a gate of the shape {text(a)} for values of the shape {text(b)}; they must be equal")


OP = binary("SwiGLU", lambda a, b, alpha: swish(a, alpha) * b, attributes={"alpha": 1.0}, dtypes=FLOATS, check=_check, cases=(
    Case("tokens", (Arg((2, 5, 9), low=-8, high=8), Arg((2, 5, 9)))),
    Case("vector", (Arg((7,), low=-60, high=60), Arg((7,))), {"alpha": 2.0}),
))
