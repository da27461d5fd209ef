"""Constant: a tensor that the node itself holds. Importers turn such nodes into weights; subgraphs may keep them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...formats.graph import DTYPES, Node
from ._check import where
from ._known import LIMIT
from ._op import Case, Op, OpError, Type

DTYPE_OF: dict[str, str | None] = {"value": None, "value_float": "float32", "value_floats": "float32", "value_int": "int64",
                                   "value_ints": "int64"}


def _tensor(place: str, attrs: Mapping[str, Any]) -> np.ndarray:
    given = [name for name, value in attrs.items() if value is not None]
    if len(given) != 1:
        raise OpError(f"{place} has {', '.join(given) or 'no value'}; it takes exactly one of {', '.join(DTYPE_OF)}")
    array = np.asarray(attrs[given[0]], DTYPE_OF[given[0]])
    if array.dtype.name not in DTYPES:
        raise OpError(f"{place} holds {array.dtype.name}; supported are {', '.join(DTYPES)}")
    return array


def _infer(node: Node, attrs: Mapping[str, Any], args: Sequence[Type | None]) -> list[Type]:
    kind = Type.of(_tensor(where(node), attrs))
    return [kind if kind.size <= LIMIT else Type(kind.dtype, kind.shape)]


def _run(attrs: Mapping[str, Any]) -> tuple[np.ndarray, ...]:
    return (_tensor("Constant", attrs),)


OP = Op("Constant", dict.fromkeys(DTYPE_OF), (0, 0), _infer, _run, cases=(
    Case("tensor", (), {"value": np.arange(6, dtype=np.float32).reshape(2, 3) / 4}),
    Case("int8_tensor", (), {"value": np.array([-3, 5], np.int8)}),
    Case("float", (), {"value_float": 0.5}),
    Case("floats", (), {"value_floats": (0.5, -1.25)}),
    Case("int", (), {"value_int": -7}),
    Case("ints", (), {"value_ints": (1, 3, 224)}),
))
