"""CumProd: the product of all elements up to each one along an axis; integers wrap."""

from __future__ import annotations

import numpy as np

from ._cumulative import cumulative

OP = cumulative("CumProd", np.multiply, 1)
