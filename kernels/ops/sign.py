"""Sign: -1, 0 or 1, as x is below, at or above 0; NaN stays NaN."""

from __future__ import annotations

import numpy as np

from ._check import NUMBERS
from ._elementwise import unary

OP = unary("Sign", np.sign, dtypes=NUMBERS)
