"""Cos: the cosine of x in radians."""

from __future__ import annotations

import numpy as np

from ._elementwise import unary

OP = unary("Cos", np.cos)
