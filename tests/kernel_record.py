"""Which lines of kernels.inc the engines of this process were made of."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from thinfer.kernels import isa

Row = tuple[str, str]
"""A kernel's name and an ISA level."""


def rows() -> set[Row]:
    """The lines of kernels.inc that can run here."""
    native = isa.native()
    return set() if native is None else {(name, level) for name, level, _ in native.kernels() if level in isa.levels()}


def resolved(names: Any, level: str) -> set[Row]:
    """The lines that these kernels are at that level."""
    native = isa.native()
    assert native is not None
    return {(name, native.resolve(name, level)) for name in names}


@contextmanager
def recorded() -> Iterator[set[Row]]:
    """Collects the lines of every engine that is made meanwhile."""
    found: set[Row] = set()
    native = isa.native()
    if native is None:
        yield found
        return
    engine = native.Engine

    def recording(code: Any, names: Any, level: str, *others: Any) -> Any:
        made = engine(code, names, level, *others)
        found.update(resolved(names, level))
        return made

    native.Engine = recording  # type: ignore[attr-defined]
    try:
        yield found
    finally:
        native.Engine = engine  # type: ignore[attr-defined]
