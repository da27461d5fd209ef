"""Xor: whether just one of a and b is true, with broadcasting."""

from __future__ import annotations

import numpy as np

from ._elementwise import binary, pair_cases

OP = binary("Xor", np.logical_xor, pair_cases(("bool",)), dtypes=("bool",))
