"""Ceil: the least integer that is not below x."""

from __future__ import annotations

import numpy as np

from ._elementwise import unary

OP = unary("Ceil", np.ceil)
