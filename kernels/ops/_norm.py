"""What the normalizations share: two stages, the first in the dtype that ``stash_type`` asks for, the second in that of the inputs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...formats.graph import Node
from ._broadcast import broadcast
from ._cast import DTYPE_OF_CODE
from ._check import text, where
from ._dtype import widened
from ._op import OpError, Type

EPSILON = float(np.float32(1e-5))
STASHES = (1, 10, 11)
"""float32, float16, float64."""


def stash(place: str, code: int) -> str:
    """The dtype of ``stash_type``. Raises OpError, which names the node by ``place``."""
    if code not in STASHES:
        raise OpError(f"{place} has stash_type {code}; it takes {', '.join(f'{c} ({DTYPE_OF_CODE[c]})' for c in STASHES)}")
    return DTYPE_OF_CODE[code]


def want_stretchable(node: Node, kind: Type | None, shape: tuple[int, ...], what: str) -> None:
    """OpError unless the parameter broadcasts to ``shape``, which it may not stretch."""
    if kind is not None and (len(kind.shape) > len(shape) or broadcast(where(node), (kind.shape, shape)) != shape):
        raise OpError(f"{where(node)} has a {what} of the shape {text(kind.shape)}, which does not broadcast to {text(shape)}")


def want_per_channel(node: Node, kind: Type, channels: int, what: str) -> None:
    """OpError unless the parameter has one number per channel."""
    if kind.shape != (channels,):
        raise OpError(f"{where(node)} has a {what} of the shape {text(kind.shape)}; it takes {channels} numbers")


def standardized(x: np.ndarray, axes: Sequence[int], epsilon: float, dtype: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """x with mean 0 and variance 1 over ``axes``, the means, and 1 / √(variance + epsilon), in ``dtype`` or that of x if it is wider."""
    wide = x.astype(np.result_type(x, dtype), copy=False)
    mean = wide.mean(axis=tuple(axes), keepdims=True)
    centred = wide - mean
    variance = np.square(centred).mean(axis=tuple(axes), keepdims=True)
    inverse = 1 / np.sqrt(variance + wide.dtype.type(epsilon))
    return centred * inverse, mean, inverse


def scaled(normal: np.ndarray, dtype: np.dtype[np.generic], scale: np.ndarray, bias: np.ndarray | None) -> np.ndarray:
    """``normal · scale + bias`` of what the first stage made, rounded to ``dtype`` before and after."""
    wide, factor = widened(normal.astype(dtype, copy=False), scale)
    y = wide * factor
    return np.asarray(y if bias is None else y + widened(bias)[0]).astype(dtype, copy=False)
