"""Atanh: the inverse hyperbolic tangent; infinite at -1 and 1, NaN beyond."""

from __future__ import annotations

import numpy as np

from ._elementwise import unary

OP = unary("Atanh", np.arctanh, low=-0.9, high=0.9)
