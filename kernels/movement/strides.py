"""Strides (in elements) of values in either layout, and the fewest dimensions that describe a walk over several of them."""

from __future__ import annotations

from collections.abc import Sequence

from ..lowering import Layout

MAX_DIMS = 8
"""Outer dimensions that ``kernels/native/strides.h`` has room for."""


def contiguous(shape: Sequence[int]) -> list[int]:
    """Strides of a C-contiguous array."""
    strides = [1] * len(shape)
    for axis in range(len(shape) - 2, -1, -1):
        strides[axis] = strides[axis + 1] * shape[axis + 1]
    return strides


def memory_axes(rank: int, layout: Layout) -> list[int]:
    """The logical axes in the order of memory, outermost first."""
    return [0, *range(2, rank), 1] if layout == "NHWC" and rank > 2 else list(range(rank))


def strides_of(shape: Sequence[int], layout: Layout) -> list[int]:
    """Stride of each logical axis of a value that lies in ``layout``."""
    order = memory_axes(len(shape), layout)
    found = [0] * len(shape)
    for axis, stride in zip(order, contiguous([shape[axis] for axis in order])):
        found[axis] = stride
    return found


def merged(shape: Sequence[int], *strides: Sequence[int]) -> tuple[list[int], ...]:
    """(shape, strides of each tensor): without dimensions of length 1, and with neighbours joined that every tensor walks as one."""
    out: list[int] = []
    walks: list[list[int]] = [[] for _ in strides]
    for axis, length in enumerate(shape):
        if length == 1:
            continue
        if out and all(walk[-1] == length * steps[axis] for walk, steps in zip(walks, strides)):
            out[-1] *= length
            for walk, steps in zip(walks, strides):
                walk[-1] = steps[axis]
            continue
        out.append(length)
        for walk, steps in zip(walks, strides):
            walk.append(steps[axis])
    return (out or [1], *(walk if out else [1] for walk in walks))
