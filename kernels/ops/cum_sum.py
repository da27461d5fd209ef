"""CumSum: the sum of all elements up to each one along an axis; integers wrap."""

from __future__ import annotations

import numpy as np

from ._cumulative import cumulative

OP = cumulative("CumSum", np.add, 0)
