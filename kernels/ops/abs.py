"""Abs: ``|x|``; the least integer stays as it is, as two's complement has it."""

from __future__ import annotations

import numpy as np

from ._check import NUMBERS
from ._elementwise import unary

OP = unary("Abs", np.abs, dtypes=NUMBERS)
