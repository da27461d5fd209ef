"""SoftmaxCrossEntropyLoss: minus the log of the softmax (axis 1) at each label, weighted by class and reduced (``_loss.py``).

The second output is the logarithm of the softmax.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...formats.graph import Node
from ._dtype import widened
from ._loss import ATTRIBUTES, loss, loss_cases, loss_type
from ._op import Op, Type
from ._softmax import log_softmax


def _infer(node: Node, attrs: Mapping[str, Any], args: Sequence[Type | None]) -> list[Type]:
    found = loss_type(node, attrs, args)
    assert args[0] is not None
    return [found, Type(found.dtype, args[0].shape)]


def _run(attrs: Mapping[str, Any], scores: np.ndarray, labels: np.ndarray, weight: np.ndarray | None = None) -> tuple[np.ndarray, ...]:
    logs = log_softmax(widened(scores)[0], 1)
    found = loss("SoftmaxCrossEntropyLoss", attrs, logs, labels, weight)
    return found.astype(scores.dtype, copy=False), logs.astype(scores.dtype, copy=False)


OP = Op("SoftmaxCrossEntropyLoss", ATTRIBUTES, (2, 3), _infer, _run, loss_cases())
