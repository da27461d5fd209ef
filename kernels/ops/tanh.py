"""Tanh: the hyperbolic tangent."""

from __future__ import annotations

import numpy as np

from ._elementwise import unary

OP = unary("Tanh", lambda x, attrs: np.tanh(x))
