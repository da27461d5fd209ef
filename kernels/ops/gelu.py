"""Gelu: ``x · Φ(x)`` with Φ the distribution of the normal law, or its approximation by tanh (Hendrycks and Gimpel 2016)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...formats.graph import Node
from ._check import want_choice
from ._elementwise import activation_cases, unary
from ._erf import erfc
from ._maths import sigmoid
from ._op import Case, Type


def _gelu(x: np.ndarray, approximate: str) -> np.ndarray:
    if approximate == "tanh":
        # (1 + tanh z) / 2 = sigmoid(2 z), which does not cancel where z is negative.
        return x * sigmoid(x.dtype.type(np.sqrt(8 / np.pi)) * (x + x.dtype.type(0.044715) * x * x * x))
    return x / 2 * erfc(x * x.dtype.type(-np.sqrt(0.5)))


def _check(node: Node, attrs: Mapping[str, Any], kinds: Sequence[Type]) -> None:
    want_choice(node, attrs, "approximate", ("none", "tanh"))


OP = unary("Gelu", _gelu, {"approximate": "none"}, check=_check, cases=(
    *activation_cases(),
    *(Case(f"tanh_{case.name}", case.args, {"approximate": "tanh"}, case.bench) for case in activation_cases()),
))
