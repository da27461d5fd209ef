"""Sigmoid: ``1 / (1 + exp(-x))``."""

from __future__ import annotations

from ._elementwise import activation_cases, unary
from ._maths import sigmoid

OP = unary("Sigmoid", sigmoid, cases=activation_cases())
