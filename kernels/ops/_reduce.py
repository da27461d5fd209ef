"""Makes the reductions: over some axes (input 1), over all of them if none are given and noop_with_empty_axes is 0."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np

from ...formats.graph import Node
from ._cast import cast
from ._check import FLOATS, given, need, positive_axes, want_dtype, where
from ._dtype import widened
from ._flow import tie_pairs
from ._known import ints, known_ints, with_value
from ._op import Arg, Case, Op, Tie, Type

SUMS = (*FLOATS, "int32", "int64", "uint32", "uint64")
"""What most reductions take."""

EXTREMES = (*SUMS, "int8", "uint8", "bool")
"""What the largest and the smallest element are taken of."""

Compute = Callable[[np.ndarray, "tuple[int, ...]", bool], Any]
"""(data, the axes that go, whether they stay with the length 1) → the result."""


def reduction(name: str, compute: Compute, *, dtypes: Sequence[str] = SUMS, more_cases: tuple[Case, ...] = (),
              low: float = -1.0) -> Op:
    """The reduction ``compute`` in the dtype of its input; float16 is computed as float32, integers lose what a fraction is left.

    ``low``: the least element of the cases.
    """
    def infer(node: Node, attrs: Mapping[str, Any], args: Sequence[Type | None]) -> list[Type]:
        x, axes = need(node, args, 0, "data"), given(args, 1)
        want_dtype(node, x, dtypes)
        if axes is not None:
            want_dtype(node, axes, ("int64",), "axes")
            if axes.value is None:
                return []
        gone = _reduced(where(node), attrs, ints(axes), len(x.shape))
        return [with_value(Type(x.dtype, _shape(x.shape, gone, bool(attrs["keepdims"]))), args, lambda *values: run(attrs, *values))]

    def run(attrs: Mapping[str, Any], x: np.ndarray, axes: np.ndarray | None = None) -> tuple[np.ndarray, ...]:
        gone = _reduced(name, attrs, None if axes is None else axes.ravel().tolist(), x.ndim)
        return (cast(np.asarray(compute(widened(x)[0], gone, bool(attrs["keepdims"]))), x.dtype.name),)

    return Op(name, {"keepdims": 1, "noop_with_empty_axes": 0}, (1, 2), infer, run, (*_cases(dtypes, low), *more_cases), flow=_flow)


def unbounded(dtype: np.dtype[Any], high: bool) -> Any:
    """The greatest (or least) number of a dtype, infinite if it can be."""
    if dtype.kind == "f":
        return np.inf if high else -np.inf
    if dtype.kind == "b":
        return high
    return np.iinfo(dtype).max if high else np.iinfo(dtype).min


def _reduced(place: str, attrs: Mapping[str, Any], axes: Sequence[int] | None, rank: int) -> tuple[int, ...]:
    """The axes that go, in order."""
    if not axes:
        return () if attrs["noop_with_empty_axes"] else tuple(range(rank))
    return positive_axes(place, axes, rank)


def _shape(shape: Sequence[int], gone: Sequence[int], keepdims: bool) -> tuple[int, ...]:
    return tuple(1 if axis in gone else length for axis, length in enumerate(shape) if keepdims or axis not in gone)


def _flow(node: Node, attrs: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]], tie: Tie) -> None:
    """Axes that are kept pass through. Where the axes are not known, only what the two shapes leave no doubt about does."""
    x, y = node.inputs[0], node.outputs[0]
    axes = known_ints(shapes, node, 1)
    if axes is not None or len(node.inputs) < 2 or not node.inputs[1]:
        gone = _reduced(where(node), attrs, axes, len(shapes[x]))
        kept = [axis for axis in range(len(shapes[x])) if axis not in gone]
        tie_pairs(tie, x, y, ((axis, axis if attrs["keepdims"] else place) for place, axis in enumerate(kept)))
    elif attrs["keepdims"]:
        tie_pairs(tie, x, y, ((axis, axis) for axis, length in enumerate(shapes[x]) if length == shapes[y][axis] != 1))
    else:
        tie_pairs(tie, x, y, set.intersection(*map(set, _alignments(shapes[x], shapes[y]))))


def _alignments(shape: tuple[int, ...], result: tuple[int, ...]) -> Iterator[list[tuple[int, int]]]:
    """Every way to read ``result`` as the kept axes of ``shape``, as pairs of axes."""
    for kept in combinations(range(len(shape)), len(result)):
        if tuple(shape[axis] for axis in kept) == result:
            yield list(zip(kept, range(len(result))))


def case(name: str, x: Arg, axes: Sequence[int] | None = None, bench: bool = False, **attrs: Any) -> Case:
    """A case of a reduction; ``axes`` None leaves that input out."""
    extra = () if axes is None else (Arg((len(axes),), "int64", value=list(axes), constant=True),)
    return Case(name, (x, *extra), attrs, bench)


def _cases(dtypes: Sequence[str], low: float) -> tuple[Case, ...]:
    def floats(*shape: int) -> Arg:
        return Arg(shape, low=low, high=1)

    return (
        case("spatial", floats(2, 5, 7, 9), (2, 3)),
        case("spatial_flat", floats(2, 5, 7, 9), (-1, -2), keepdims=0),
        case("channels", floats(2, 5, 3), (1,)),
        case("first", floats(4, 3), (0,), keepdims=0),
        case("everything", floats(3, 4, 5)),
        case("everything_flat", floats(3, 4), keepdims=0),
        case("no_axes", floats(3, 4), (), keepdims=0),
        case("noop", floats(3, 4), (), noop_with_empty_axes=1),
        case("noop_flat", floats(3, 4), noop_with_empty_axes=1, keepdims=0),
        case("scalar", floats()),
        *(case(dtype, Arg((3, 4), dtype, 0 if dtype.startswith("u") else -9, 9), (1,)) for dtype in ("int32", "int64", "uint32", "int8")
          if dtype in dtypes),
    )


def nothing_case(name: str = "nothing") -> Case:
    """A case that reduces an axis of length 0."""
    return case(name, Arg((2, 0, 3)), (1,))


def mobilenet_case() -> Case:
    """A case for benchmarks: the end of a convolutional net."""
    return case("mobilenet", Arg((1, 1280, 7, 7)), (2, 3), keepdims=0, bench=True)
