"""BitwiseAnd: the bits that a and b share, with broadcasting."""

from __future__ import annotations

import numpy as np

from ._check import INTEGERS
from ._elementwise import binary, pair_cases

OP = binary("BitwiseAnd", np.bitwise_and, pair_cases(("int32", "uint8", "int64"), -99, 99), dtypes=INTEGERS)
