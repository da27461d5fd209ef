"""Mod: the remainder of a / b, with broadcasting; it has the sign of b, or with fmod that of a."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...formats.graph import Node
from ._check import want_choice
from ._elementwise import binary
from ._op import Arg, Case, Type


def _mod(a: np.ndarray, b: np.ndarray, fmod: int) -> np.ndarray:
    return np.asarray(np.fmod(a, b) if fmod else np.mod(a, b))


def _check(node: Node, attrs: Mapping[str, Any], kinds: Sequence[Type]) -> None:
    want_choice(node, attrs, "fmod", (0, 1))


def _cases(fmod: int) -> tuple[Case, ...]:
    label, attrs = "trunc" if fmod else "floor", {"fmod": fmod} if fmod else {}
    a, b = [-4, 7, 5, 4, -7, 8, 0], [2, -3, 8, -2, 3, 5, -3]
    return (*(Case(f"{label}_{dtype}", (Arg((7,), dtype, value=a), Arg((7,), dtype, value=b)), attrs)
              for dtype in ("int8", "int32", "int64", "float32")),
            Case(f"{label}_uint8", (Arg((3, 5), "uint8", 0, 255), Arg((5,), "uint8", 1, 99)), attrs),
            Case(f"{label}_fractions", (Arg((3, 5), low=-9, high=9), Arg((3, 1), low=0.5, high=3)), attrs))


OP = binary("Mod", _mod, (*_cases(0), *_cases(1)), attributes={"fmod": 0}, check=_check)
