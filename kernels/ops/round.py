"""Round: the nearest integer, halves to the even one."""

from __future__ import annotations

import numpy as np

from ._elementwise import unary

OP = unary("Round", np.rint)
