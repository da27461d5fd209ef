"""BitwiseXor: the bits that just one of a and b has, with broadcasting."""

from __future__ import annotations

import numpy as np

from ._check import INTEGERS
from ._elementwise import binary, pair_cases

OP = binary("BitwiseXor", np.bitwise_xor, pair_cases(("int32", "uint8", "int64"), -99, 99), dtypes=INTEGERS)
