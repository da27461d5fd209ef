"""Col2Im: the columns [N, C·k, L] of sliding blocks (of k elements, at L places) added up to the image [N, C, …] that they cover."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

import numpy as np

from ...formats.graph import Node
from ._check import need, want_dtype, want_rank, where
from ._dtype import widened
from ._flow import tie_same
from ._known import ints, known_ints
from ._op import Arg, Case, Op, OpError, Tie, Type
from ._window import Window, window


def _window(place: str, attrs: Mapping[str, Any], image: Sequence[int], block: Sequence[int], columns: Sequence[int]) -> Window:
    found = window(place, {**attrs, "auto_pad": "NOTSET"}, image, block)
    if columns[1] % prod(block) or columns[2] != prod(found.out):
        raise OpError(f"{place} has {columns[1]} rows and {columns[2]} columns; the blocks {tuple(block)} over {tuple(image)} "
                      f"take a multiple of {prod(block)} rows and {prod(found.out)} columns")
    return found


def _infer(node: Node, attrs: Mapping[str, Any], args: Sequence[Type | None]) -> list[Type]:
    x, image, block = need(node, args, 0, "columns"), need(node, args, 1, "image's shape"), need(node, args, 2, "block's shape")
    want_rank(node, x, 3, "columns'", 3)
    for kind, what in ((image, "image's shape"), (block, "block's shape")):
        want_dtype(node, kind, ("int64",), what)
    lengths, sides = ints(image), ints(block)
    if lengths is None or sides is None:
        return []
    _window(where(node), attrs, lengths, sides, x.shape)
    return [Type(x.dtype, (x.shape[0], x.shape[1] // prod(sides), *lengths))]


def _run(attrs: Mapping[str, Any], x: np.ndarray, image: np.ndarray, block: np.ndarray) -> tuple[np.ndarray, ...]:
    lengths, sides = image.tolist(), block.tolist()
    found = _window("Col2Im", attrs, lengths, sides, x.shape)
    (wide,) = widened(x)
    batch, channels = x.shape[0], x.shape[1] // prod(sides)
    columns = wide.reshape(batch, channels, prod(sides), *found.out)
    padded = found.pad(np.zeros((batch, channels, *lengths), wide.dtype), 0)
    for place, (_, covered) in enumerate(found.taps(padded)):
        covered += columns[:, :, place]
    inner: tuple[Any, ...] = tuple(slice(begin, begin + length) for begin, length in zip(found.begin, lengths))
    return (padded[(..., *inner)].astype(x.dtype, copy=False),)


def _flow(node: Node, attrs: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]], tie: Tie) -> None:
    """A channel goes with the rows of its block."""
    x, y = node.inputs[0], node.outputs[0]
    block = known_ints(shapes, node, 2)
    tie_same(tie, x, y, (0,))
    if block is not None:
        channels = shapes[y][1]
        tie((x, 1), (y, 1), np.arange(channels * prod(block)), np.repeat(np.arange(channels), prod(block)))


def _case(name: str, x: Arg, image: Sequence[int], block: Sequence[int], **attrs: Any) -> Case:
    return Case(name, (x, *(Arg((len(lengths),), "int64", value=list(lengths), constant=True) for lengths in (image, block))), attrs)


OP = Op("Col2Im", {"dilations": None, "pads": None, "strides": None}, (3, 3), _infer, _run, flow=_flow, cases=(
    _case("tiles", Arg((2, 10, 5)), (5, 5), (1, 5)),
    _case("overlapping", Arg((1, 12, 12)), (4, 5), (2, 2)),
    _case("strides", Arg((1, 9, 4)), (5, 5), (3, 3), strides=(2, 2)),
    _case("pads", Arg((1, 5, 15)), (5, 5), (1, 5), pads=(0, 1, 0, 1)),
    _case("dilations", Arg((1, 4, 5)), (6, 6), (2, 2), dilations=(1, 5)),
    _case("volume", Arg((1, 10, 12)), (3, 4, 5), (1, 1, 5)),
    _case("int32", Arg((1, 2, 4), "int32", -9, 9), (5,), (2,)),
))
