"""Swish: ``x / (1 + exp(-alpha · x))`` (Ramachandran et al. 2017); SiLU where alpha is 1."""

from __future__ import annotations

from ._elementwise import activation_cases, unary
from ._maths import swish
from ._op import Arg, Case

OP = unary("Swish", swish, {"alpha": 1.0}, cases=(
    *activation_cases(), Case("double", (Arg((2, 9), low=-5, high=5),), {"alpha": 2.0})))
