"""Cosh: the hyperbolic cosine."""

from __future__ import annotations

import numpy as np

from ._elementwise import unary

OP = unary("Cosh", np.cosh)
