"""PRelu: x, times slope where it is negative; slope broadcasts to the shape of x."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...formats.graph import Node
from ._check import text, where
from ._elementwise import binary
from ._op import Arg, Case, OpError, Type


def _check(node: Node, attrs: Mapping[str, Any], kinds: Sequence[Type]) -> None:
    x, slope = (kind.shape for kind in kinds)
    stretched = len(slope) <= len(x) and all(length in (1, whole) for length, whole in zip(slope[::-1], x[::-1]))
    if not stretched:
        raise OpError(f"{where(node)} has a slope of the shape {text(slope)}, which does not broadcast to {text(x)}")


DTYPES = ("float32", "float16", "float64", "int32", "int64", "uint32", "uint64")

OP = binary("PRelu", lambda x, slope: np.where(x < 0, slope * x, x), dtypes=DTYPES, check=_check, cases=(
    Case("channels", (Arg((2, 5, 3, 4), low=-4, high=4), Arg((5, 1, 1), weight=True))),
    Case("shared", (Arg((2, 5, 3), low=-4, high=4), Arg((1,), weight=True))),
    Case("scalar", (Arg((2, 5), low=-4, high=4), Arg((), weight=True))),
    Case("full", (Arg((3, 5), low=-4, high=4), Arg((3, 5)))),
    Case("int32", (Arg((3, 5), "int32", -9, 9), Arg((5,), "int32", -9, 9))),
    Case("face", (Arg((1, 64, 28, 28), low=-4, high=4), Arg((64, 1, 1), weight=True)), bench=True),
))
