"""A weight seen channel by channel, in pieces of bounded size."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

import numpy as np

from ...formats.tensor import EncodedTensor

CHUNK = 1 << 22


def stacked(tensor: EncodedTensor, array: np.ndarray) -> np.ndarray:
    """``array`` (one element per position) as [outer, channels, inner]."""
    outer = prod(tensor.shape[:tensor.axis]) if tensor.shape else 1
    return array.reshape(outer, tensor.channels, -1 if tensor.size else 0)


def pieces(tensor: EncodedTensor) -> Iterator[slice]:
    """Runs of channels of at most about ``CHUNK`` positions, at least one channel each."""
    step = max(CHUNK * tensor.channels // max(tensor.size, 1), 1)
    return (slice(start, min(start + step, tensor.channels)) for start in range(0, tensor.channels, step))


def channel_sums(tensor: EncodedTensor, array: np.ndarray, power: int = 1) -> np.ndarray:
    """float64[channels]: the sum of ``|array| ** power`` over each channel; ``array`` as ``stacked`` gives it."""
    found = np.zeros(tensor.channels)
    for part in pieces(tensor):
        magnitude = np.abs(array[:, part].astype(np.float64))
        found[part] = (magnitude if power == 1 else magnitude ** power).sum(axis=(0, 2))
    return found
