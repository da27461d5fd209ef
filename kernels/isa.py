"""Which ISA levels the compiled kernels exist for, and which one is used: the best that the CPU has, or what ``THINFER_ISA`` says."""

from __future__ import annotations

import importlib
import os
from types import ModuleType

from ..formats.errors import ThinferError

ARM_LEVELS = ("neon", "dotprod")
"""Levels of NEON, which some weights are packed for in a way of their own: its products are of signed bytes, its look-ups of bytes."""


class UnknownIsa(ThinferError, ValueError):
    """``THINFER_ISA`` names a level that does not exist here."""


def native() -> ModuleType | None:
    """The compiled extension, or None if this install was built without a compiler."""
    name = f"{__package__}._native"
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        return None


def levels() -> list[str]:
    """ISA levels that can run here, weakest first; empty without compiled kernels."""
    module = native()
    return list(module.levels()) if module else []


def selected() -> str:
    """The level in use. Raises UnknownIsa if ``THINFER_ISA`` is none of ``levels()``."""
    found = levels()
    forced = os.environ.get("THINFER_ISA")
    if not forced:
        return found[-1]
    if forced not in found:
        raise UnknownIsa(f"THINFER_ISA is {forced!r}; this machine runs {', '.join(found) or 'no compiled kernels'}")
    return forced
