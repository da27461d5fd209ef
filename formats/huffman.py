"""Length-limited canonical Huffman codes: lengths by package-merge, encoder, and the reference decoder in NumPy.

Codes are canonical as in RFC 1951 §3.2.2: in order of (length, symbol), counted up. A code is sent from its most
significant bit; bits fill each byte from the least significant. Symbol ``i`` of a stream goes to lane ``i % lanes``; each
lane is a run of whole bytes of its own, so that a decoder has several independent chains of shifts.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .bits import tail_is_zero
from .errors import StreamLengthError

MAX_LENGTH = 15
MAX_LANES = 8
_CHUNK = 1 << 15


def lanes_for(count: int) -> int:
    """How many lanes the encoder gives a stream of ``count`` symbols: each costs a few bytes, so short streams get few."""
    return 1 if count < 1 << 12 else 2 if count < 1 << 14 else 4 if count < 1 << 16 else MAX_LANES


def code_lengths(counts: np.ndarray, limit: int = MAX_LENGTH) -> np.ndarray:
    """uint8[alphabet]: lengths of the cheapest prefix code with none above ``limit``; 0 for symbols that do not occur.

    Package-merge (Larmore and Hirschberg, A fast algorithm for optimal length-limited Huffman codes, 1990). A lone symbol
    gets one bit. Ties are broken by the symbol's number, so the result depends on ``counts`` alone.
    """
    lengths = np.zeros(counts.size, np.uint8)
    used = np.flatnonzero(counts)
    if used.size <= 1:
        lengths[used] = 1
        return lengths
    if used.size > 1 << limit:
        raise ValueError(f"{used.size} symbols have no prefix code of at most {limit} bits")
    order = used[np.argsort(counts[used], kind="stable")]
    leaves = counts[order].astype(np.int64)
    items, is_leaf = leaves, [np.ones(leaves.size, bool)]
    for _ in range(limit - 1):
        packages = items[0:items.size - 1:2] + items[1::2]
        merged = np.concatenate([leaves, packages])
        rank = np.argsort(merged, kind="stable")
        items = merged[rank]
        is_leaf.append(rank < leaves.size)
    # The cheapest 2n-2 items of the last level; leaves among them are always the rarest symbols, so counting them is enough.
    take, found = 2 * leaves.size - 2, np.zeros(leaves.size, np.uint8)
    for flags in reversed(is_leaf):
        nleaves = int(np.count_nonzero(flags[:take]))
        found[:nleaves] += 1
        take = 2 * (take - nleaves)
    lengths[order] = found
    return lengths


def is_complete(lengths: np.ndarray) -> bool:
    """Whether the lengths (1 to 15, 0: no code) make a complete prefix code; a lone symbol of length 1 counts as one."""
    used = lengths[lengths > 0].astype(np.int64)
    return bool(used.size == 1 and used[0] == 1) or int((1 << (MAX_LENGTH - used)).sum()) == 1 << MAX_LENGTH


def canonical(lengths: np.ndarray) -> np.ndarray:
    """uint32[alphabet]: each symbol's code with its first bit lowest, ready to be written."""
    order = _canonical_order(lengths)
    sizes = lengths[order].astype(np.int64)
    starts = np.cumsum(1 << (MAX_LENGTH - sizes)) - (1 << (MAX_LENGTH - sizes))
    codes = np.zeros(lengths.size, np.uint32)
    codes[order] = _reverse(starts)  # the code is the upper bits of its 15-bit start, so reversing all 15 leaves it lowest
    return codes


def _canonical_order(lengths: np.ndarray) -> np.ndarray:
    used = np.flatnonzero(lengths)
    return used[np.argsort(lengths[used], kind="stable")]


def _reverse(values: np.ndarray, width: int = MAX_LENGTH) -> np.ndarray:
    out = np.zeros(values.shape, np.uint32)
    for bit in range(width):
        out |= (values.astype(np.uint32) >> np.uint32(bit) & np.uint32(1)) << np.uint32(width - 1 - bit)
    return out


def encode(symbols: np.ndarray, lengths: np.ndarray, lanes: int) -> list[bytes]:
    """The bytes of each lane."""
    codes = canonical(lengths).astype(np.uint64)
    return [_encode_lane(symbols[lane::lanes], codes, lengths) for lane in range(lanes)]


def _encode_lane(symbols: np.ndarray, codes: np.ndarray, lengths: np.ndarray) -> bytes:
    ends = np.cumsum(lengths[symbols], dtype=np.int64)
    if not ends.size:
        return b""
    starts = ends - lengths[symbols]
    value, shift, word = codes[symbols], (starts & 63).astype(np.uint64), starts >> 6
    # Every 64-bit word has a code that starts in it (codes are shorter), and only its last one can reach into the next.
    firsts = np.flatnonzero(np.diff(word, prepend=-1))
    lasts = np.append(firsts[1:], ends.size) - 1
    words = np.zeros(firsts.size + 1, np.uint64)
    words[:-1] = np.bitwise_or.reduceat(value << shift, firsts)
    spill = (shift[lasts] + lengths[symbols[lasts]]) > 64
    words[1:] |= np.where(spill, value[lasts] >> (np.uint64(64) - np.maximum(shift[lasts], np.uint64(1))), np.uint64(0))
    return words.astype("<u8").tobytes()[:-(-int(ends[-1]) // 8)]


def decode(payload: np.ndarray, sizes: Sequence[int], lengths: np.ndarray, count: int) -> np.ndarray:
    """uint16[count]: the symbols of the lanes, which have ``sizes`` bytes each and lie one after another in ``payload``.

    ``lengths`` must be a complete code of two symbols or more. StreamLengthError if a lane is too short or too long.
    """
    width = int(lengths.max())
    order = _canonical_order(lengths)
    spans = 1 << (width - lengths[order].astype(np.intp))
    window_of = _reverse(np.arange(1 << width), width)
    symbol_at = np.repeat(order, spans).astype(np.uint16)[window_of]
    length_at = np.repeat(lengths[order], spans)[window_of]
    out = np.empty(count, np.uint16)
    begin = 0
    for lane, size in enumerate(sizes):
        out[lane::len(sizes)] = _decode_lane(payload[begin:begin + size], symbol_at, length_at, -(-(count - lane) // len(sizes)))
        begin += size
    return out


def _decode_lane(data: np.ndarray, symbol_at: np.ndarray, length_at: np.ndarray, count: int) -> np.ndarray:
    """Looks up what a code would be at every bit (vectorised), then follows the chain of those that are (a short Python loop)."""
    padded = np.concatenate([data, np.zeros(3, np.uint8)]).astype(np.uint32)
    mask, eight = np.uint32(symbol_at.size - 1), np.arange(8, dtype=np.uint32)
    found: list[np.ndarray] = []
    left, place = count, 0
    for begin in range(0, data.size if count else 0, _CHUNK):
        chunk = padded[begin:begin + _CHUNK + 2]
        words = chunk[:-2] | chunk[1:-1] << np.uint32(8) | chunk[2:] << np.uint32(16)
        windows = (words[:min(_CHUNK, data.size - begin), None] >> eight & mask).ravel()
        steps = length_at[windows].tobytes()
        positions: list[int] = []
        append, at, end = positions.append, place - 8 * begin, windows.size
        while at < end:
            append(at)
            at += steps[at]
        if len(positions) > left:
            at = positions[left]
            del positions[left:]
        found.append(symbol_at[windows[positions]])
        left, place = left - len(positions), 8 * begin + at
        if left == 0:
            break
    if left or place > 8 * data.size:
        raise StreamLengthError(f"a lane of {data.size} bytes ends before its {count} symbols do")
    if -(-place // 8) != data.size or (data.size and not tail_is_zero(data, place)):
        raise StreamLengthError(f"a lane of {data.size} bytes has {count} symbols that take {place} bits, and is not filled up with zeros")
    return np.concatenate(found) if found else np.empty(0, np.uint16)
