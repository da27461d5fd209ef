"""Negative log likelihood with weights per class, an ignored label and reductions, as both losses have it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...formats.graph import Node
from ._check import FLOATS, INDICES, given, need, text, want_choice, want_dtype, want_rank, want_same_dtype, where
from ._op import Arg, Case, OpError, Type

ATTRIBUTES = {"ignore_index": None, "reduction": "mean"}


def loss_type(node: Node, attrs: Mapping[str, Any], args: Sequence[Type | None]) -> Type:
    """The type of the loss of scores [N, C, …], labels [N, …] and, if given, weights [C]."""
    scores, labels, weight = need(node, args, 0, "scores"), need(node, args, 1, "labels"), given(args, 2)
    want_choice(node, attrs, "reduction", ("none", "mean", "sum"))
    want_dtype(node, scores, FLOATS, "scores")
    want_dtype(node, labels, INDICES, "labels")
    want_same_dtype(node, (scores, weight))
    want_rank(node, scores, 2, "scores")
    if labels.shape != (*scores.shape[:1], *scores.shape[2:]):
        raise OpError(f"{where(node)} has labels of the shape {text(labels.shape)} for scores of the shape {text(scores.shape)}; "
                      f"they want {text((*scores.shape[:1], *scores.shape[2:]))}")
    if weight is not None and weight.shape != scores.shape[1:2]:
        raise OpError(f"{where(node)} has weights of the shape {text(weight.shape)}; it takes {scores.shape[1]} numbers")
    return Type(scores.dtype, labels.shape if attrs["reduction"] == "none" else ())


def loss(place: str, attrs: Mapping[str, Any], logs: np.ndarray, labels: np.ndarray, weight: np.ndarray | None) -> np.ndarray:
    """The loss of log-probabilities [N, C, …]. Raises OpError, which names the node by ``place``, for labels outside of [0, C)."""
    classes = logs.shape[1]
    ignored = np.zeros(labels.shape, bool) if attrs["ignore_index"] is None else labels == attrs["ignore_index"]
    wrong = ~ignored & ((labels < 0) | (labels >= classes))
    if wrong.any():
        raise OpError(f"{place} has the label {labels[wrong].flat[0]}, but there are {classes} classes")
    if not classes:
        return _reduced(attrs, np.zeros(labels.shape, logs.dtype), np.zeros(labels.shape, logs.dtype))
    chosen = np.where(ignored, 0, labels)
    factor = np.where(ignored, 0, 1 if weight is None else weight[chosen]).astype(logs.dtype)
    picked = np.take_along_axis(logs, np.expand_dims(chosen, 1), 1).squeeze(1)
    return _reduced(attrs, np.where(ignored, logs.dtype.type(0), -picked * factor), factor)


def _reduced(attrs: Mapping[str, Any], losses: np.ndarray, factors: np.ndarray) -> np.ndarray:
    if attrs["reduction"] == "none":
        return losses
    total = losses.sum(dtype=losses.dtype)
    return np.asarray(total / factors.sum(dtype=losses.dtype) if attrs["reduction"] == "mean" else total)


def loss_cases() -> tuple[Case, ...]:
    """Cases with and without weights, positions and an ignored label."""
    image, vector, weight = Arg((3, 5, 2, 3)), Arg((4, 3)), Arg((5,), low=0.25, high=2)
    labels = Arg((3, 2, 3), "int64", 0, 4)
    return (Case("vector", (vector, Arg((4,), "int64", 0, 2))),
            Case("int32", (vector, Arg((4,), "int32", 0, 2)), {"reduction": "sum"}),
            *(Case(f"image_{reduction}", (image, labels), {"reduction": reduction}) for reduction in ("none", "mean", "sum")),
            *(Case(f"weighted_{reduction}", (image, labels, weight), {"reduction": reduction}) for reduction in ("none", "mean", "sum")),
            Case("ignored", (image, labels), {"ignore_index": 1}),
            Case("ignored_weighted", (image, labels, weight), {"ignore_index": 2}),
            Case("ignored_outside", (vector, Arg((4,), "int64", value=[-1, 0, 2, -1])), {"ignore_index": -1, "reduction": "none"}))
