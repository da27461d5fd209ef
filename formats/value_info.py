"""What a graph says of a value."""

from __future__ import annotations

from .record import dataclass

Dim = int | str
"""A known length, or the name of a symbolic dimension."""


@dataclass(frozen=True)
class ValueInfo:
    """A value's name, dtype and shape (symbolic dimensions by name)."""

    name: str
    dtype: str
    shape: tuple[Dim, ...]
