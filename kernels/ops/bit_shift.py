"""BitShift: a with its bits moved by b places, with broadcasting."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...formats.graph import Node
from ._check import INTEGERS, want_choice
from ._elementwise import binary, pair_cases
from ._op import REQUIRED, Arg, Case, Type


def _shift(a: np.ndarray, b: np.ndarray, direction: str) -> np.ndarray:
    """NumPy's shifts: by a negative number of places or by all of them leave copies of the sign bit to the right, zeros to the left."""
    return np.asarray(np.left_shift(a, b) if direction == "LEFT" else np.right_shift(a, b))


def _check(node: Node, attrs: Mapping[str, Any], kinds: Sequence[Type]) -> None:
    want_choice(node, attrs, "direction", ("LEFT", "RIGHT"))


def _cases(direction: str) -> tuple[Case, ...]:
    signed = (Arg((6,), "int8", value=[-128, -7, -1, 5, 64, 127]), Arg((5, 1), "int8", value=[[0], [1], [7], [8], [-1]]))
    return (Case(f"{direction.lower()}_int8", signed, {"direction": direction}),
            *(Case(f"{direction.lower()}_{case.name}", case.args, case.attrs)
              for case in pair_cases(("uint8", "uint64", "int32"), -99, 99, second=(0, 40), attrs={"direction": direction})))


OP = binary("BitShift", _shift, (*_cases("LEFT"), *_cases("RIGHT")), attributes={"direction": REQUIRED}, dtypes=INTEGERS, check=_check)
