"""Chains of convolutions that run strip by strip, so that what passes between them never leaves the L2 cache.

A value between two units of a chain is not made whole: a few rows of it lie in a buffer, are read, and make room for the next ones. Rows that
the next strip reads again (a 3×3 convolution reads two of them twice) move to the buffer's beginning. Line buffers of this kind are what
hardware pipelines do (Fused-layer CNN accelerators, Alwani et al., MICRO 2016); here they are plain steps on fewer rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod

from ..formats.record import dataclass
from ..kernels.lowering import Lowering, Strips
from ..kernels.ops._op import Type
from .partition import Types, Unit

LARGE = 1 << 19
"""Bytes of a value from which on it is worth passing in strips: smaller ones stay in L2 anyway."""
HELD = 1 << 18
"""Bytes of all buffers between the units of a chain, where the strips can be so low: what of L2 weights, input and output leave."""
ROOMIER = 2
"""So many times that on CPUs with AVX-512, whose cores have 1 MB of L2 or more: higher strips move fewer rows."""


@dataclass(frozen=True, eq=False)
class Link:
    """A unit of a chain. ``height``: rows of its output, ``row_bytes`` of each, ``row_step`` from one to the next (NCHW: of a channel)."""

    unit: Unit
    option: Lowering
    place: int
    strips: Strips
    height: int
    row_bytes: int
    row_step: int


def chain_at(place: int, units: Sequence[Unit], chosen: Sequence[Lowering], types: Types, readers: Mapping[str, int]) -> list[Link]:
    """The chain that begins with the unit at ``place``, shorter than two where none does. ``readers``: how often a value is read,
    as a result too."""
    found: list[Link] = []
    for at in range(place, len(units)):
        link = _link(at, units[at], chosen[at], types)
        if link is None:
            break
        if found and not _follows(found[-1], link, types, readers):
            break
        found.append(link)
    return found


def _link(place: int, unit: Unit, option: Lowering, types: Types) -> Link | None:
    kind = types[unit.outputs[0]]
    if option.strips is None or kind is None or len(unit.outputs) != 1 or unit.addend or unit.codes:
        return None
    row_bytes = _row_bytes(kind)
    return Link(unit, option, place, option.strips, kind.shape[2], row_bytes, row_bytes if option.output == "NHWC" else row_bytes // kind.shape[1])


def _row_bytes(kind: Type) -> int:
    return kind.shape[1] * prod(kind.shape[3:]) * 4


def _follows(link: Link, after: Link, types: Types, readers: Mapping[str, int]) -> bool:
    name = link.unit.outputs[0]
    return (after.unit.site.node.inputs[0] == name and readers.get(name) == 1 and after.option.inputs[0] == "NHWC" == link.option.output
            and not after.strips.whole and link.height * link.row_bytes >= LARGE)


def expands(place: int, units: Sequence[Unit], chosen: Sequence[Lowering], types: Types, readers: Mapping[str, int]) -> bool:
    """Whether the unit after that at ``place`` makes its output itself, plane by plane, so that it never lies in memory: where it would not stay in
    L2, or another thread would make half of what one reads. The bits are the same."""
    if place + 1 >= len(units) or chosen[place].planes is None or chosen[place + 1].expands is None:
        return False
    unit, after = units[place], units[place + 1]
    kind = types[unit.outputs[0]]
    return (after.site.node.inputs[0] == unit.outputs[0] and readers.get(unit.outputs[0]) == 1 and not (unit.addend or after.addend)
            and kind is not None and (kind.size * 4 >= LARGE or unit.site.threads > 1))


@dataclass()
class _Line:
    """The buffer between a unit and the next one: rows [first, last) of the unit's output lie in it."""

    link: Link
    capacity: int
    first: int = 0
    last: int = 0


@dataclass(frozen=True)
class Work:
    """Rows [first, last) of a unit's output. ``moved``: (row of the buffer, rows) that go to its beginning before, ``x0``: the row with which
    the buffer that it reads begins, ``at``: where in its own buffer the rows go."""

    index: int
    first: int
    last: int
    moved: tuple[int, int]
    x0: int
    at: int


def schedule(links: Sequence[Link], first: int, last: int, height: int) -> tuple[list[Work], list[int]]:
    """(what is done in what order to make rows [first, last) of the chain's output in strips of ``height``, rows that each buffer holds)."""
    lines = [_Line(link, 0) for link in links[:-1]]
    found: list[Work] = []
    for begin in range(first, last, height):
        wanted = (begin, min(begin + height, last))
        tasks: list[tuple[int, int, int, tuple[int, int], int]] = [(len(links) - 1, *wanted, (0, 0), 0)]
        for index in range(len(links) - 2, -1, -1):
            line, needed = lines[index], links[index + 1].strips.needs(*wanted)
            if needed[1] <= line.last:  # all of it is there already
                break
            kept = max(0, line.last - needed[0])
            moved = (line.last - kept - line.first, kept)
            line.first, wanted = needed[0], (needed[0] + kept, needed[1])
            line.last = needed[1]
            line.capacity = max(line.capacity, line.last - line.first)
            tasks.append((index, *wanted, moved, kept))
        for index, top, bottom, moved, at in reversed(tasks):
            found.append(Work(index, top, bottom, moved, lines[index - 1].first if index else 0, at))
    return found, [line.capacity for line in lines]


def strips_of(links: Sequence[Link]) -> list[tuple[list[Work], list[int]]]:
    """What each thread does, as ``schedule`` says it. Strips have as many rows of the chain's output as the buffers have room for, but so many that
    moved rows do not overlap their places."""
    threads, total = links[0].unit.site.threads, links[-1].height
    most = HELD * ROOMIER if links[0].unit.site.isa.startswith("avx512") else HELD
    heights = list(dict.fromkeys(-(-total // parts) for parts in range(1, total + 1)))
    first, last = 0, len(heights)
    while first < last:
        middle = (first + last) // 2
        tried = schedule(links, 0, min(3 * heights[middle], total), heights[middle])  # three strips tell of most heights
        first, last = (first, middle) if _held(links, tried) <= most else (middle + 1, last)
    for height in heights[first:]:
        whole = schedule(links, 0, total, height)
        if _held(links, whole) <= most and _is_apart(whole):
            break
    else:
        height, whole = next((height, found) for height in reversed(heights)  # the whole in one strip moves nothing
                             if _is_apart(found := schedule(links, 0, total, height)))
    return [whole if part == (0, total) else schedule(links, *part, height) for part in lanes(links, threads)]


def _held(links: Sequence[Link], strips: tuple[list[Work], list[int]]) -> int:
    """Bytes of the buffers."""
    return sum([count * link.row_bytes for count, link in zip(strips[1], links)])


def _is_apart(strips: tuple[list[Work], list[int]]) -> bool:
    """Whether no rows move onto their own places."""
    return all([count <= place for place, count in [work.moved for work in strips[0]]])


def lanes(links: Sequence[Link], threads: int) -> list[tuple[int, int]]:
    """The rows of the chain's output that each thread makes."""
    height = links[-1].height
    parts = min(threads, height)
    return [(height * i // parts, height * (i + 1) // parts) for i in range(parts)]
