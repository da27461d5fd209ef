"""Floor: the greatest integer that is not above x."""

from __future__ import annotations

import numpy as np

from ._elementwise import unary

OP = unary("Floor", np.floor)
