"""And: ``a and b``, with broadcasting."""

from __future__ import annotations

import numpy as np

from ._elementwise import binary, pair_cases

OP = binary("And", np.logical_and, pair_cases(("bool",)), dtypes=("bool",))
