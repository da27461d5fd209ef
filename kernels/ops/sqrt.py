"""Sqrt: ``√x``; NaN for negative x."""

from __future__ import annotations

import numpy as np

from ._elementwise import unary

OP = unary("Sqrt", np.sqrt, low=0, high=9)
