"""Mish: ``x · tanh(log(1 + exp(x)))`` (Misra 2019)."""

from __future__ import annotations

import numpy as np

from ._elementwise import activation_cases, unary
from ._maths import softplus

OP = unary("Mish", lambda x: x * np.tanh(softplus(x)), cases=activation_cases())
