"""Elements of a small alphabet → the bytes of a stream, the smallest that the format allows (SPEC.md, "Streams")."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from . import huffman
from .bits import pack, packed_size
from .code_table import encode_lengths, table_size
from .cursor import put_varint
from .transforms import HUFFMAN_RUNS, MAX_TUPLE_BITS, RAW_RUNS, RUN, SINGLE, SPLIT, TUPLE, Transform, run_histograms, symbol_width


@dataclass(frozen=True, eq=False)
class _Candidate:
    transform: Transform
    symbols: int
    nbytes: int
    counts: np.ndarray | None = None  # None: packed at fixed width


def encode_stream(elements: np.ndarray, alphabet: int, width: int, coder: str, *, may_split: bool = True) -> bytes:
    """The smallest of the ways that SPEC.md allows; with ``coder`` "raw", of those at fixed width. ``elements``: uint8."""
    if not elements.size:
        return b""
    candidates = [*_raw_candidates(elements, alphabet, width)]
    if coder == "huffman":
        candidates += _huffman_candidates(elements, alphabet, width)
    best = _write(elements, min(candidates, key=lambda c: c.nbytes))
    if coder == "huffman" and may_split and alphabet > 2:
        split = _split(elements, alphabet)
        best = min(best, split, key=len)
    return best


def _raw_candidates(elements: np.ndarray, alphabet: int, width: int) -> Iterator[_Candidate]:
    yield _Candidate(Transform(SINGLE, width, alphabet), elements.size, packed_size(elements.size, width))
    if alphabet <= 2:
        for transform, counts in _runs(elements, RAW_RUNS):
            symbols = int(counts.sum())
            packed = packed_size(symbols, symbol_width(transform.alphabet))
            yield _Candidate(transform, symbols, _parameter_size(transform, symbols) + packed)


def _huffman_candidates(elements: np.ndarray, alphabet: int, width: int) -> Iterator[_Candidate]:
    plain = [Transform(SINGLE, width, alphabet)]
    plain += [Transform(TUPLE, width, 2 ** (p * width), p) for p in range(2, MAX_TUPLE_BITS // width + 1)]
    histograms = [(t, np.bincount(t.apply(elements), minlength=t.alphabet)) for t in plain]
    for transform, counts in histograms + (_runs(elements, HUFFMAN_RUNS) if alphabet <= 2 else []):
        lengths = huffman.code_lengths(counts)
        symbols, payload = int(counts.sum()), -(-int((counts * lengths).sum()) // 8)
        lanes = huffman.lanes_for(symbols)
        lane_cost = (lanes - 1) // 2 + lanes * _varint_size(payload // lanes)
        yield _Candidate(transform, symbols, _parameter_size(transform, symbols) + table_size(lengths) + lane_cost + payload, counts)


def _parameter_size(transform: Transform, symbols: int) -> int:
    if transform.kind == RUN:
        return _varint_size(transform.parameter) + _varint_size(symbols)
    return int(transform.kind == TUPLE)


def _varint_size(value: int) -> int:
    return -(-max(value.bit_length(), 1) // 7)


def _runs(elements: np.ndarray, longest: tuple[int, ...]) -> list[tuple[Transform, np.ndarray]]:
    dominant = int(2 * np.count_nonzero(elements) > elements.size)
    return [(Transform(RUN, 1, r + 1, r, dominant), counts) for r, counts in run_histograms(elements, dominant, longest)]


def _write(elements: np.ndarray, chosen: _Candidate) -> bytes:
    transform, out = chosen.transform, bytearray()
    symbols = transform.apply(elements)
    lanes = huffman.lanes_for(symbols.size) if chosen.counts is not None else 1
    out.append(transform.kind | (chosen.counts is not None) << 2 | (lanes.bit_length() - 1) << 3 | transform.dominant << 5)
    if transform.kind == TUPLE:
        out.append(transform.parameter)
    elif transform.kind == RUN:
        put_varint(out, transform.parameter)
        put_varint(out, symbols.size)
    if chosen.counts is None:
        width = symbol_width(transform.alphabet) if transform.kind == RUN else transform.width
        return bytes(out) + pack(symbols, width).tobytes()
    lengths = _fast_lengths(chosen.counts)
    parts = huffman.encode(symbols, lengths, lanes)
    out += encode_lengths(lengths)
    for part in parts:
        put_varint(out, len(part))
    return bytes(out) + b"".join(parts)


def _fast_lengths(counts: np.ndarray) -> np.ndarray:
    """The best code, or one of shorter codes that costs at most 0.1 % more: a decoder's table then fits the first-level cache."""
    best = huffman.code_lengths(counts)
    for limit in range(11, int(best.max())):
        if np.count_nonzero(counts) <= 1 << limit:
            lengths = huffman.code_lengths(counts, limit)
            if (counts * lengths).sum() <= 1.001 * (counts * best).sum():
                return lengths
    return best


def _split(elements: np.ndarray, alphabet: int) -> bytes:
    """The commonest element apart: where it is not, as a stream of two kinds, and which others stand there."""
    dominant = int(np.bincount(elements, minlength=alphabet).argmax())
    is_other = elements != dominant
    others = elements[is_other]
    others = others - (others > dominant).astype(np.uint8)
    return (bytes([SPLIT, dominant]) + encode_stream(is_other.view(np.uint8), 2, 1, "huffman", may_split=False)
            + encode_stream(others, alphabet - 1, symbol_width(alphabet - 1), "huffman", may_split=False))
