"""Attention: ``softmax(scale · Q · Kᵀ + masks) · V`` per head, grouped queries and caches of keys and values included.

``Q`` [batch, q_heads, queries, size] or [batch, queries, q_heads · size]; ``K``, ``V`` likewise with kv_heads, which divides q_heads.
Every step rounds to the inputs' dtype, as the specification's function of single operators does; sums are taken in float32 or wider.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...formats.graph import Node
from ._attention_cases import attention_cases
from ._broadcast import broadcast
from ._cast import DTYPE_OF_CODE
from ._check import FLOATS, NUMBERS, given, need, text, want_dtype, want_same_dtype, where
from ._dtype import widened
from ._heads import merge, split, split_shape
from ._op import Op, OpError, Type
from ._softmax import softmax

ATTRIBUTES: dict[str, Any] = {"is_causal": 0, "kv_num_heads": None, "left_window_size": -1, "q_num_heads": None, "qk_matmul_output_mode": 0,
                              "right_window_size": -1, "scale": None, "softcap": 0.0, "softmax_precision": None}
RAW, CAPPED, BIASED, PROBABILITIES = range(4)
"""qk_matmul_output_mode: what the fourth output shows."""


def _infer(node: Node, attrs: Mapping[str, Any], args: Sequence[Type | None]) -> list[Type]:
    place = where(node)
    q, k, v = need(node, args, 0, "query"), need(node, args, 1, "key"), need(node, args, 2, "value")
    for kind, what in ((q, "query"), (k, "key"), (v, "value")):
        want_dtype(node, kind, FLOATS, what)
    want_same_dtype(node, (q, k, given(args, 4)))
    want_same_dtype(node, (v, given(args, 5)))
    _check_attributes(place, attrs)
    if not len(q.shape) == len(k.shape) == len(v.shape):
        raise OpError(f"{place} has inputs of the shapes {text(q.shape)}, {text(k.shape)} and {text(v.shape)}; they take the same rank")
    batch, heads, queries, size = split_shape(place, q.shape, attrs["q_num_heads"], "query")
    keys, values = (split_shape(place, kind.shape, attrs["kv_num_heads"], what) for kind, what in ((k, "key"), (v, "value")))
    past = _past(place, args, (batch, keys[1], size, values[3]))
    if keys[:3] != values[:3] or keys[0] != batch or keys[3] != size or heads % max(keys[1], 1):
        raise OpError(f"{place} has a query of {batch}x{heads}x{queries}x{size} (batch, heads, length, size), a key of {text(keys)} and a value "
                      f"of {text(values)}; batch and size go together, key and value have one length, and their heads divide the query's")
    total = past + keys[2]
    mask = given(args, 3)
    if mask is not None:
        want_dtype(node, mask, (*NUMBERS, "bool"), "attention mask")
        full = (*mask.shape[:-1], total) if mask.shape and mask.shape[-1] <= total else mask.shape
        if not mask.shape or broadcast(place, (full, (batch, heads, queries, total))) != (batch, heads, queries, total):
            raise OpError(f"{place} has an attention mask of the shape {text(mask.shape)}, which does not broadcast to "
                          f"{text((batch, heads, queries, total))}")
    y = (batch, heads, queries, values[3]) if len(q.shape) == 4 else (batch, queries, heads * values[3])
    return [Type(q.dtype, y), Type(q.dtype, (batch, keys[1], total, size)), Type(v.dtype, (batch, keys[1], total, values[3])),
            Type(q.dtype, (batch, heads, queries, total))]


def _check_attributes(place: str, attrs: Mapping[str, Any]) -> None:
    if attrs["qk_matmul_output_mode"] not in range(4):
        raise OpError(f"{place} has qk_matmul_output_mode {attrs['qk_matmul_output_mode']}; it takes 0, 1, 2 or 3")
    if attrs["softmax_precision"] not in (None, 1, 10, 11):
        raise OpError(f"{place} has softmax_precision {attrs['softmax_precision']}; it takes 1 (float32), 10 (float16) or 11 (float64)")
    for name in ("left_window_size", "right_window_size"):
        if attrs[name] < -1:
            raise OpError(f"{place} has {name} {attrs[name]}; it takes -1 (no bound), 0 or more")
    if attrs["softcap"] < 0:
        raise OpError(f"{place} has softcap {attrs['softcap']}; it takes 0 (none) or more")


def _past(place: str, args: Sequence[Type | None], sizes: tuple[int, int, int, int]) -> int:
    """How many keys were there before. ``sizes``: batch, heads of the keys, size of a key, size of a value."""
    key, value, lengths = (given(args, slot) for slot in (4, 5, 6))
    batch, heads, size, value_size = sizes
    if lengths is not None and lengths.shape != (batch,):
        raise OpError(f"{place} has a nonpad_kv_seqlen of the shape {text(lengths.shape)}; it takes one number for each of {batch} samples")
    if lengths is not None and lengths.dtype != "int64":
        raise OpError(f"{place} got {lengths.dtype} as its nonpad_kv_seqlen; it takes int64")
    if (key is None) != (value is None) or (key is not None and lengths is not None):
        raise OpError(f"{place} has past_key, past_value and nonpad_kv_seqlen; it takes the first two together, or the third alone")
    if key is None or value is None:
        return 0
    if len(key.shape) != 4 or key.shape != (batch, heads, key.shape[2], size) or value.shape != (batch, heads, key.shape[2], value_size):
        raise OpError(f"{place} has past keys of the shape {text(key.shape)} and past values of {text(value.shape)}; here they take "
                      f"{batch}x{heads}xpastx{size} and {batch}x{heads}xpastx{value_size}")
    return key.shape[2]


def _run(attrs: Mapping[str, Any], q: np.ndarray, k: np.ndarray, v: np.ndarray, mask: np.ndarray | None = None,
         past_key: np.ndarray | None = None, past_value: np.ndarray | None = None, lengths: np.ndarray | None = None) -> tuple[np.ndarray, ...]:
    packed, dtype = q.ndim == 3, q.dtype
    q, k, v = split(q, attrs["q_num_heads"]), split(k, attrs["kv_num_heads"]), split(v, attrs["kv_num_heads"])
    if past_key is not None and past_value is not None:
        k, v = np.concatenate((past_key, k), axis=2), np.concatenate((past_value, v), axis=2)
    offset = 0 if past_key is None else past_key.shape[2]
    scores = _scores(attrs, q, k)
    capped = _capped(scores, attrs["softcap"])
    allowed, added = _bias(attrs, mask, capped.shape, offset if lengths is None else lengths.reshape(-1, 1, 1, 1) - q.shape[2], lengths)
    biased = np.where(allowed, capped if added is None else capped + added.astype(dtype), dtype.type(-np.inf))
    if added is not None:
        allowed = allowed & ~np.isneginf(added)
    chances = softmax(biased.astype(DTYPE_OF_CODE[attrs["softmax_precision"]] if attrs["softmax_precision"] else dtype), -1)
    chances = np.where(allowed.any(-1, keepdims=True), chances, 0).astype(dtype)
    y = _per_key_head(chances, v).astype(dtype, copy=False)
    shown = (scores, capped, biased, chances)[attrs["qk_matmul_output_mode"]]
    return merge(y) if packed else y, k, v, shown


def _scores(attrs: Mapping[str, Any], q: np.ndarray, k: np.ndarray) -> np.ndarray:
    """[batch, q_heads, queries, keys]; each factor takes the root of the scale, so that nothing overflows between."""
    scale = attrs["scale"] if attrs["scale"] is not None else 1 / np.sqrt(q.shape[3])
    root = q.dtype.type(np.sqrt(scale))
    return _per_key_head(q * root, (k * root).swapaxes(2, 3)).astype(q.dtype, copy=False)


def _per_key_head(rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """[batch, q_heads, m, n] · [batch, kv_heads, n, p] → [batch, q_heads, m, p]: the query heads that share a key head are one product."""
    rows, columns = widened(rows, columns)
    batch, heads, length, inner = rows.shape
    shared = rows.reshape(batch, columns.shape[1], heads // columns.shape[1] * length, inner)
    return np.matmul(shared, columns).reshape(batch, heads, length, columns.shape[3])


def _capped(scores: np.ndarray, cap: float) -> np.ndarray:
    """Soft cap: ``cap · tanh(scores / cap)``."""
    if cap == 0:
        return scores
    (wide,) = widened(scores)
    return (np.tanh(wide / wide.dtype.type(cap)) * wide.dtype.type(cap)).astype(scores.dtype, copy=False)


def _bias(attrs: Mapping[str, Any], mask: np.ndarray | None, shape: tuple[int, ...], offset: int | np.ndarray,
          lengths: np.ndarray | None) -> tuple[np.ndarray, np.ndarray | None]:
    """Which keys each query may see (bool, broadcasts to ``shape``), and what is added to their scores.

    ``offset``: how many keys lie before the first query, per sample [batch, 1, 1, 1] if an array.
    """
    queries, total = shape[2:]
    place, key = offset + np.arange(queries)[:, None], np.arange(total)
    allowed = np.ones((queries, total), bool)
    if attrs["is_causal"]:
        allowed = allowed & (key <= place)
    if attrs["left_window_size"] >= 0:
        allowed = allowed & (key >= place - attrs["left_window_size"])
    if attrs["right_window_size"] >= 0:
        allowed = allowed & (key <= place + attrs["right_window_size"])
    if lengths is not None:
        allowed = allowed & (key < lengths.reshape(-1, 1, 1, 1))
    if mask is None:
        return allowed, None
    missing = [(0, 0)] * (mask.ndim - 1) + [(0, total - mask.shape[-1])]
    if mask.dtype == bool:
        return allowed & np.pad(mask, missing), None
    return allowed & np.pad(np.ones(mask.shape, bool), missing), np.pad(mask, missing)


def _macs(attrs: Mapping[str, Any], args: Sequence[Type | None], outputs: Sequence[Type]) -> int:
    """Every score takes as many as a key is long, every output as many as there are keys."""
    (batch, heads, queries, size), keys, values = (
        split_shape("Attention", kind.shape, attrs[heads_of], "input") for kind, heads_of
        in zip(args, ("q_num_heads", "kv_num_heads", "kv_num_heads")) if kind is not None)
    past = given(args, 4)
    return batch * heads * queries * (keys[2] + (past.shape[2] if past is not None else 0)) * (size + values[3])


OP = Op("Attention", ATTRIBUTES, (3, 7), _infer, _run, attention_cases(), macs=_macs)
