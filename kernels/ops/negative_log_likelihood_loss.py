"""NegativeLogLikelihoodLoss: minus the log-probability of each label, weighted by class and reduced (``_loss.py``)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...formats.graph import Node
from ._dtype import widened
from ._loss import ATTRIBUTES, loss, loss_cases, loss_type
from ._op import Op, Type


def _infer(node: Node, attrs: Mapping[str, Any], args: Sequence[Type | None]) -> list[Type]:
    return [loss_type(node, attrs, args)]


def _run(attrs: Mapping[str, Any], logs: np.ndarray, labels: np.ndarray, weight: np.ndarray | None = None) -> tuple[np.ndarray, ...]:
    (wide,) = widened(logs)
    return (loss("NegativeLogLikelihoodLoss", attrs, wide, labels, weight).astype(logs.dtype, copy=False),)


OP = Op("NegativeLogLikelihoodLoss", ATTRIBUTES, (2, 3), _infer, _run, loss_cases())
