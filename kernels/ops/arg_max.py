"""ArgMax: where along an axis the largest element lies, the first such or with select_last_index the last."""

from __future__ import annotations

import numpy as np

from ._arg import arg_extreme

OP = arg_extreme("ArgMax", np.argmax)
