"""Chooses how each unit of a native segment runs, and so in which layout each value lies, at the least estimated cost."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np

from ..kernels.lowering import Layout, Lowering
from ..kernels.movement.copies import reorder_cost
from .partition import Types, Unit

SWEEPS = 8
"""Rounds of improvement; nets settle after two or three."""

ADDEND = -1
"""In the place of an input's position: what is added to a unit's output, and lies as that does."""


class LayoutChoice:
    """A choice of one option per unit. Reorders follow from it: one per (value, layout that some reader wants and the value is not in)."""

    def __init__(self, units: Sequence[Unit], types: Types, given: Collection[str], results: Collection[str]) -> None:
        self.units, self.types = units, types
        self.results = results
        self.made: dict[str, Layout] = {name: "NCHW" for name in given}  # segment inputs come in the graph's order
        self.readers: dict[str, list[tuple[int, int]]] = {}
        for u, unit in enumerate(units):
            for i, name in enumerate(unit.site.node.inputs):
                if name and i not in unit.site.weights:
                    self.readers.setdefault(name, []).append((u, i))
            if unit.addend:
                self.readers.setdefault(unit.addend, []).append((u, ADDEND))
        self.chosen: list[Lowering | None] = [None] * len(units)
        self._price: dict[str, float] = {}
        self._around = [self._dear(unit) for unit in units]

    def _dear(self, unit: Unit) -> list[str]:
        """The values that the unit reads or makes and that a reorder moves."""
        names = []
        for name in dict.fromkeys([*unit.reads(), *unit.outputs]):
            if name not in self._price:
                kind = self.types[name]
                assert kind is not None
                self._price[name] = reorder_cost(kind.shape, np.dtype(kind.dtype).itemsize)
            if self._price[name]:
                names.append(name)
        return names

    def solve(self, layout: Layout | None = None) -> list[Lowering]:
        """Forward greedy, then single flips until nothing gets cheaper. ``layout``: where units can make it, they do so at first."""
        for u, unit in enumerate(self.units):
            ways = [option for option in unit.options if option.output == layout == option.inputs[0]] or unit.options
            self._set(u, min(ways, key=lambda option, u=u: self._cost(u, option)))  # type: ignore[misc]
        for _ in range(SWEEPS):
            if not any([self._improve(u) for u in range(len(self.units))]):
                break
        return [option for option in self.chosen if option is not None]

    @property
    def total(self) -> float:
        return sum(option.cost for option in self.chosen if option is not None) + sum(self._reorders(name) for name in self._price)

    @property
    def mixed(self) -> bool:
        """Whether most values that reorders move are in NCHW, but not all of them."""
        layouts = [self.made[name] for name, price in self._price.items() if price]
        return len(layouts) // 2 < layouts.count("NCHW") < len(layouts)

    def _improve(self, u: int) -> bool:
        before = self.chosen[u]
        assert before is not None
        best = min(self.units[u].options, key=lambda option: self._cost(u, option))
        improved = best is not before and self._cost(u, best) < self._cost(u, before) - 1e-9
        self._set(u, best if improved else before)
        return improved

    def _set(self, u: int, option: Lowering) -> None:
        self.chosen[u] = option
        self.made.update(dict.fromkeys(self.units[u].outputs, option.output))

    def _cost(self, u: int, option: Lowering) -> float:
        """The option's own cost and that of the reorders around the unit, everything else as chosen so far."""
        self._set(u, option)
        return option.cost + sum([self._reorders(name) for name in self._around[u]])

    def _reorders(self, name: str) -> float:
        wanted = {option.output if i == ADDEND else option.inputs[i] for u, i in self.readers.get(name, ()) if (option := self.chosen[u]) is not None}
        if name in self.results:
            wanted.add("NCHW")
        return self._price[name] * len(wanted - {None, self.made[name]})


def choose(units: Sequence[Unit], types: Types, given: Collection[str], results: Collection[str]) -> list[Lowering]:
    """The option of each unit. ``given``: values that come from outside the segment, ``results``: values that leave it."""
    choice = LayoutChoice(units, types, given, results)
    found = choice.solve()
    if choice.mixed:  # single flips do not take several units in a row from one layout to the other
        other = LayoutChoice(units, types, given, results)
        second = other.solve("NCHW")
        return second if other.total < choice.total else found
    return found


def layouts(units: Sequence[Unit], chosen: Sequence[Lowering]) -> Mapping[str, Layout]:
    """Value → layout, for reports."""
    return {name: option.output for unit, option in zip(units, chosen) for name in unit.outputs}
