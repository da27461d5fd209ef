"""rANS (Duda 2013, arXiv 1311.2540): interleaved states over one sequence of words (Giesen 2014, arXiv 1402.3392); the reference in Python.

A state lies in 2**16 … 2**32 - 1. Symbol ``i`` belongs to state ``i % lanes``. The encoder goes from the last symbol to the first and
the decoder from the first to the last, so that it ends where the encoder began: each state is 2**16.
"""

from __future__ import annotations

import numpy as np

from .errors import StreamLengthError

LOW = 1 << 16
MAX_BITS = 15
_CHUNK = 1 << 16


def encode(symbols: np.ndarray, frequencies: np.ndarray, bits: int, lanes: int) -> bytes:
    """States and words. ``frequencies``: uint32[alphabet], adding up to ``2**bits``, none of an occurring symbol 0."""
    sizes = frequencies.tolist()
    starts = (np.cumsum(frequencies) - frequencies).tolist()
    states, words = [LOW] * lanes, []
    for i in range(symbols.size - 1, -1, -1):
        symbol, state = int(symbols[i]), states[i % lanes]
        size = sizes[symbol]
        if state >= size << (32 - bits):
            words.append(state & 0xFFFF)
            state >>= 16
        states[i % lanes] = (state // size << bits) + state % size + starts[symbol]
    return np.array(states, "<u4").tobytes() + np.array(words[::-1], "<u2").tobytes()


def decode(payload: np.ndarray, lanes: int, frequencies: np.ndarray, bits: int, count: int) -> tuple[np.ndarray, int]:
    """(uint16[count], bytes used of ``payload``). StreamLengthError if it ends too early, or not with the states where they began."""
    if payload.size < 4 * lanes:
        raise StreamLengthError(f"{lanes} states need {4 * lanes} bytes, but {payload.size} are left")
    states = payload[:4 * lanes].copy().view("<u4").tolist()
    if min(states) < LOW:
        raise StreamLengthError(f"a state is {min(states)}, but they are {LOW} at least")
    words = payload[4 * lanes:].copy()[:(payload.size - 4 * lanes) // 2 * 2].view("<u2")
    sizes = frequencies.astype(np.intp)
    symbol_at = np.repeat(np.arange(sizes.size), sizes).tolist()
    size_at = np.repeat(sizes, sizes).tolist()
    place_at = (np.arange(1 << bits) - np.repeat(np.cumsum(sizes) - sizes, sizes)).tolist()
    out, at, mask = np.empty(count, np.uint16), 0, (1 << bits) - 1
    for begin in range(0, count, _CHUNK):
        found: list[int] = []
        ahead = words[at:at + _CHUNK].tolist()  # a symbol takes one word at most
        taken = 0
        for i in range(begin, min(begin + _CHUNK, count)):
            state = states[i % lanes]
            slot = state & mask
            found.append(symbol_at[slot])
            state = size_at[slot] * (state >> bits) + place_at[slot]
            if state < LOW:
                if taken == len(ahead):
                    raise StreamLengthError(f"the words end at symbol {i} of {count}")
                state = state << 16 | ahead[taken]
                taken += 1
            states[i % lanes] = state
        out[begin:begin + len(found)] = found
        at += taken
    if any(state != LOW for state in states):
        raise StreamLengthError(f"the states end as {states}, but must end where they began, at {LOW}")
    return out, 4 * lanes + 2 * at

