"""How sums of products become floats and codes: the parameters that kernels/integer/finish.h reads, and the table they go by."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ...formats.checksum import crc32
from ...formats.record import cached_property, dataclass
from ..isa import ARM_LEVELS
from ..lowering import Emitter, Ref, f32
from ..quantized import largest_code
from .begun import AS_THEY_ARE, TOGETHER, begun, moved
from .pack import FLOAT, Factors, Grid, quick

UNIT = 65536.0
"""Of codes in fixed point (fixed_point.h), where conversions to integers do not multiply by it."""
TO_FLOATS, TO_CODES, ADDS, DYNAMIC, DYNAMIC_ZERO, QUICK, UNSIGNED, AS_SUMS = (1 << i for i in range(8))


@dataclass(frozen=True, eq=False)
class Finish:
    """The end of a node that is being emitted. ``largest_sum``: bound of its sums; ``group_rows``: rows that share a dynamic scale."""

    em: Emitter
    factors: Factors
    largest_sum: float
    group_rows: int
    isa: str
    alpha: float = 1.0

    @cached_property
    def grid(self) -> Grid | None:
        ending = self.em.ending
        return None if ending.how is None else Grid(ending.how, self.em.low, self.em.high)

    @cached_property
    def near(self) -> float | None:
        """The threshold of the quick way to codes; None where floats have to be made."""
        ending, grid = self.em.ending, self.grid
        alone = ending.addend is None and ending.value is None
        return grid.nearness(self.factors, self.largest_sum) if grid is not None and alone else None

    @property
    def name(self) -> str:
        """What tells its table from others, for the layout of what holds it: nodes of several subgraphs may make values of one name of one weight."""
        how, own = self.factors.how, crc32(b"".join(part.tobytes() for part in self.table()))
        grid = "" if self.grid is None else f" for {self.grid.how.dtype} codes of {self.grid.how.scale:.6g} {self.grid.how.zero_point}"
        return f" of {how.kind} {how.dtype} {how.zero_point}, {own:08x}{grid}"

    def table(self) -> list[np.ndarray]:
        """float32[outputs]: m, bias, then m / s and bias / s in the units of fixed_point.h, ties moved to where ``near`` lets them be seen."""
        m, bias, grid = self.factors.m, self.factors.bias, self.grid
        unit, natural = (1.0, 0) if self.isa in ARM_LEVELS else (UNIT, 128)
        shift = 0.0
        if grid is not None and self.near is not None:
            shift = grid.how.zero_point - grid.shift + natural + 0.5 + (0.5 - float(FLOAT(self.near)) + 2.0 ** -15)
        return [m, bias, quick(m, grid, 0.0, unit), quick(bias, grid, shift, unit)]

    def begun(self, starts: np.ndarray, w: np.ndarray, in_order: Callable[[np.ndarray], np.ndarray]) -> tuple[list[np.ndarray], np.ndarray]:
        """What follows the table on ARM, starts and biases [n, 16], and their kinds (``begun.py``); zeros where codes are not made the quick way.

        ``starts``: of the outputs; ``w``: the integers that their sums are of, output after output; ``in_order``: as the outputs lie in the table.
        """
        if self.isa not in ARM_LEVELS:
            return [], np.zeros(0, np.int32)
        if self.grid is None or self.near is None:
            found = in_order(starts).reshape(-1, TOGETHER)
            return [found, np.zeros(found.shape, FLOAT)], np.full(len(found), AS_THEY_ARE, np.int32)
        m, bias = quick(self.factors.m, self.grid), quick(self.factors.bias, self.grid)
        largest = int(np.abs(w.reshape(len(starts), -1), dtype=np.int16).sum(1, dtype=np.int64).max(initial=0)) * largest_code(self.factors.how)
        added = moved(bias.astype(np.float64), self.near, self.grid.how.zero_point - self.grid.shift, self.grid.bounds(True)[1])
        *parts, kinds = begun(starts, largest, m, added, in_order)
        return parts, kinds

    def params(self) -> list[int]:
        """FinishParam of finish.h."""
        ending, grid, near = self.em.ending, self.grid, self.near
        is_dynamic = self.factors.how.kind == "dynamic"
        flags = (TO_FLOATS * (ending.value is not None) + TO_CODES * (ending.codes is not None) + ADDS * (ending.addend is not None)
                 + DYNAMIC * is_dynamic + DYNAMIC_ZERO * (is_dynamic and self.factors.how.dtype == "uint8") + QUICK * (near is not None)
                 + UNSIGNED * (grid is not None and grid.how.dtype == "uint8"))
        scale, zero, bounds = (1.0, 0, (0, 0)) if grid is None else (grid.how.scale, grid.how.zero_point - grid.shift, grid.bounds(near is not None))
        return [flags, f32(self.em.low), f32(self.em.high), f32(scale), zero, *bounds, f32(near or 0.0), f32(self.alpha), self.group_rows]

    def buffers(self, dynamic: list[Ref], unused: Ref) -> list[Ref]:
        """y, codes, addend, scales, zeros; ``unused`` in the place of those that are not there."""
        ending = self.em.ending
        return [unused if ref is None else ref for ref in (ending.value, ending.codes, ending.addend, *(*dynamic, None, None)[:2])]


def as_sums(has_zeros: bool, group_rows: int) -> list[int]:
    """FinishParam of a product whose int32 sums are finished later. ``has_zeros``: its codes have zero points of their own."""
    return [AS_SUMS + DYNAMIC_ZERO * has_zeros, f32(-np.inf), f32(np.inf), f32(1.0), 0, 0, 0, f32(0.0), f32(1.0), group_rows]
