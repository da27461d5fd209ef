"""Equal: whether ``a = b``, with broadcasting; NaN equals nothing."""

from __future__ import annotations

import numpy as np

from ._check import NUMBERS
from ._elementwise import binary, comparison_cases, pair_cases

OP = binary("Equal", np.equal, (*comparison_cases(), *pair_cases(("bool",))), dtypes=(*NUMBERS, "bool"), result="bool")
