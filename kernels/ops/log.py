"""Log: the natural logarithm; -Inf at 0, NaN below."""

from __future__ import annotations

import numpy as np

from ._elementwise import unary

OP = unary("Log", np.log, low=0.01, high=9)
