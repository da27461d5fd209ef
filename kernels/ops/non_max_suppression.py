"""NonMaxSuppression: the boxes [batch, box, 4] of each class that are left once those that overlap a better one are gone.

Per batch and class, in order of the scores [batch, class, box]: a box goes if its intersection over union with one already
selected is above the threshold. Selected are int64 [count, 3]: batch, class and box.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...formats.graph import Node
from ._check import FLOATS, given, need, text, want_choice, want_dtype, want_rank, want_same_dtype, where
from ._known import only_values
from ._op import Arg, Case, Op, OpError, Type


def _infer(node: Node, attrs: Mapping[str, Any], args: Sequence[Type | None]) -> list[Type]:
    boxes, scores = need(node, args, 0, "boxes"), need(node, args, 1, "scores")
    want_dtype(node, boxes, FLOATS, "boxes")
    want_same_dtype(node, (boxes, scores))
    want_rank(node, boxes, 3, "boxes'", 3)
    want_rank(node, scores, 3, "scores'", 3)
    want_choice(node, attrs, "center_point_box", (0, 1))
    if boxes.shape[2] != 4 or boxes.shape[:2] != (scores.shape[0], scores.shape[2]):
        raise OpError(f"{where(node)} has boxes of the shape {text(boxes.shape)} and scores of the shape {text(scores.shape)}; "
                      "it takes batch x box x 4 and batch x class x box")
    for place, what, dtypes in ((2, "number of boxes", ("int64",)), (3, "threshold of overlap", FLOATS), (4, "threshold of scores", FLOATS)):
        kind = given(args, place)
        if kind is not None:
            want_dtype(node, kind, dtypes, what)
            if kind.size != 1:
                raise OpError(f"{where(node)} has a {what} of the shape {text(kind.shape)}; it takes one number")
    return only_values(args, lambda *values: _run(attrs, *values))


def _run(attrs: Mapping[str, Any], boxes: np.ndarray, scores: np.ndarray, most: np.ndarray | None = None,
         overlap: np.ndarray | None = None, least: np.ndarray | None = None) -> tuple[np.ndarray, ...]:
    count = 0 if most is None else int(most.reshape(()))
    limit = 0.0 if overlap is None else overlap.reshape(())
    low, high = _corners(boxes, bool(attrs["center_point_box"]))
    found = []
    for batch, of_classes in enumerate(scores):
        for kind, score in enumerate(of_classes):
            order = np.argsort(-score, kind="stable")
            if least is not None:
                order = order[score[order] > least.reshape(())]
            found += [(batch, kind, box) for box in _selected(order, low[batch], high[batch], count, limit)]
    return (np.array(found, np.int64).reshape(-1, 3),)


def _corners(boxes: np.ndarray, centered: bool) -> tuple[np.ndarray, np.ndarray]:
    """Lower and upper corners, [batch, box, 2] each. Boxes are any two opposite corners, or a center with width and height."""
    a, b = boxes[..., :2], boxes[..., 2:]
    if centered:
        return a - b / 2, a + b / 2
    return np.minimum(a, b), np.maximum(a, b)


def _selected(order: np.ndarray, low: np.ndarray, high: np.ndarray, count: int, limit: Any) -> list[int]:
    area = np.prod(high - low, -1)
    chosen: list[int] = []
    while order.size and len(chosen) < count:
        best, order = int(order[0]), order[1:]
        chosen.append(best)
        common = np.prod(np.maximum(np.minimum(high[best], high[order]) - np.maximum(low[best], low[order]), 0), -1)
        union = area[best] + area[order] - common
        with np.errstate(all="ignore"):
            order = order[~((common > 0) & (common / union > limit))]
    return chosen


def _case(name: str, boxes: Arg, scores: Arg, most: int | None, overlap: float | None = None, least: float | None = None,
          **attrs: int) -> Case:
    numbers = (Arg(absent=True) if most is None else Arg((1,), "int64", value=[most], constant=True),
               *(Arg(absent=True) if value is None else Arg((1,), value=[value], constant=True) for value in (overlap, least)))
    return Case(name, (boxes, scores, *numbers), attrs)


CORNERS = Arg((2, 12, 4), low=0, high=1)

OP = Op("NonMaxSuppression", {"center_point_box": 0}, (2, 5), _infer, _run, cases=(
    _case("corners", CORNERS, Arg((2, 3, 12)), 4, 0.3, 0.0),
    _case("centers", Arg((1, 10, 4), low=0.2, high=1), Arg((1, 2, 10)), 20, 0.5, -2.0, center_point_box=1),
    _case("few", CORNERS, Arg((2, 1, 12)), 1, 0.5, -2.0),
    _case("strict", Arg((1, 3, 4), value=[[[0, 0, 1, 1], [0, 0, 1, 2], [0, 0, 1, 1]]]), Arg((1, 1, 3), value=[[[0.5, 0.75, 0.25]]]),
          3, 0.5, 0.25),
    _case("none", CORNERS, Arg((2, 3, 12)), 0, 0.3, 0.0),
))
