"""Cases of Attention."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ._op import Arg, Case

Q4, K4, V4 = (2, 4, 3, 8), (2, 4, 5, 8), (2, 4, 5, 6)
"""Batch, heads, length, size."""


def _case(name: str, *inputs: tuple[int, ...] | Arg | None, bench: bool = False, outputs: int = 1, **attrs: Any) -> Case:
    args = tuple(Arg(absent=True) if item is None else item if isinstance(item, Arg) else Arg(item, low=-2, high=2) for item in inputs)
    return Case(name, args, attrs, bench, outputs)


def _mask(*shape: int) -> Arg:
    return Arg(shape, "bool")


def _lengths(values: Sequence[int]) -> Arg:
    return Arg((len(values),), "int64", value=values)


def attention_cases() -> tuple[Case, ...]:
    """Both forms of inputs, grouped queries, caches, masks, windows, what the fourth output shows, one of a small transformer's size."""
    return (
        _case("plain", Q4, K4, V4),
        _case("scaled", Q4, K4, V4, scale=0.25),
        _case("causal", Q4, K4, V4, is_causal=1),
        _case("packed", (2, 3, 32), (2, 5, 32), (2, 5, 24), q_num_heads=4, kv_num_heads=4),
        _case("packed_grouped", (2, 3, 36), (2, 5, 12), (2, 5, 9), q_num_heads=9, kv_num_heads=3, is_causal=1),
        _case("grouped", (2, 6, 3, 4), (2, 2, 5, 4), (2, 2, 5, 7)),
        _case("one_key_head", (1, 4, 3, 5), (1, 1, 6, 5), (1, 1, 6, 5), is_causal=1),
        _case("softcap", Q4, K4, V4, softcap=2.0),
        _case("float_mask", Q4, K4, V4, Arg((3, 5), low=-3, high=3)),
        _case("mask_of_heads", Q4, K4, V4, Arg((4, 1, 5), low=-3, high=3)),
        _case("bool_mask", Q4, K4, V4, _mask(2, 1, 3, 5)),
        _case("bool_mask_causal", Q4, K4, V4, _mask(3, 5), is_causal=1),
        _case("fully_masked", Q4, K4, V4, Arg((3, 5), "bool", value=[[1, 0, 1, 1, 0], [0] * 5, [1] * 5])),
        _case("short_mask", Q4, K4, V4, _mask(3, 4)),
        _case("past", (2, 4, 3, 8), (2, 4, 2, 8), (2, 4, 2, 6), None, (2, 4, 7, 8), (2, 4, 7, 6), is_causal=1, outputs=3),
        _case("past_packed_grouped", (2, 3, 32), (2, 3, 16), (2, 3, 12), Arg((2, 1, 3, 7), low=-2, high=2), (2, 2, 4, 8), (2, 2, 4, 6),
              q_num_heads=4, kv_num_heads=2, outputs=3),
        _case("lengths", Q4, K4, V4, None, None, None, _lengths((3, 5)), is_causal=1),
        _case("lengths_below_queries", Q4, K4, V4, None, None, None, _lengths((1, 4)), is_causal=1),
        _case("window", (1, 2, 6, 4), (1, 2, 6, 4), (1, 2, 6, 4), left_window_size=2, right_window_size=1),
        _case("window_causal_past", (1, 2, 3, 4), (1, 2, 3, 4), (1, 2, 3, 4), None, (1, 2, 4, 4), (1, 2, 4, 4), is_causal=1,
              left_window_size=1),
        _case("shows_scores", Q4, K4, V4, _mask(3, 5), softcap=1.5, outputs=4),
        _case("shows_capped", Q4, K4, V4, Arg((3, 5)), softcap=1.5, qk_matmul_output_mode=1, outputs=4),
        _case("shows_biased", Q4, K4, V4, Arg((3, 5)), softcap=1.5, qk_matmul_output_mode=2, outputs=4),
        _case("shows_probabilities", Q4, K4, V4, _mask(3, 5), qk_matmul_output_mode=3, outputs=4),
        _case("precise_softmax", Q4, K4, V4, softmax_precision=11),
        _case("sentence", (1, 12, 64, 32), (1, 12, 64, 32), (1, 12, 64, 32), bench=True),
    )
