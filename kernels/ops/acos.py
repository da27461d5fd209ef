"""Acos: the arc cosine, in radians; NaN outside of [-1, 1]."""

from __future__ import annotations

import numpy as np

from ._elementwise import unary

OP = unary("Acos", np.arccos, low=-1, high=1)
