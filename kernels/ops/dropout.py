"""Dropout in inference: the input as it is, and if asked for the mask of what was kept, which is everything."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...formats.graph import Node
from ._check import FLOATS, given, need, want_dtype, where
from ._flow import same_everywhere
from ._op import Arg, Case, Op, OpError, Type


def _infer(node: Node, attrs: Mapping[str, Any], args: Sequence[Type | None]) -> list[Type]:
    x, training = need(node, args, 0, "data"), given(args, 2)
    want_dtype(node, x, FLOATS)
    if training is not None:
        want_dtype(node, training, ("bool",), "training mode")
        _refuse_training(where(node), training.value)
    return [x, Type("bool", x.shape)]


def _refuse_training(place: str, training: np.ndarray | None) -> None:
    if training is not None and bool(training.any()):
        raise OpError(f"{place} is in training mode; only inference is supported")


def _run(attrs: Mapping[str, Any], x: np.ndarray, ratio: np.ndarray | None = None,
         training: np.ndarray | None = None) -> tuple[np.ndarray, ...]:
    _refuse_training("Dropout", training)
    return x, np.ones(x.shape, bool)


OP = Op("Dropout", {"seed": None}, (1, 3), _infer, _run, flow=same_everywhere, cases=(
    Case("plain", (Arg((3, 17)),)),
    Case("ratio", (Arg((2, 3, 5)), Arg((), value=0.2, constant=True))),
    Case("seed", (Arg((7,)),), {"seed": 3}),
    Case("training_off", (Arg((3, 5)), Arg((), value=0.75, constant=True), Arg((), "bool", value=False, constant=True))),
))
