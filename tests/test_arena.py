"""Placement of buffers: no two that live at once overlap, and the block is no larger than it has to be in easy cases."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from thinfer.runtime.arena import Lifetime, place


def lifetime(values: tuple[int, int, int]) -> Lifetime:
    nbytes, first, length = values
    return Lifetime(nbytes, first, first + length)


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(1, 5000), st.integers(0, 20), st.integers(0, 10)).map(lifetime), max_size=30), st.booleans())
def test_living_buffers_do_not_overlap(buffers: list[Lifetime], halves: bool) -> None:
    offsets, total = place(buffers, halves)
    for i, a in enumerate(buffers):
        assert offsets[i] % 64 == 0
        assert offsets[i] + a.nbytes <= total
        for j, b in enumerate(buffers[:i]):
            if a.first <= b.last and b.first <= a.last:
                assert offsets[i] + a.nbytes <= offsets[j] or offsets[j] + b.nbytes <= offsets[i]


def test_a_chain_needs_its_two_largest_neighbours() -> None:
    _, total = place([Lifetime(64 * n, i, i + 1) for i, n in enumerate((4, 8, 2, 1))])
    assert total == 64 * 12


def test_halves_lie_around_one_middle() -> None:
    sizes = (64 * 8, 64 * 4, 64 * 6, 64 * 2)
    offsets, total = place([Lifetime(size, i, i + 1) for i, size in enumerate(sizes)], True)
    assert [offset + size // 2 for offset, size in zip(offsets, sizes)] == [64 * 4, 64 * 10, 64 * 4, 64 * 10]
    assert total == 64 * 12


def test_nothing_to_place() -> None:
    assert place([]) == ([], 0)
