"""Sum: the sum of any number of operands, with broadcasting."""

from __future__ import annotations

import numpy as np

from ._elementwise import variadic

OP = variadic("Sum", np.add)
