"""What a case is made of: a model, how Thinfer packs it, who else runs it, and which ratios are asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ...formats.graph import Graph

EXACT, COMPRESSED = 0.99999, 0.7
"""Least cosine with float64 of what computes in fp32, and of what a peer compressed its own way: below it, no time is taken."""


@dataclass(frozen=True)
class Contender:
    """A program (a module of ``peers/``) and in which form it runs the case."""

    program: str
    variant: str
    least_cosine: float = EXACT

    @property
    def name(self) -> str:
        return f"{self.program} {self.variant}"


def fp32(*programs: str) -> tuple[Contender, ...]:
    return tuple(Contender(program, "fp32") for program in programs)


def compressed(*names: str) -> tuple[Contender, ...]:
    return tuple(named(name, COMPRESSED) for name in names)


def named(name: str, least_cosine: float = EXACT) -> Contender:
    """From "program variant"."""
    program, variant = name.split(" ")
    return Contender(program, variant, least_cosine)


@dataclass(frozen=True)
class Packing:
    """How Thinfer packs a case's model: ``recipe``, a mapping with a recipe's keys, of the model's graph ``source``."""

    recipe: Mapping[str, Any] = field(default_factory=dict)
    source: str = ""
    least_cosine: float = EXACT
    """With float64 of the packed weights; int8 activations cost some."""


@dataclass(frozen=True)
class Model:
    """``graphs``: by name, "" is the one that peers run. ``samples``: float32 [n, …]. ``module``: the same for torch; None: peers run ``w``.

    ``w``: float32 [outputs, inputs] of a matrix product, or None. ``lowered``: the samples as the product takes them, where that is a
    convolution's, [n, positions, inputs].
    """

    graphs: Mapping[str, Graph]
    samples: np.ndarray
    module: Callable[[], Any] | None = None
    calibration: np.ndarray | None = None
    w: np.ndarray | None = None
    matrices: Mapping[str, np.ndarray] = field(default_factory=dict)
    """Matrices that variants have of their own."""
    lowered: np.ndarray | None = None


@dataclass(frozen=True)
class Target:
    """Asked: the minimum of ``ours`` over the least of the ``rivals``' is at most ``ratio``."""

    ours: str
    rivals: tuple[str, ...]
    ratio: float
    cold: bool = False


@dataclass(frozen=True)
class Case:
    """One contest."""

    name: str
    title: str
    build: Callable[[Path], Model]
    packings: Mapping[str, Packing]
    rivals: tuple[Contender, ...]
    targets: tuple[Target, ...] = ()
    cold: bool = False
    rounds: int = 4
    facts: Mapping[str, Any] = field(default_factory=dict)
    """What plots and tables need to know: sparsity, bits, layer."""

    @property
    def threads(self) -> tuple[int, ...]:
        """Thread counts that a whole run takes: what is asked for on one thread is asked for on two."""
        return (1, 2) if self.targets else (1,)

    @property
    def contenders(self) -> tuple[Contender, ...]:
        ours = tuple(Contender("thinfer", name, packing.least_cosine) for name, packing in self.packings.items())
        return ours + self.rivals
