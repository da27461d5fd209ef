"""Not: the opposite of a truth value."""

from __future__ import annotations

import numpy as np

from ._elementwise import unary
from ._op import Arg, Case

OP = unary("Not", np.logical_not, dtypes=("bool",), cases=(Case("image", (Arg((2, 3, 5), "bool"),)), Case("scalar", (Arg((), "bool"),))))
