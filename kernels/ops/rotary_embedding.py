"""RotaryEmbedding: pairs of elements of each token turned by angles that depend on its place (RoPE, https://arxiv.org/abs/2104.09864).

``X`` [batch, heads, length, size] or [batch, length, heads · size]; the caches hold cosines and sines [places, turned / 2] for
``position_ids`` [batch, length], or without those [batch, length, turned / 2].
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...formats.graph import Node
from ._check import FLOATS, given, need, text, want_dtype, want_same_dtype, where
from ._dtype import widened
from ._heads import merge, split, split_shape
from ._op import Arg, Case, Op, OpError, Type


def _infer(node: Node, attrs: Mapping[str, Any], args: Sequence[Type | None]) -> list[Type]:
    x, cos, sin, places = need(node, args, 0, "data"), need(node, args, 1, "cos_cache"), need(node, args, 2, "sin_cache"), given(args, 3)
    want_dtype(node, x, FLOATS)
    want_same_dtype(node, (x, cos, sin))
    batch, _, length, size = split_shape(where(node), x.shape, attrs["num_heads"], "data")
    turned = attrs["rotary_embedding_dim"] or size
    if turned % 2 or not 0 < turned <= size:
        raise OpError(f"{where(node)} turns {turned} of {size} elements; it takes an even number up to all of them")
    if places is not None:
        want_dtype(node, places, ("int64",), "position_ids")
        if places.shape != (batch, length):
            raise OpError(f"{where(node)} has position_ids of the shape {text(places.shape)}; here it takes {batch}x{length}")
    for kind, what in ((cos, "cos_cache"), (sin, "sin_cache")):
        wanted = (batch, length, turned // 2) if places is None else (cos.shape[:1] or (0,)) + (turned // 2,)
        if kind.shape != wanted:
            raise OpError(f"{where(node)} has a {what} of the shape {text(kind.shape)}; here it takes {text(wanted)}")
    return [Type(x.dtype, x.shape)]


def _run(attrs: Mapping[str, Any], x: np.ndarray, cos: np.ndarray, sin: np.ndarray, places: np.ndarray | None = None) -> tuple[np.ndarray, ...]:
    if places is not None:
        if places.size and not -len(cos) <= places.min() <= places.max() < len(cos):
            raise OpError(f"RotaryEmbedding has position_ids from {places.min()} to {places.max()}; its caches hold {len(cos)} places")
        cos, sin = cos[places], sin[places]
    wide, cos, sin = widened(split(x, attrs["num_heads"]), cos[:, None], sin[:, None])
    turned = attrs["rotary_embedding_dim"] or wide.shape[-1]
    y = wide.copy()
    step, half = (2, 1) if attrs["interleaved"] else (1, turned // 2)
    first, second = (slice(start, turned if step == 2 else start + half, step) for start in (0, half))
    y[..., first] = cos * wide[..., first] - sin * wide[..., second]
    y[..., second] = sin * wide[..., first] + cos * wide[..., second]
    return ((merge(y) if x.ndim == 3 else y).astype(x.dtype, copy=False),)


def _case(name: str, x: tuple[int, ...], cache: tuple[int, ...], places: Sequence[Sequence[int]] | None = None, bench: bool = False,
          **attrs: Any) -> Case:
    ids = () if places is None else (Arg(np.shape(places), "int64", value=places),)
    return Case(name, (Arg(x), Arg(cache), Arg(cache), *ids), attrs, bench)


OP = Op("RotaryEmbedding", {"interleaved": 0, "num_heads": None, "rotary_embedding_dim": 0}, (3, 4), _infer, _run, cases=(
    _case("heads", (2, 3, 4, 8), (2, 4, 4)),
    _case("packed", (2, 4, 24), (2, 4, 4), num_heads=3),
    _case("places", (2, 3, 4, 8), (9, 4), [[0, 1, 2, 3], [8, 5, 5, 0]]),
    _case("interleaved", (2, 3, 4, 8), (2, 4, 4), interleaved=1),
    _case("partly", (2, 3, 4, 8), (2, 4, 2), rotary_embedding_dim=4),
    _case("partly_interleaved_packed", (2, 4, 24), (7, 3), [[0, 1, 2, 3], [3, 4, 5, 6]], rotary_embedding_dim=6, interleaved=1, num_heads=3),
    _case("sentence", (1, 12, 64, 32), (1, 64, 16), bench=True),
))
