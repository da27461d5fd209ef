"""Div: ``a / b`` with broadcasting; integers are divided towards zero."""

from __future__ import annotations

from ._elementwise import arithmetic_cases, binary
from ._maths import divide

OP = binary("Div", divide, arithmetic_cases(low=0.25))
