"""Where the elements of a stream lie, so that an arithmetic coder can look at what stands above (SPEC.md, "Contexts")."""

from __future__ import annotations

import numpy as np

from .record import dataclass
from .structures import Dense, Structure, View, Windowed

MAX_ROW = 2 ** 20
"""Longest row that columns are kept of."""


@dataclass(frozen=True, eq=False)
class Places:
    """``row`` is the length of a row (0: there are no rows), ``columns`` (uint32) the column of each element; None: one row's elements after
    the other's, none left out."""

    row: int = 0
    columns: np.ndarray | None = None

    def front(self, count: int) -> Places:
        """Of the first ``count`` elements."""
        return self if self.columns is None else Places(self.row, self.columns[:count])


NOWHERE = Places()


def in_rows(length: int) -> Places:
    """All places of rows of that length; a file knows only rows of 1 to ``MAX_ROW``."""
    return Places(length) if 0 < length <= MAX_ROW else NOWHERE


def of_positions(view: View) -> Places:
    """All positions of a tensor, in the order of the file: a row is what one index of the first dimension leaves."""
    return in_rows(view.size // view.shape[0]) if len(view.shape) > 1 and view.size else NOWHERE


def of_held(structure: Structure, view: View) -> Places:
    """The positions that hold a value. In windows, where each channel holds as many, a column is the number of the value in its channel."""
    if isinstance(structure, Windowed):
        return in_rows(structure.held(view) // view.channels) if view.size else NOWHERE
    every = of_positions(view)
    if isinstance(structure, Dense) or not every.row:
        return every
    return Places(every.row, (np.flatnonzero(structure.kept(view)) % every.row).astype(np.uint32))
