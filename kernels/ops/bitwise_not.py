"""BitwiseNot: every bit the other way round."""

from __future__ import annotations

import numpy as np

from ._check import INTEGERS
from ._elementwise import unary

OP = unary("BitwiseNot", np.invert, dtypes=INTEGERS)
