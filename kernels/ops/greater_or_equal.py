"""GreaterOrEqual: whether ``a ≥ b``, with broadcasting; never with NaN."""

from __future__ import annotations

import numpy as np

from ._elementwise import binary, comparison_cases

OP = binary("GreaterOrEqual", np.greater_equal, comparison_cases(), result="bool")
