"""MelWeightMatrix: triangles on the mel scale that turn a spectrum into mel bands, [dft_length / 2 + 1, bands].

``mel(f) = 2595 log10(1 + f / 700)``; each triangle is 1 at its centre and reaches to the centres of its neighbours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...formats.graph import Node
from ._cast import CODE_OF_DTYPE, cast, dtype_of
from ._check import FLOATS, INDICES, NUMBERS, need, text, want_dtype, where
from ._known import LIMIT
from ._op import Arg, Case, Op, OpError, Type

INPUTS = ("number of bands", "DFT length", "sample rate", "lower edge", "upper edge")


def _infer(node: Node, attrs: Mapping[str, Any], args: Sequence[Type | None]) -> list[Type]:
    found = [need(node, args, place, what) for place, what in enumerate(INPUTS)]
    for place, (kind, what) in enumerate(zip(found, INPUTS)):
        want_dtype(node, kind, INDICES if place < 3 else FLOATS, what)
        if kind.size != 1:
            raise OpError(f"{where(node)} has a {what} of the shape {text(kind.shape)}; it takes a scalar")
    dtype = dtype_of(where(node), attrs["output_datatype"])
    if dtype not in NUMBERS:
        raise OpError(f"{where(node)} is asked for {dtype}; it gives {', '.join(NUMBERS)}")
    bands, length = found[0].value, found[1].value
    if bands is None or length is None:
        return []
    shape = (length.item() // 2 + 1, bands.item())
    values = [kind.value for kind in found if kind.value is not None]
    known = len(values) == len(INPUTS) and shape[0] * shape[1] <= LIMIT
    return [Type(dtype, shape, _run(attrs, *values)[0] if known else None)]


def _run(attrs: Mapping[str, Any], *inputs: np.ndarray) -> tuple[np.ndarray, ...]:
    bands, length, rate = (int(value.item()) for value in inputs[:3])
    low, high = (2595 * np.log10(1 + float(value.item()) / 700) for value in inputs[3:])
    if bands < 1 or length < 1 or rate < 1:
        raise OpError(f"MelWeightMatrix is asked for {bands} bands, DFT length {length} and sample rate {rate}; they are 1 or more")
    edges = 700 * (10 ** ((low + np.arange(bands + 2) * (high - low) / (bands + 2)) / 2595) - 1)
    left, centre, right = (np.floor((length + 1) * edges[first:first + bands] / rate) for first in (0, 1, 2))
    bins = np.arange(length // 2 + 1)[:, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        rising, falling = (bins - left) / (centre - left), (right - bins) / (right - centre)
    # The centre belongs to the rising side, unless that has no width; then the falling one starts there if it has any.
    weights = np.where((left <= bins) & (bins <= centre) & (centre > left), rising, 0)
    weights = np.where((bins == centre) & (centre == left), 1, weights)
    weights = np.where((centre <= bins) & (bins < right), falling, weights)
    return (cast(weights, dtype_of("MelWeightMatrix", attrs["output_datatype"])),)


def _case(name: str, bands: int, length: int, rate: int, low: float, high: float, dtype: str = "float64") -> Case:
    args = (*(Arg((), "int64", value=value, constant=True) for value in (bands, length, rate)),
            *(Arg((), "float64", value=value, constant=True) for value in (low, high)))
    return Case(name, args, {"output_datatype": CODE_OF_DTYPE[dtype]})


OP = Op("MelWeightMatrix", {"output_datatype": CODE_OF_DTYPE["float32"]}, (5, 5), _infer, _run, (
    _case("speech", 8, 64, 16000, 0, 8000),
    _case("narrow", 40, 64, 16000, 20, 7600, "float32"),
    _case("wide", 3, 33, 8192, 100, 4096),
))
