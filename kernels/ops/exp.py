"""Exp: ``eˣ``."""

from __future__ import annotations

import numpy as np

from ._elementwise import unary

OP = unary("Exp", np.exp)
