"""Dropout in inference: the input as it is, and if asked for the mask of what was kept, which is everything.

Training mode is the same where nothing is dropped (ratio 0); with any other ratio it is refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...formats.graph import Node
from ._check import FLOATS, given, need, want_dtype, where
from ._flow import same_everywhere
from ._op import Arg, Case, Op, OpError, Type

RATIO = 0.5
"""Of what is dropped if no ratio is given."""


def _infer(node: Node, attrs: Mapping[str, Any], args: Sequence[Type | None]) -> list[Type]:
    x, ratio, training = need(node, args, 0, "data"), given(args, 1), given(args, 2)
    want_dtype(node, x, FLOATS)
    if ratio is not None:
        want_dtype(node, ratio, FLOATS, "ratio")
    if training is not None:
        want_dtype(node, training, ("bool",), "training mode")
        if ratio is None or ratio.value is not None:
            _refuse_training(where(node), None if ratio is None else ratio.value, training.value)
    return [x, Type("bool", x.shape)]


def _refuse_training(place: str, ratio: np.ndarray | None, training: np.ndarray | None) -> None:
    dropped = RATIO if ratio is None else float(np.ravel(ratio)[0])
    if training is not None and bool(training.any()) and dropped != 0:
        raise OpError(f"{place} is in training mode and drops {dropped:g} of its input; only inference is supported")


def _run(attrs: Mapping[str, Any], x: np.ndarray, ratio: np.ndarray | None = None,
         training: np.ndarray | None = None) -> tuple[np.ndarray, ...]:
    _refuse_training("Dropout", ratio, training)
    return x, np.ones(x.shape, bool)


OP = Op("Dropout", {"seed": None}, (1, 3), _infer, _run, flow=same_everywhere, cases=(
    Case("plain", (Arg((3, 17)),)),
    Case("ratio", (Arg((2, 3, 5)), Arg((), value=0.2, constant=True))),
    Case("seed", (Arg((7,)),), {"seed": 3}),
    Case("training_off", (Arg((3, 5)), Arg((), value=0.75, constant=True), Arg((), "bool", value=False, constant=True))),
    Case("nothing_dropped", (Arg((3, 5)), Arg((), value=0, constant=True), Arg((), "bool", value=True, constant=True))),
))
