"""Sub: ``a - b`` with broadcasting."""

from __future__ import annotations

import numpy as np

from ._elementwise import binary

OP = binary("Sub", np.subtract)
