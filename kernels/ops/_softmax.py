"""Makes the operators that weigh the elements along one axis against each other."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ...formats.graph import Node
from ._check import FLOATS, need, positive_axis, want_dtype, want_rank, where
from ._dtype import widened
from ._flow import tie_same
from ._op import Arg, Case, Op, Tie, Type


def along_axis(name: str, compute: Callable[[np.ndarray, int], np.ndarray], wide: bool = True) -> Op:
    """The operator ``compute(x, axis)`` of x's shape and dtype; float16 is computed as float32, unless ``wide`` is off."""
    def infer(node: Node, attrs: Mapping[str, Any], args: Sequence[Type | None]) -> list[Type]:
        x = need(node, args, 0, "data")
        want_dtype(node, x, FLOATS)
        want_rank(node, x, 1)
        positive_axis(where(node), attrs["axis"], len(x.shape))
        return [Type(x.dtype, x.shape)]

    def run(attrs: Mapping[str, Any], x: np.ndarray) -> tuple[np.ndarray, ...]:
        return (compute(widened(x)[0] if wide else x, attrs["axis"]).astype(x.dtype, copy=False),)

    return Op(name, {"axis": -1}, (1, 1), infer, run, _cases(), flow=_flow)


def softmax(x: np.ndarray, axis: int) -> np.ndarray:
    """``exp(x) / Σ exp(x)`` along one axis. In float16 every step rounds, as onnx's suite has it; sums are taken in float32."""
    y = np.exp(x - x.max(axis=axis, keepdims=True, initial=-np.inf))
    y /= y.sum(axis=axis, keepdims=True, dtype=np.result_type(x, np.float32)).astype(x.dtype, copy=False)
    return y


def log_softmax(x: np.ndarray, axis: int) -> np.ndarray:
    """``x - log Σ exp(x)`` along one axis."""
    shifted = x - x.max(axis=axis, keepdims=True, initial=-np.inf)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=axis, keepdims=True)))


def _flow(node: Node, attrs: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]], tie: Tie) -> None:
    """Along the axis every element counts, even one that is zero; the other axes pass through."""
    rank = len(shapes[node.inputs[0]])
    axis = positive_axis(where(node), attrs["axis"], rank)
    tie_same(tie, node.inputs[0], node.outputs[0], (other for other in range(rank) if other != axis))


def _cases() -> tuple[Case, ...]:
    def case(name: str, x: tuple[int, ...], low: float = -4, high: float = 4, bench: bool = False, **attrs: Any) -> Case:
        return Case(name, (Arg(x, low=low, high=high),), attrs, bench)

    return (case("classes", (3, 17)),
            case("channels", (2, 5, 3, 7), axis=1),
            case("first", (4, 3), axis=0),
            case("negative", (2, 5, 3, 7), axis=-2),
            case("vector", (33,)),
            case("one", (5, 1)),
            case("large", (2, 9), low=900, high=1000),
            case("small", (2, 9), low=-1000, high=-900),
            case("imagenet", (1, 1000), bench=True),
            case("attention", (8, 64, 64), bench=True))
