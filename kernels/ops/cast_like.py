"""CastLike: the first input in the dtype of the second (``_cast.cast``)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...formats.graph import Node
from ._cast import cast
from ._check import need
from ._flow import same_everywhere
from ._known import with_value
from ._op import Arg, Case, Op, Type


def _infer(node: Node, attrs: Mapping[str, Any], args: Sequence[Type | None]) -> list[Type]:
    x, like = need(node, args, 0, "data"), need(node, args, 1, "target type")
    return [with_value(Type(like.dtype, x.shape), [x], lambda value: (cast(value, like.dtype),))]


def _run(attrs: Mapping[str, Any], x: np.ndarray, like: np.ndarray) -> tuple[np.ndarray, ...]:
    return (cast(x, like.dtype.name),)


# ``saturate`` and ``round_mode`` concern 8-bit floats alone, which do not exist here.
OP = Op("CastLike", {"saturate": 1, "round_mode": "up"}, (2, 2), _infer, _run, flow=same_everywhere, cases=(
    Case("to_int64", (Arg((3, 5), low=-9, high=9), Arg((1,), "int64"))),
    Case("to_bool", (Arg((5,), value=[0, -0.5, 2, 0.25, 0]), Arg((), "bool"))),
    Case("to_float16", (Arg((3, 5), "float64"), Arg((2, 2), "float16"))),
    Case("to_float64", (Arg((4,), "int8", -9, 9), Arg((), "float64"))),
))
