"""Or: ``a or b``, with broadcasting."""

from __future__ import annotations

import numpy as np

from ._elementwise import binary, pair_cases

OP = binary("Or", np.logical_or, pair_cases(("bool",)), dtypes=("bool",))
