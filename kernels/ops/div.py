"""Div: ``a / b`` with broadcasting; integers are divided towards zero."""

from __future__ import annotations

import numpy as np

from ._elementwise import arithmetic_cases, binary


def _divide(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    if a.dtype.kind == "f":
        return np.divide(a, b)
    quotient = np.floor_divide(a, b)
    # NumPy rounds down; towards zero is one more where signs differ and something is left over.
    return quotient + ((quotient < 0) & (quotient * b != a)).astype(quotient.dtype)


OP = binary("Div", _divide, arithmetic_cases(low=0.25))
