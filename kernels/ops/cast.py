"""Cast: another dtype. Floats become integers by dropping the fraction, and are true as bool unless they are zero (``_cast.cast``)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...formats.graph import Node
from ._cast import CODE_OF_DTYPE, NARROW, cast, dtype_of, to_bits
from ._check import need, where
from ._flow import same_everywhere
from ._known import with_value
from ._op import REQUIRED, Arg, Case, Op, Type


def _infer(node: Node, attrs: Mapping[str, Any], args: Sequence[Type | None]) -> list[Type]:
    x = need(node, args, 0, "data")
    dtype = NARROW[attrs["to"]][0] if attrs["to"] in NARROW else dtype_of(where(node), attrs["to"])
    return [with_value(Type(dtype, x.shape), [x], lambda value: _run(attrs, value))]


def _run(attrs: Mapping[str, Any], x: np.ndarray) -> tuple[np.ndarray, ...]:
    if attrs["to"] in NARROW:
        return (to_bits(x, *NARROW[attrs["to"]]),)
    return (cast(x, dtype_of("Cast", attrs["to"])),)


def _case(name: str, arg: Arg, dtype: str) -> Case:
    return Case(name, (arg,), {"to": CODE_OF_DTYPE[dtype]})


# ``saturate`` and ``round_mode`` concern 8-bit floats alone, which do not exist here.
OP = Op("Cast", {"to": REQUIRED, "saturate": 1, "round_mode": "up"}, (1, 1), _infer, _run, flow=same_everywhere, cases=(
    _case("to_int64", Arg((3, 5), low=-9, high=9), "int64"),
    _case("to_uint8", Arg((3, 5), low=0, high=255), "uint8"),
    _case("to_bool", Arg((5,), value=[0, -0.5, 2, 0.25, 0]), "bool"),
    _case("to_float16", Arg((3, 5)), "float16"),
    _case("to_float64", Arg((3, 5)), "float64"),
    _case("from_int64", Arg((4,), "int64", -9, 9), "float32"),
    _case("from_bool", Arg((7,), "bool"), "float32"),
    _case("same", Arg((2, 3)), "float32"),
    _case("narrower", Arg((5,), "int32", value=[-129, 127, 128, 255, 70000]), "int8"),
    _case("unsigned", Arg((3,), "int64", value=[-1, 5, 256]), "uint16"),
    Case("mask", (Arg((1, 96, 56, 56)),), {"to": CODE_OF_DTYPE["bool"]}, bench=True),
))
