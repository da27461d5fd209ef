"""Tan: the tangent of x in radians."""

from __future__ import annotations

import numpy as np

from ._elementwise import unary

OP = unary("Tan", np.tan, low=-1.25, high=1.25)
