"""Max: the largest of any number of operands, with broadcasting; NaN where one is NaN."""

from __future__ import annotations

import numpy as np

from ._check import NUMBERS
from ._elementwise import variadic

OP = variadic("Max", np.maximum, NUMBERS)
