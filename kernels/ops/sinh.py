"""Sinh: the hyperbolic sine."""

from __future__ import annotations

import numpy as np

from ._elementwise import unary

OP = unary("Sinh", np.sinh)
