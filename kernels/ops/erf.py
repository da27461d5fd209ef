"""Erf: the error function, ``2/√π ∫ exp(-t²) dt`` from 0 to x."""

from __future__ import annotations

from ._elementwise import activation_cases, unary
from ._erf import erf

OP = unary("Erf", erf, cases=activation_cases())
