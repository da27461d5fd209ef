"""Asin: the arc sine, in radians; NaN outside of [-1, 1]."""

from __future__ import annotations

import numpy as np

from ._elementwise import unary

OP = unary("Asin", np.arcsin, low=-1, high=1)
