"""What RNN, LSTM and GRU share: shapes, directions, layouts, sequence lengths, the walk over time.

An operator gives a ``Cell``: how many gates and states there are, and the step from one time to the next. The products of all
inputs with W are one matrix product ahead of the walk; a step multiplies the hidden state by R.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from ...formats.graph import Node
from ...formats.record import dataclass
from ._cell_activations import Activation, chosen
from ._check import FLOATS, given, need, text, want_dtype, want_rank, want_same_dtype, where
from ._dtype import widened
from ._op import Op, OpError, Type

ATTRIBUTES: dict[str, Any] = {"activation_alpha": None, "activation_beta": None, "activations": None, "clip": None,
                              "direction": "forward", "hidden_size": None, "layout": 0}
DIRECTIONS = {"forward": (False,), "reverse": (True,), "bidirectional": (False, True)}
"""Attribute → for each direction, whether it walks backwards in time."""

States = tuple[np.ndarray, ...]


@dataclass(frozen=True)
class Weights:
    """One direction's: ``bias`` (of W) and ``recurrent_bias`` [gates · hidden], ``peepholes`` [3 · hidden]. ``times_r``: rows [batch, hidden] times
    some of the gates' rows of R, in what arithmetic they are to be."""

    times_r: Callable[[np.ndarray, slice], np.ndarray]
    bias: np.ndarray
    recurrent_bias: np.ndarray
    peepholes: np.ndarray | None


ALL = slice(None)
Multiply = Callable[[int, int, np.ndarray, slice], np.ndarray]
"""(0 for W or 1 for R, direction, rows, which of the matrix's gates · hidden rows) → the rows times those, [rows, as many]."""

Step = Callable[[np.ndarray, States], States]
"""(the inputs' part of the gates [batch, gates · hidden], states) → the states one step later, each [batch, hidden]."""


@dataclass(frozen=True)
class Cell:
    """``states``: 1 (hidden) or 2 (hidden and cell). ``make`` builds the step of one direction; it sees to all biases."""

    gates: int
    states: int
    activations: tuple[str, ...]
    make: Callable[[Mapping[str, Any], Weights, Sequence[Activation], Callable[[np.ndarray], np.ndarray]], tuple[np.ndarray, Step]]
    """(attrs, weights, activations, clip) → (what to add to the inputs' part ahead of the walk, the step)."""


def checked(cell: Cell, place: str, attrs: Mapping[str, Any]) -> tuple[bool, ...]:
    """For each direction whether it walks backwards. Raises OpError where an attribute is wrong."""
    if attrs["direction"] not in DIRECTIONS:
        raise OpError(f"{place} has the direction {attrs['direction']!r}; it takes {', '.join(DIRECTIONS)}")
    if attrs["layout"] not in (0, 1):
        raise OpError(f"{place} has the layout {attrs['layout']}; it takes 0 or 1")
    if attrs["clip"] is not None and not attrs["clip"] > 0:
        raise OpError(f"{place} has the clip {attrs['clip']}; it takes a number above 0")
    found = DIRECTIONS[attrs["direction"]]
    chosen(place, attrs, cell.activations, len(found))
    return found


def infer(cell: Cell, node: Node, attrs: Mapping[str, Any], args: Sequence[Type | None]) -> list[Type]:
    """The types of Y, Y_h (and Y_c) of a node with the inputs X, W, R, B, sequence_lens, initial_h (, initial_c, P)."""
    place = where(node)
    directions = len(checked(cell, place, attrs))
    x, w, r, lens = need(node, args, 0, "data"), need(node, args, 1, "weight W"), need(node, args, 2, "weight R"), given(args, 4)
    want_dtype(node, x, FLOATS)
    want_same_dtype(node, [kind for slot, kind in enumerate(args) if slot != 4])
    for kind, what in ((x, "data"), (w, "weight W"), (r, "weight R")):
        want_rank(node, kind, 3, what, 3)
    hidden = r.shape[2]
    if attrs["hidden_size"] is not None and attrs["hidden_size"] != hidden:
        raise OpError(f"{place} has hidden_size {attrs['hidden_size']}, but a weight R of the shape {text(r.shape)}")
    length, batch = x.shape[:2] if attrs["layout"] == 0 else x.shape[1::-1]
    rows, state = cell.gates * hidden, (directions, batch, hidden) if attrs["layout"] == 0 else (batch, directions, hidden)
    wanted = [(1, "weight W", (directions, rows, x.shape[2])), (2, "weight R", (directions, rows, hidden)), (3, "bias", (directions, 2 * rows)),
              (4, "sequence_lens", (batch,)), (5, "initial_h", state), (6, "initial_c", state), (7, "peephole weight", (directions, 3 * hidden))]
    for slot, what, shape in wanted:
        found = given(args, slot)
        if found is not None and found.shape != shape:
            raise OpError(f"{place} has a {what} of the shape {text(found.shape)}; here it takes {text(shape)}")
    if lens is not None:
        want_dtype(node, lens, ("int32",), "sequence_lens")
    y = (length, directions, batch, hidden) if attrs["layout"] == 0 else (batch, length, directions, hidden)
    return [Type(x.dtype, y), *(Type(x.dtype, state) for _ in range(cell.states))]


def run(cell: Cell, attrs: Mapping[str, Any], name: str, x: np.ndarray, w: np.ndarray, r: np.ndarray, bias: np.ndarray | None = None,
        lens: np.ndarray | None = None, *others: np.ndarray | None, multiply: Multiply | None = None) -> tuple[np.ndarray, ...]:
    """Y, Y_h (and Y_c). Past the length of a sequence Y is 0, and the last states are those at its end. ``multiply``: what computes the products
    with W of rows of x, and with R of the hidden state."""
    backwards, dtype, layout = checked(cell, name, attrs), x.dtype, attrs["layout"]
    x, w, r = widened(x, w, r)
    bias, *states = (None if a is None else widened(a)[0] for a in (bias, *others))
    initial, peepholes = states[:cell.states], states[2] if len(states) > 2 else None
    x = x.swapaxes(0, 1) if layout else x
    length, batch, hidden = *x.shape[:2], r.shape[2]
    if lens is not None and (lens.min(initial=0) < 0 or lens.max(initial=0) > length):
        raise OpError(f"{name} has sequence_lens {lens.tolist()}; they lie between 0 and the {length} steps of its input")
    if multiply is None:
        multiply = lambda weight, direction, rows, part: rows @ (w, r)[weight][direction, part].T  # noqa: E731
    bias = np.zeros((len(w), 2 * w.shape[1]), x.dtype) if bias is None else bias
    y = np.empty((length, len(w), batch, hidden), x.dtype)
    last = np.zeros((cell.states, len(w), batch, hidden), x.dtype)
    for place, start in enumerate(initial):
        if start is not None:
            last[place] = start.swapaxes(0, 1) if layout else start
    limit = attrs["clip"]
    clip = (lambda v: v) if limit is None else (lambda v: np.clip(v, -limit, limit))
    for d, functions in enumerate(chosen(name, attrs, cell.activations, len(w))):
        rows = w.shape[1]
        some = Weights(partial(multiply, 1, d), bias[d, :rows], bias[d, rows:], None if peepholes is None else peepholes[d])
        extra, step = cell.make(attrs, some, [one.function(x.dtype) for one in functions], clip)
        order = None if not backwards[d] else _reversed(length, batch, lens)
        along = x if order is None else x[order, np.arange(batch)]
        inputs = multiply(0, d, along.reshape(length * batch, x.shape[2]), ALL).reshape(length, batch, rows) + extra
        walked, ends = _walk(step, inputs, tuple(last[:, d]), lens, hidden)
        y[:, d] = walked if order is None else walked[order, np.arange(batch)]
        last[:, d] = ends
    y, *after = (a.astype(dtype, copy=False) for a in (y, *last))
    return (y.transpose(2, 0, 1, 3), *(end.swapaxes(0, 1) for end in after)) if layout else (y, *after)


def _walk(step: Step, inputs: np.ndarray, states: States, lens: np.ndarray | None, hidden: int) -> tuple[np.ndarray, States]:
    """The hidden state after each step [length, batch, hidden], and the last states."""
    y = np.zeros((*inputs.shape[:2], hidden), inputs.dtype)
    for t, part in enumerate(inputs):
        after = step(part, states)
        if lens is None:
            y[t] = after[0]
            states = after
        else:
            alive = (t < lens)[:, None]
            states = tuple(np.where(alive, new, old) for new, old in zip(after, states))
            y[t] = np.where(alive, after[0], 0)
    return y, states


def _reversed(length: int, batch: int, lens: np.ndarray | None) -> np.ndarray:
    """[length, batch]: the times in which each sequence is walked backwards; its own steps reversed, the padding left where it is."""
    ends = np.full(batch, length) if lens is None else lens.astype(np.int64)
    times = np.arange(length)[:, None]
    return np.where(times < ends, ends - 1 - times, times)


def macs(attrs: Mapping[str, Any], args: Sequence[Type | None], outputs: Sequence[Type]) -> int:
    """Every step multiplies all of W and R once for each sequence of the batch."""
    x, w, r = args[:3]
    assert x is not None
    assert w is not None
    assert r is not None
    return x.shape[0] * x.shape[1] * (w.size + r.size)


def operator(name: str, cell: Cell, attributes: Mapping[str, Any], most: int, cases: Sequence[Any]) -> Op:
    """The operator that walks ``cell`` over its input."""
    return Op(name, {**ATTRIBUTES, **attributes}, (3, most),
              lambda node, attrs, args: infer(cell, node, attrs, args),
              lambda attrs, *arrays, **how: run(cell, attrs, name, *arrays, **how), tuple(cases), macs=macs)
