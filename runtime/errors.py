"""What goes wrong while a model runs, beside what its operators and its caller do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ..formats.errors import ThinferError


class OutOfMemory(ThinferError, MemoryError):
    """The values of a run do not fit into memory."""


@contextmanager
def enough_memory() -> Iterator[None]:
    """Says in words that there is not."""
    try:
        yield
    except OutOfMemory:  # which says more
        raise
    except MemoryError:
        raise OutOfMemory("there is not enough memory for the model and what it computes from inputs of these shapes") from None
