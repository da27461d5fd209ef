"""Identity: ``x``."""

from __future__ import annotations

from ...formats.graph import DTYPES
from ._elementwise import unary
from ._op import Arg, Case

OP = unary("Identity", lambda x: x, dtypes=DTYPES, cases=(
    Case("image", (Arg((2, 3, 5)),)),
    Case("int64", (Arg((4,), "int64", -5, 5),)),
    Case("bool", (Arg((4,), "bool"),)),
    Case("scalar", (Arg(),)),
))
