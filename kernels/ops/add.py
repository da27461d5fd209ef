"""Add: ``a + b`` with broadcasting; integers wrap."""

from __future__ import annotations

import numpy as np

from ._elementwise import arithmetic_cases, binary

OP = binary("Add", np.add, arithmetic_cases())
