"""ConstantOfShape: a tensor of one value, whose shape is the input; float32 zeros if no value is given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

import numpy as np

from ...formats.graph import DTYPES, Node
from ._check import need, want_dtype, want_rank, where
from ._known import LIMIT, ints
from ._op import Arg, Case, Op, OpError, Type


def _element(place: str, attrs: Mapping[str, Any]) -> np.ndarray:
    """The value as a scalar."""
    value = np.zeros(1, np.float32) if attrs["value"] is None else np.asarray(attrs["value"])
    if value.size != 1 or value.dtype.name not in DTYPES:
        raise OpError(f"{place} has a value of {value.size} elements of {value.dtype}; it takes one of {', '.join(DTYPES)}")
    return value.reshape(())


def _lengths(place: str, shape: Sequence[int]) -> tuple[int, ...]:
    if any(length < 0 for length in shape):
        raise OpError(f"{place} is asked for the shape {tuple(shape)}; lengths are 0 or more")
    return tuple(shape)


def _infer(node: Node, attrs: Mapping[str, Any], args: Sequence[Type | None]) -> list[Type]:
    target, element = need(node, args, 0, "shape"), _element(where(node), attrs)
    want_dtype(node, target, ("int64",), "shape")
    want_rank(node, target, 1, "shape", most=1)
    known = ints(target)
    if known is None:
        return []
    shape = _lengths(where(node), known)
    return [Type(element.dtype.name, shape, np.full(shape, element) if prod(shape) <= LIMIT else None)]


def _run(attrs: Mapping[str, Any], shape: np.ndarray) -> tuple[np.ndarray, ...]:
    return (np.full(_lengths("ConstantOfShape", shape.ravel().tolist()), _element("ConstantOfShape", attrs)),)


def _case(name: str, shape: Sequence[int], **attrs: Any) -> Case:
    return Case(name, (Arg((len(shape),), "int64", value=list(shape), constant=True),), attrs)


OP = Op("ConstantOfShape", {"value": None}, (1, 1), _infer, _run, (
    _case("zeros", (2, 3)),
    _case("float", (2, 1, 3), value=np.array([0.25], np.float32)),
    _case("int64", (4,), value=np.array([7], np.int64)),
    _case("bool", (2, 2), value=np.array([True])),
    _case("scalar", (), value=np.array([-3], np.int32)),
    _case("nothing", (0,)),
))
