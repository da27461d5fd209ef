"""Reciprocal: ``1 / x``."""

from __future__ import annotations

import numpy as np

from ._elementwise import unary

OP = unary("Reciprocal", np.reciprocal, low=0.25, high=4)
