"""Sin: the sine of x in radians."""

from __future__ import annotations

import numpy as np

from ._elementwise import unary

OP = unary("Sin", np.sin)
