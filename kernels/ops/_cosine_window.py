"""Makes the windows that are sums of cosines: ``Σ (-1)ᵏ aₖ cos(2π k n / N)``, with N the size, or one less if symmetric."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...formats.graph import Node
from ._cast import CODE_OF_DTYPE, cast, dtype_of
from ._check import INDICES, NUMBERS, need, text, want_choice, want_dtype, where
from ._known import LIMIT
from ._op import Arg, Case, Op, OpError, Type


def cosine_window(name: str, coefficients: Sequence[float]) -> Op:
    """The operator that gives a window of as many elements as its input says, computed in float64."""
    def window(attrs: Mapping[str, Any], count: int) -> np.ndarray:
        period = count if attrs["periodic"] else count - 1
        phase = 2 * np.pi * np.arange(count) / max(period, 1)
        found = sum((-1) ** k * a * np.cos(k * phase) for k, a in enumerate(coefficients))
        return cast(np.asarray(found if period else np.ones(count)), dtype_of(name, attrs["output_datatype"]))

    def infer(node: Node, attrs: Mapping[str, Any], args: Sequence[Type | None]) -> list[Type]:
        size = need(node, args, 0, "size")
        want_dtype(node, size, INDICES, "size")
        want_choice(node, attrs, "periodic", (0, 1))
        dtype = dtype_of(where(node), attrs["output_datatype"])
        if dtype not in NUMBERS:
            raise OpError(f"{where(node)} is asked for {dtype}; it gives {', '.join(NUMBERS)}")
        if size.size != 1:
            raise OpError(f"{where(node)} has a size of the shape {text(size.shape)}; it takes a scalar")
        if size.value is None:
            return []
        count = _length(where(node), size.value)
        return [Type(dtype, (count,), window(attrs, count) if count <= LIMIT else None)]

    def run(attrs: Mapping[str, Any], size: np.ndarray) -> tuple[np.ndarray, ...]:
        return (window(attrs, _length(name, size)),)

    return Op(name, {"output_datatype": CODE_OF_DTYPE["float32"], "periodic": 1}, (1, 1), infer, run, _cases())


def _length(place: str, size: np.ndarray) -> int:
    count = int(size.item())
    if count < 0:
        raise OpError(f"{place} is asked for a window of {count} elements")
    return count


def _cases() -> tuple[Case, ...]:
    def size(count: int, dtype: str = "int64") -> Arg:
        return Arg((), dtype, value=count, constant=True)

    double = CODE_OF_DTYPE["float64"]
    return (Case("periodic", (size(10),), {"output_datatype": double}),
            Case("symmetric", (size(11, "int32"),), {"periodic": 0, "output_datatype": double}),
            Case("float32", (size(7),)),
            Case("one", (size(1),), {"output_datatype": double}))
