"""Every contest by name: models and layers that Thinfer and its peers run beside each other."""

from __future__ import annotations

from . import figures, layers, networks, sparse
from .definition import Case

CASES: dict[str, Case] = {case.name: case for case in (*networks.CASES, *layers.CASES, *sparse.CASES, *figures.CASES)}
