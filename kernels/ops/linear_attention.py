"""LinearAttention: attention as a recurrence over a state S [batch, kv_heads, key size, value size], one token after the other.

linear: ``S + k ⊗ v``; gated: ``exp(g) · S + k ⊗ v``; delta: ``S + β · k ⊗ (v - Sᵀk)``; gated_delta: both. The output of a token is
``scale · qᵀS``. The state is kept in float32 or wider.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...formats.graph import Node
from ._check import FLOATS, given, need, text, want_dtype, want_rank, want_same_dtype, where
from ._dtype import widened
from ._heads import merge, split, split_shape
from ._op import REQUIRED, Arg, Case, Op, OpError, Type

RULES = {"linear": (False, False), "gated": (True, False), "delta": (False, True), "gated_delta": (True, True)}
"""update_rule → whether it takes decay and beta."""


def _infer(node: Node, attrs: Mapping[str, Any], args: Sequence[Type | None]) -> list[Type]:
    place = where(node)
    q, k, v, past = need(node, args, 0, "query"), need(node, args, 1, "key"), need(node, args, 2, "value"), given(args, 3)
    want_dtype(node, q, FLOATS)
    want_same_dtype(node, (q, k, v, given(args, 4), given(args, 5)))
    for kind, what in ((q, "query"), (k, "key"), (v, "value")):
        want_rank(node, kind, 3, what, 3)
    if attrs["update_rule"] not in RULES:
        raise OpError(f"{place} has update_rule {attrs['update_rule']!r}; it takes {', '.join(RULES)}")
    batch, heads, length, size = split_shape(place, q.shape, attrs["q_num_heads"], "query")
    keys, values = (split_shape(place, kind.shape, attrs["kv_num_heads"], what) for kind, what in ((k, "key"), (v, "value")))
    if keys != (batch, keys[1], length, size) or values[:3] != keys[:3] or heads % keys[1]:
        raise OpError(f"{place} has a query of {batch}x{heads}x{length}x{size} (batch, heads, length, size), a key of {text(keys)} and a value "
                      f"of {text(values)}; batch, length and size go together, and the heads of key and value divide the query's")
    state = (batch, keys[1], size, values[3])
    if past is not None:
        want_dtype(node, past, FLOATS, "past_state")
        if past.shape != state:
            raise OpError(f"{place} has a past_state of the shape {text(past.shape)}; here it takes {text(state)}")
    _check_gates(place, attrs["update_rule"], given(args, 4), given(args, 5), (batch, length, keys[1], size))
    return [Type(q.dtype, (batch, length, heads * values[3])), Type(past.dtype if past is not None else q.dtype, state)]


def _check_gates(place: str, rule: str, decay: Type | None, beta: Type | None, sizes: tuple[int, int, int, int]) -> None:
    """``sizes``: batch, length, heads of the keys, size of a key."""
    batch, length, heads, size = sizes
    for kind, wanted, what, widths in ((decay, RULES[rule][0], "decay", (heads, heads * size)), (beta, RULES[rule][1], "beta", (heads, 1))):
        if (kind is not None) != wanted:
            raise OpError(f"{place} has update_rule {rule!r} {'with' if kind is not None else 'without'} {what}; "
                          f"{'that needs one' if wanted else 'that takes none'}")
        if kind is not None and kind.shape not in [(batch, length, width) for width in widths]:
            raise OpError(f"{place} has a {what} of the shape {text(kind.shape)}; here it takes "
                          f"{' or '.join(text((batch, length, width)) for width in dict.fromkeys(widths))}")


def _run(attrs: Mapping[str, Any], q: np.ndarray, k: np.ndarray, v: np.ndarray, past: np.ndarray | None = None,
         decay: np.ndarray | None = None, beta: np.ndarray | None = None) -> tuple[np.ndarray, ...]:
    heads, shared = attrs["kv_num_heads"], attrs["q_num_heads"] // attrs["kv_num_heads"]
    queries, keys, values = (split(a, count) for a, count in zip(widened(q, k, v), (attrs["q_num_heads"], heads, heads)))
    batch, _, length, size = keys.shape
    scale = keys.dtype.type(attrs["scale"] or 1 / np.sqrt(size))
    state = np.zeros((batch, heads, size, values.shape[3]), keys.dtype) if past is None else past.astype(keys.dtype)
    gates = None if decay is None else np.exp(split(widened(decay)[0], heads))
    rates = None if beta is None else widened(beta)[0].swapaxes(1, 2)
    y = np.empty((batch, attrs["q_num_heads"], length, values.shape[3]), keys.dtype)
    for t in range(length):
        key, value = keys[:, :, t], values[:, :, t]
        if gates is not None:
            state = state * gates[:, :, t, :, None]
        if rates is not None:
            value = rates[:, :, t, None] * (value - np.matmul(key[:, :, None], state)[:, :, 0])
        state = state + key[..., None] * value[:, :, None]
        asking = queries[:, :, t].reshape(batch, heads, shared, size)
        y[:, :, t] = (scale * np.matmul(asking, state)).reshape(batch, heads * shared, values.shape[3])
    return merge(y).astype(q.dtype, copy=False), state.astype(q.dtype if past is None else past.dtype, copy=False)


def _macs(attrs: Mapping[str, Any], args: Sequence[Type | None], outputs: Sequence[Type]) -> int:
    """Reading the state takes its size for each query head, writing it that for each key head, and correcting it as much again."""
    _, k, v = args[:3]
    assert k is not None
    assert v is not None
    state = k.shape[2] * v.shape[2] // attrs["kv_num_heads"]
    return k.shape[0] * k.shape[1] * state * (attrs["q_num_heads"] // attrs["kv_num_heads"] + 1 + RULES[attrs["update_rule"]][1])


def _case(name: str, rule: str, heads: int = 2, kv_heads: int = 2, *, per_key: bool = False, past: bool = False, one_rate: bool = False,
          **attrs: Any) -> Case:
    batch, length, size, value_size = 2, 4, 3, 5
    gated, corrected = RULES[rule]
    args = [Arg((batch, length, heads * size)), Arg((batch, length, kv_heads * size)), Arg((batch, length, kv_heads * value_size)),
            Arg((batch, kv_heads, size, value_size), absent=not past),
            Arg((batch, length, kv_heads * (size if per_key else 1)), low=-2, high=0, absent=not gated),
            Arg((batch, length, 1 if one_rate else kv_heads), low=0, high=1, absent=not corrected)]
    while args[-1].absent:
        args.pop()
    return Case(name, tuple(args), {"q_num_heads": heads, "kv_num_heads": kv_heads, "update_rule": rule, **attrs})


OP = Op("LinearAttention", {"chunk_size": 64, "kv_num_heads": REQUIRED, "q_num_heads": REQUIRED, "scale": 0.0, "update_rule": "gated_delta"},
        (3, 6), _infer, _run, macs=_macs, cases=(
    _case("linear", "linear"),
    _case("gated", "gated", past=True),
    _case("gated_per_key", "gated", per_key=True),
    _case("delta", "delta", past=True, scale=0.5),
    _case("delta_one_rate", "delta", one_rate=True),
    _case("gated_delta", "gated_delta", past=True),
    _case("grouped", "gated_delta", heads=6, kv_heads=2, per_key=True, past=True),
    _case("one_key_head", "linear", heads=4, kv_heads=1),
))
