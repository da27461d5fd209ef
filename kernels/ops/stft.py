"""STFT: the discrete Fourier transforms of windows that slide over a signal [batch, length, 1 or 2] → [batch, frames, bins, 2]."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...formats.graph import Node
from ._check import FLOATS, INDICES, given, need, text, want_dtype, want_rank, want_same_dtype, where
from ._dtype import widened
from ._known import ints
from ._op import Arg, Case, Op, OpError, Type
from ._spectrum import as_complex, as_pairs


def _shape(place: str, attrs: Mapping[str, Any], shape: tuple[int, ...], step: int, window: tuple[int, ...] | None,
           length: int | None) -> tuple[tuple[int, ...], int]:
    """The output's shape and the length of a frame. Raises OpError."""
    frame = length if length is not None else window[0] if window is not None else shape[1]
    if window is not None and window != (frame,):
        raise OpError(f"{place} has a window of the shape {text(window)} and frames of the length {frame}; they go together")
    if shape[2] not in (1, 2) or (attrs["onesided"] and shape[2] == 2):
        raise OpError(f"{place} has a signal of the shape {text(shape)}; its last length is 1 (real), or unless onesided is set 2 (complex)")
    if step < 1 or not 1 <= frame <= shape[1]:
        raise OpError(f"{place} has frames of the length {frame}, {step} apart, over a signal of the length {shape[1]}; "
                      f"both are 1 or more, and one frame has to fit")
    return (shape[0], (shape[1] - frame) // step + 1, frame // 2 + 1 if attrs["onesided"] else frame, 2), frame


def _infer(node: Node, attrs: Mapping[str, Any], args: Sequence[Type | None]) -> list[Type]:
    x, step, window, length = need(node, args, 0, "signal"), need(node, args, 1, "frame_step"), given(args, 2), given(args, 3)
    want_dtype(node, x, FLOATS)
    want_same_dtype(node, (x, window))
    want_rank(node, x, 3, "signal", 3)
    for kind, what in ((step, "frame_step"), (length, "frame_length")):
        if kind is not None:
            want_dtype(node, kind, INDICES, what)
            if kind.size != 1:
                raise OpError(f"{where(node)} has a {what} of the shape {text(kind.shape)}; it takes one number")
    if window is not None:
        want_rank(node, window, 1, "window", 1)
    if step.value is None or (length is not None and length.value is None):
        return []
    hop, frame = ints(step) or (0,), ints(length)
    shape, _ = _shape(where(node), attrs, x.shape, hop[0], None if window is None else window.shape, frame[0] if frame else None)
    return [Type(x.dtype, shape)]


def _run(attrs: Mapping[str, Any], x: np.ndarray, step: np.ndarray, window: np.ndarray | None = None,
         length: np.ndarray | None = None) -> tuple[np.ndarray, ...]:
    hop = int(step.item())
    _, frame = _shape("STFT", attrs, x.shape, hop, None if window is None else window.shape, None if length is None else int(length.item()))
    frames = np.lib.stride_tricks.sliding_window_view(as_complex(x), frame, axis=1)[:, ::hop]
    weighted = frames if window is None else frames * widened(window)[0]
    return (as_pairs((np.fft.rfft if attrs["onesided"] else np.fft.fft)(weighted), x.dtype),)


def _case(name: str, x: tuple[int, ...], step: int, window: int | None = None, length: int | None = None, bench: bool = False,
          **attrs: Any) -> Case:
    args = [Arg(x), Arg((), "int64", value=step, constant=True), Arg((window or 0,), low=0, high=1, absent=window is None),
            Arg((), "int64", value=length, constant=True, absent=length is None)]
    while args[-1].absent:
        args.pop()
    return Case(name, tuple(args), {"onesided": 1, **attrs}, bench)


OP = Op("STFT", {"onesided": 1}, (2, 4), _infer, _run, cases=(
    _case("window", (2, 32, 1), 4, window=8),
    _case("length", (1, 33, 1), 8, length=15),
    _case("both", (1, 32, 1), 5, window=9, length=9),
    _case("twosided", (1, 32, 1), 8, window=16, onesided=0),
    _case("complex", (2, 32, 2), 8, window=10, onesided=0),
    _case("speech", (1, 16000, 1), 160, window=400, bench=True),
))
