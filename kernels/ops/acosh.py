"""Acosh: the inverse hyperbolic cosine; NaN below 1."""

from __future__ import annotations

import numpy as np

from ._elementwise import unary

OP = unary("Acosh", np.arccosh, low=1, high=9)
