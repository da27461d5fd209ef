"""The flow of operators that keep the row-major order of the elements and change only the shape."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ._flow import tie_blocks
from ._op import Tie

Groups = tuple[tuple[int, ...], tuple[int, ...]]


def matching_axes(old: Sequence[int], new: Sequence[int]) -> Iterator[Groups]:
    """The smallest runs of axes of either shape that cover the same elements: (2, 3, 5, 7) and (2, 105) → (0)↔(0), (1, 2, 3)↔(1)."""
    i = j = 0
    while i < len(old) and j < len(new):
        first_i, first_j = i, j
        left, right = old[i], new[j]
        i, j = i + 1, j + 1
        while left != right:
            if left < right:
                left, i = left * old[i], i + 1
            else:
                right, j = right * new[j], j + 1
        yield tuple(range(first_i, i)), tuple(range(first_j, j))


def tie_reshaped(tie: Tie, name: str, old: Sequence[int], output: str, new: Sequence[int]) -> None:
    """Ties axes that are kept, merged into one or split from one. Axes of length 1 come and go freely.

    A run of several axes that becomes a run of several others cannot be followed; its axes stay unmentioned.
    """
    if 0 in old:
        return
    wide_old = [axis for axis, length in enumerate(old) if length != 1]
    wide_new = [axis for axis, length in enumerate(new) if length != 1]
    for left, right in matching_axes([old[axis] for axis in wide_old], [new[axis] for axis in wide_new]):
        a, b = [wide_old[k] for k in left], [wide_new[k] for k in right]
        if len(b) == 1:
            tie_blocks(tie, (name, a), [old[axis] for axis in a], (output, b[0]))
        elif len(a) == 1:
            tie_blocks(tie, (output, b), [new[axis] for axis in b], (name, a[0]))
