"""Atan: the arc tangent, in radians."""

from __future__ import annotations

import numpy as np

from ._elementwise import unary

OP = unary("Atan", np.arctan)
