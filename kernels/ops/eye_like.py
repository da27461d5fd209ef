"""EyeLike: a matrix of the input's shape with ones on its diagonal k and zeros elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...formats.graph import DTYPES, Node
from ._cast import CODE_OF_DTYPE, dtype_of
from ._check import need, want_dtype, want_rank, where
from ._known import LIMIT
from ._op import Arg, Case, Op, Type


def _eye(attrs: Mapping[str, Any], shape: tuple[int, ...], dtype: str) -> np.ndarray:
    rows, columns = shape
    # A diagonal beyond the matrix is an empty one; NumPy refuses those that no machine word holds.
    return np.eye(rows, columns, min(max(attrs["k"], -rows), columns), dtype)


def _infer(node: Node, attrs: Mapping[str, Any], args: Sequence[Type | None]) -> list[Type]:
    x = need(node, args, 0, "data")
    want_dtype(node, x, DTYPES)
    want_rank(node, x, 2, most=2)
    dtype = x.dtype if attrs["dtype"] is None else dtype_of(where(node), attrs["dtype"])
    return [Type(dtype, x.shape, _eye(attrs, x.shape, dtype) if x.size <= LIMIT else None)]


def _run(attrs: Mapping[str, Any], x: np.ndarray) -> tuple[np.ndarray, ...]:
    return (_eye(attrs, x.shape, x.dtype.name if attrs["dtype"] is None else dtype_of("EyeLike", attrs["dtype"])),)


OP = Op("EyeLike", {"dtype": None, "k": 0}, (1, 1), _infer, _run, (
    Case("square", (Arg((4, 4), "int32", 0, 9),)),
    Case("dtype", (Arg((3, 4)),), {"dtype": CODE_OF_DTYPE["float64"]}),
    Case("upper", (Arg((4, 5), "int64", 0, 9),), {"k": 1, "dtype": CODE_OF_DTYPE["float32"]}),
    Case("lower", (Arg((5, 3), "bool"),), {"k": -2}),
    Case("beyond", (Arg((2, 3), "uint8", 0, 9),), {"k": 7}),
))
