"""Tanh: the hyperbolic tangent."""

from __future__ import annotations

import numpy as np

from ._elementwise import activation_cases, unary

OP = unary("Tanh", np.tanh, cases=activation_cases())
