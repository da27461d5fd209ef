"""Softplus: ``log(1 + exp(x))``."""

from __future__ import annotations

from ._elementwise import activation_cases, unary
from ._maths import softplus

OP = unary("Softplus", softplus, cases=activation_cases())
