"""Softsign: ``x / (1 + |x|)``."""

from __future__ import annotations

import numpy as np

from ._elementwise import activation_cases, unary

OP = unary("Softsign", lambda x: x / (1 + np.abs(x)), cases=activation_cases())
