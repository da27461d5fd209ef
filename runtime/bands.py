"""Inverted residuals of sparse weights that each thread runs on a band of rows: expansion, depthwise convolution, projection, addition.

What the depthwise convolution makes for the projection lies in a buffer of the thread's own, so no core waits for lines of memory that another one
wrote, and threads meet once where they met after every step. Rows at a band's edges are expanded by both neighbours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod

from ..formats.record import dataclass
from ..kernels.lowering import Lowering
from .partition import Types, Unit
from .strips import expands

ALIGNED = 16
"""Floats: channels of a band lie at multiples of them."""
HELD = 1 << 19
"""Bytes of a band, where bands can be so low: they stay in L2 beside weights and what the expansion reads."""
LEAST_ROWS = 7
"""Rows of a band that is lower than a thread's share: of lower ones too many rows are expanded twice."""


@dataclass(frozen=True, eq=False)
class Sum:
    """An addition that ends a product's steps. ``output`` and ``addend`` are the names of its values."""

    unit: Unit
    output: str
    addend: str


def sum_after(at: int, units: Sequence[Unit], chosen: Sequence[Lowering], types: Types, readers: Mapping[str, int]) -> Sum | None:
    """The addition in the unit after ``at``, if that unit's steps can do it: of two values of one shape, both in the layout NCHW."""
    if at + 1 >= len(units) or chosen[at].adds is None:
        return None
    unit, after = units[at], units[at + 1]
    name, inputs = unit.outputs[0], after.site.node.inputs
    clamps = unit.low > float("-inf") or unit.high < float("inf")
    if after.site.node.op != "Add" or name not in inputs or readers.get(name) != 1 or clamps or after.addend or after.codes:
        return None
    kinds = [types[each] for each in (*inputs, *after.outputs)]
    if any(kind is None or kind.shape != kinds[0].shape for kind in kinds) or after.site.weights or chosen[at + 1].output != "NCHW":  # type: ignore[union-attr]
        return None
    return Sum(after, after.outputs[0], inputs[1 - inputs.index(name)])


def banded(at: int, units: Sequence[Unit], chosen: Sequence[Lowering], types: Types, readers: Mapping[str, int]) -> bool:
    """Whether the units at ``at`` and the next two are an inverted residual that can run in bands."""
    if at + 2 >= len(units) or not expands(at, units, chosen, types, readers) or chosen[at + 2].adds is None:
        return False
    name, after = units[at + 1].outputs[0], units[at + 2]
    return after.site.node.inputs[0] == name and chosen[at + 2].inputs[0] == "NCHW" and readers.get(name) == 1


def bands_of(unit: Unit, option: Lowering, types: Types) -> list[tuple[int, int]]:
    """Rows of each band of the depthwise convolution's output: as many bands for each thread."""
    kind = types[unit.outputs[0]]
    assert kind is not None
    assert option.expands is not None
    height, threads = kind.shape[2], unit.site.threads
    count = threads
    while kind.size * 4 > HELD * count and height >= LEAST_ROWS * (count + threads):
        count += threads
    rows = option.expands.rows(count)
    return [(first, min(first + rows, height)) for first in range(0, height, rows)]


def pitch_of(rows: int, shape: Sequence[int]) -> int:
    """Floats from one channel of a band to the next."""
    return -(-rows * prod(shape[3:]) // ALIGNED) * ALIGNED
