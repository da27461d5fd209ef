"""Elements of a small alphabet → the bytes of a stream, the smallest that the format allows (SPEC.md, "Streams")."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from . import huffman
from .arithmetic import ALONG, COLUMN, DISTANCE, NEAR, STEADY
from .bits import pack, packed_size
from .code_table import encode_lengths, table_size
from .codes import MAX_RUN
from .cursor import put_varint
from .encoders import encode_arithmetic, encode_rans
from .frequencies import Model, best_model, cost, encode_table, quick_model
from .places import NOWHERE, Places
from .record import dataclass
from .transforms import CODED_RUNS, MAX_TUPLE_BITS, RAW_RUNS, RUN, SINGLE, SPLIT, TUPLE, Transform, run_histograms, symbol_width

_SAMPLE, _SAMPLE_ROWS, _LARGEST_SAMPLE = 2 ** 16, 8, 2 ** 20
"""How many elements at the front of a stream its contexts are chosen by: so many, or so many rows, up to so many."""


_SAME_SIZE = 1000
"""Sizes that differ by less than one in so many are the same to who chooses between ways to code."""

_STATE_AND_TABLE = 6
"""Fewest bytes of rANS."""

_WORTHWHILE_SPLIT = 0.995
"""A split stream is read in three steps, so it must be so much smaller."""


@dataclass(frozen=True, eq=False)
class _Candidate:
    transform: Transform
    symbols: int
    nbytes: int
    code: np.ndarray | Model | None = None  # how often each symbol occurs, for Huffman; None: packed at fixed width


def encode_stream(elements: np.ndarray, alphabet: int, width: int, coder: str, places: Places = NOWHERE, *, may_split: bool = True) -> bytes:
    """The smallest of the ways that SPEC.md allows; with ``coder`` "raw", of those at fixed width. ``elements``: uint8."""
    if not elements.size:
        return b""
    candidates = [*_raw_candidates(elements, alphabet, width)]
    if coder == "huffman" or (coder == "rans" and candidates[0].nbytes > _STATE_AND_TABLE):
        candidates += _coded_candidates(elements, alphabet, width, coder)
    best = _write(elements, _fastest(candidates))
    if coder in ("huffman", "rans") and may_split and alphabet > 2:
        split = _split(elements, alphabet, coder)
        best = split if len(split) < _WORTHWHILE_SPLIT * len(best) else best
    if coder == "arithmetic":
        best = min(best, _arithmetic(elements, alphabet, width, places), key=len)
    return best


def _fastest(candidates: list[_Candidate]) -> _Candidate:
    """Of the smallest ones the one with the fewest symbols, since time to read goes by them."""
    smallest = min(c.nbytes for c in candidates)
    return min((c for c in candidates if c.nbytes <= smallest + smallest // _SAME_SIZE), key=lambda c: (c.symbols, c.nbytes))


def _raw_candidates(elements: np.ndarray, alphabet: int, width: int) -> Iterator[_Candidate]:
    yield _Candidate(Transform(SINGLE, width, alphabet), elements.size, packed_size(elements.size, width))
    if alphabet <= 2:
        for transform, counts in _runs(elements, RAW_RUNS):
            symbols = int(counts.sum())
            packed = packed_size(symbols, symbol_width(transform.alphabet))
            yield _Candidate(transform, symbols, _parameter_size(transform, symbols) + packed)


def _coded_candidates(elements: np.ndarray, alphabet: int, width: int, coder: str) -> list[_Candidate]:
    plain = [Transform(SINGLE, width, alphabet)]
    plain += [Transform(TUPLE, width, 2 ** (p * width), p) for p in range(2, MAX_TUPLE_BITS // width + 1)]
    histograms = [(t, np.bincount(t.apply(elements).astype(np.intp), minlength=t.alphabet)) for t in plain]
    histograms += _runs(elements, CODED_RUNS) if alphabet <= 2 else []
    every = [(transform, counts, int(counts.sum())) for transform, counts in histograms]
    found = [_huffman(*one) for one in every] if coder == "huffman" else _rans_candidates(every)
    # What a file's readers allow: rANS could do without any bytes.
    return [candidate for candidate in found if candidate.nbytes * 8 * MAX_RUN >= elements.size]


def _rans_candidates(every: list[tuple[Transform, np.ndarray, int]]) -> list[_Candidate]:
    """With the best models, but only of those ways that come near the smallest with a quick one."""
    quick = [_rans(*one, quick_model(one[1])) for one in every]
    near = 1.01 * min(candidate.nbytes for candidate in quick) + 2
    return [_rans(*one, best_model(one[1])) for one, candidate in zip(every, quick) if candidate.nbytes <= near]


def _huffman(transform: Transform, counts: np.ndarray, symbols: int) -> _Candidate:
    lengths = huffman.code_lengths(counts)
    payload, lanes = -(-int((counts * lengths).sum()) // 8), huffman.lanes_for(symbols)
    lane_cost = (lanes - 1) // 2 + lanes * _varint_size(payload // lanes)
    return _Candidate(transform, symbols, _parameter_size(transform, symbols) + table_size(lengths) + lane_cost + payload, counts)


def _rans(transform: Transform, counts: np.ndarray, symbols: int, model: Model) -> _Candidate:
    """A state is four bytes, of which the symbols fill about one."""
    nbytes = _parameter_size(transform, symbols) + 3 * huffman.lanes_for(symbols) + cost(model, counts) // 8
    return _Candidate(transform, symbols, nbytes, model)


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
    lanes = huffman.lanes_for(symbols.size) if chosen.code is not None else 1
    out.append(transform.kind | (chosen.code is not None) << 2 | (lanes.bit_length() - 1) << 3 | transform.dominant << 5)
    if transform.kind == TUPLE:
        out.append(transform.parameter)
    elif transform.kind == RUN:
        put_varint(out, transform.parameter)
        put_varint(out, symbols.size)
    if chosen.code is None:
        width = symbol_width(transform.alphabet) if transform.kind == RUN else transform.width
        return bytes(out) + pack(symbols, width).tobytes()
    if isinstance(chosen.code, Model):
        return bytes(out) + encode_table(chosen.code) + encode_rans(symbols, chosen.code.frequencies, chosen.code.bits, lanes)
    lengths = _fast_lengths(chosen.code)
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


def _split(elements: np.ndarray, alphabet: int, coder: str) -> bytes:
    """The commonest element apart: where it is not, as a stream of two kinds, and which others stand there."""
    dominant = int(np.bincount(elements.astype(np.intp), minlength=alphabet).argmax())
    is_other = elements != dominant
    others = elements[is_other]
    others = others - (others > dominant).astype(np.uint8)
    return (bytes([SPLIT, dominant]) + encode_stream(is_other.view(np.uint8), 2, 1, coder, may_split=False)
            + encode_stream(others, alphabet - 1, symbol_width(alphabet - 1), coder, may_split=False))


def _arithmetic(elements: np.ndarray, alphabet: int, width: int, places: Places) -> bytes:
    """With the contexts that make the front of the stream smallest."""
    size = min(elements.size, max(_SAMPLE, min(_SAMPLE_ROWS * places.row, _LARGEST_SAMPLE)))
    front, there = elements[:size], places.front(size)
    contexts = 0
    for choices in _choices(alphabet, places):
        contexts = min((contexts | c for c in choices), key=lambda c: len(encode_arithmetic(front, alphabet, width, c, there)[0]))
    digits, kept = encode_arithmetic(elements, alphabet, width, contexts, places)
    return bytes([SINGLE | 4, contexts | (kept - 1) << 5]) + digits


def _choices(alphabet: int, places: Places) -> Iterator[list[int]]:
    """Contexts to choose from, one after the other: the neighbours and what counts of them, then how fast estimates adapt."""
    neighbours = [a | b | c for c in ([0, COLUMN] if places.row else [0]) for b in (0, ALONG) for a in (0, NEAR)]
    yield neighbours + ([n | DISTANCE for n in neighbours if n] if alphabet > 2 else [])
    yield [0, STEADY]
