"""No program at all: a process that reads the input and has it as its output. What others take beyond it is their own."""

from __future__ import annotations

from .interface import Case, Loaded


def load(case: Case) -> Loaded:
    return Loaded(lambda x: lambda: x, "numpy", 0)
