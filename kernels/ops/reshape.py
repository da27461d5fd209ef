"""Reshape: the same elements in row-major order under another shape; -1 is what is left, 0 the input's own length (unless allowzero)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

import numpy as np

from ...formats.graph import Node
from ._check import INDICES, need, text, want_dtype, want_rank, where
from ._known import ints, with_value
from ._op import Arg, Case, Gone, Op, OpError, Tie, Type
from ._reshape import tie_reshaped


def _target(place: str, attrs: Mapping[str, Any], shape: tuple[int, ...], wanted: Sequence[int]) -> tuple[int, ...]:
    """``wanted`` with 0 and -1 resolved. Raises OpError where it does not fit ``shape``."""
    def wrong(reason: str) -> OpError:
        return OpError(f"{place} reshapes {text(shape)} to {tuple(wanted)}, {reason}")

    keep = not attrs["allowzero"]
    if list(wanted).count(-1) > 1 or any(length < -1 for length in wanted):
        raise wrong("which may hold one -1 and else nothing below 0")
    if keep and any(length == 0 and axis >= len(shape) for axis, length in enumerate(wanted)):
        raise wrong("whose 0 stands where the input has no axis")
    if not keep and 0 in wanted and -1 in wanted:
        raise wrong("which with allowzero may not hold both 0 and -1")
    found = [shape[axis] if length == 0 and keep else length for axis, length in enumerate(wanted)]
    size, rest = prod(shape), prod(length for length in found if length != -1)
    if -1 in found:
        if size == rest == 0:  # an empty batch that a 0 keeps: what is left is the same as of any other batch
            kept = {axis for axis, length in enumerate(wanted) if length == 0}
            size = prod(length for axis, length in enumerate(shape) if axis not in kept)
            rest = prod(length for length in wanted if length > 0)
        if rest == 0 or size % rest:
            raise wrong(f"but {size} elements do not divide by {rest}")
        found[found.index(-1)] = size // rest
    elif rest != size:
        raise wrong(f"which holds {rest} elements instead of {size}")
    return tuple(found)


def _infer(node: Node, attrs: Mapping[str, Any], args: Sequence[Type | None]) -> list[Type]:
    x, shape = need(node, args, 0, "data"), need(node, args, 1, "shape")
    want_dtype(node, shape, INDICES, "shape")
    want_rank(node, shape, 1, "shape's", 1)
    wanted = ints(shape)
    if wanted is None:
        return []
    kind = Type(x.dtype, _target(where(node), attrs, x.shape, wanted))
    return [with_value(kind, args, lambda *values: _run(attrs, *values))]


def _run(attrs: Mapping[str, Any], x: np.ndarray, shape: np.ndarray) -> tuple[np.ndarray, ...]:
    return (x.reshape(_target("Reshape", attrs, x.shape, [int(length) for length in shape])),)


def _flow(node: Node, attrs: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]], tie: Tie) -> None:
    x, y = node.inputs[0], node.outputs[0]
    tie_reshaped(tie, x, shapes[x], y, shapes[y])


def _resize_constants(attrs: Mapping[str, Any], constants: Mapping[int, np.ndarray], outputs: Sequence[tuple[int, ...]],
                      gone: Gone) -> dict[int, np.ndarray]:
    """The target shape after channels were removed: lengths that stood as numbers are set anew, 0 and -1 stay."""
    old = constants.get(1)
    if old is None:
        return {}
    return {1: np.array([length if length in (0, -1) else new for length, new in zip(old.tolist(), outputs[0])], old.dtype)}


def _case(name: str, x: tuple[int, ...], target: Sequence[int], **attrs: Any) -> Case:
    return Case(name, (Arg(x), Arg((len(target),), "int64", value=list(target), constant=True)), attrs)


OP = Op("Reshape", {"allowzero": 0}, (2, 2), _infer, _run, flow=_flow, resize_constants=_resize_constants, cases=(
    _case("flatten", (2, 3, 5, 7), (2, -1)),
    _case("flatten_kept", (2, 3, 5, 7), (0, -1)),
    _case("explicit", (1, 16, 5, 5), (1, 400)),
    _case("split", (2, 6, 5), (2, 2, 3, 5)),
    _case("mixed", (4, 6), (3, 8)),
    _case("to_vector", (2, 3, 4), (-1,)),
    _case("to_scalar", (1, 1), ()),
    _case("from_scalar", (), (1, 1)),
    _case("ones", (3, 1, 4), (1, 3, 4, 1)),
    _case("empty", (0, 3), (3, 0), allowzero=1),
))
