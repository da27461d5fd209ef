"""Adaptive binary arithmetic coder: the reference in Python (native/arithmetic.cpp is the same in C++, and gives the same bytes).

An element is the path down a tree of bits, its highest first. Each node of the tree has an estimate of how likely a 1 is, for each
context that the elements around make: two averages of different speed (as in VVC, ITU-T H.266 §9.3.4.3), which at first are the plain
frequency of ones. The code is a fraction that lies in an interval narrowed by every bit (Rissanen 1976; carries are resolved in the
output). All in integers: SPEC.md, "Arithmetic".
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from .errors import StreamLengthError
from .places import Places

NEAR, ALONG, COLUMN, DISTANCE, STEADY = 1, 2, 4, 8, 16
"""Which neighbours make the context (near: the two elements before; along: an average of those before; column: one of those above), what
of an element counts as its activity (distance from the middle, or it), and whether estimates adapt slowly."""

_LEVELS, _DEPTH, _UNSEEN = 6, 5, -1
_NODES = 1 << _DEPTH
_NEIGHBOURHOODS = 4 * _LEVELS * _LEVELS
_MASK, _LOW = 2 ** 64 - 1, 1 << 32


class _Estimates:
    """For each context: two estimates of how likely a 1 is, in units of 2**-22, and how many decisions they have seen."""

    def __init__(self, steady: bool) -> None:
        fast, slow = (7, 11) if steady else (5, 9)
        size = _NEIGHBOURHOODS * _NODES + 256
        self.fast, self.slow, self.seen = [1 << 21] * size, [1 << 21] * size, [0] * size
        self.last = (1 << slow) - 1
        learning = [131072 // (2 * n + 3) for n in range(self.last + 1)]
        self.fast_rate = [max(rate, 65536 >> fast) for rate in learning]
        self.slow_rate = [max(rate, 65536 >> slow) for rate in learning]

    def of_one(self, at: int) -> int:
        """The probability of a 1, in units of 2**-16."""
        return min(max((self.fast[at] + self.slow[at]) >> 7, 16), 65520)

    def learn(self, at: int, bit: int) -> None:
        target, n = bit << 22, self.seen[at]
        self.fast[at] += ((target - self.fast[at]) * self.fast_rate[n]) >> 16
        self.slow[at] += ((target - self.slow[at]) * self.slow_rate[n]) >> 16
        if n < self.last:
            self.seen[at] = n + 1


class _Neighbours:
    """Averages of the elements around, and the context that they make."""

    def __init__(self, alphabet: int, contexts: int, places: Places) -> None:
        self.contexts = contexts
        has_columns = bool(contexts & COLUMN and places.row)
        self.columns = [_UNSEEN] * places.row if has_columns else []
        self.order: Iterator[int] | None = iter(places.columns.tolist()) if has_columns and places.columns is not None else None
        self.activity = [(abs(2 * x - (alphabet - 1)) if contexts & DISTANCE else x) << 16 for x in range(256)]
        self.column, self.near, self.shift, self.along, self.mean = -1, 0, 1, 0, 0

    def level(self, value: int) -> int:
        mean = self.mean
        return (4 * value > mean) + (2 * value > mean) + (value > mean) + (value > 2 * mean) + (value > 4 * mean)

    def context(self) -> int:
        """The context of the next element."""
        found = self.near if self.contexts & NEAR else 0
        found *= _LEVELS
        if self.contexts & ALONG:
            found += self.level(self.along)
        found *= _LEVELS
        if self.columns:
            self.column = (self.column + 1) % len(self.columns) if self.order is None else next(self.order)
            average = self.columns[self.column]
            found += 2 if average == _UNSEEN else self.level(average)
        return found

    def learn(self, i: int, element: int) -> None:
        """Takes in element number ``i``."""
        activity = self.activity[element]
        self.near = (self.near << 1 | (activity > self.mean)) & 3
        self.along += (activity - self.along) >> 5
        while self.shift < 12 and i >> self.shift:
            self.shift += 1
        self.mean += (activity - self.mean) >> self.shift
        if self.columns:
            before = self.mean if self.columns[self.column] == _UNSEEN else self.columns[self.column]
            self.columns[self.column] = before + ((activity - before) >> 5)


def encode(elements: np.ndarray, alphabet: int, width: int, contexts: int, places: Places) -> tuple[bytes, int]:
    """(digits of the code, how many of the last eight are kept: 1 to 5). ``elements``: uint8, below ``alphabet``."""
    estimates, neighbours = _Estimates(bool(contexts & STEADY)), _Neighbours(alphabet, contexts, places)
    out, low, span = bytearray(), 0, _MASK
    for i, element in enumerate(elements.tolist()):
        base, node = neighbours.context() * _NODES, 1
        for place in range(width - 1, -1, -1):
            at = base + node if node < _NODES else _NEIGHBOURHOODS * _NODES + node
            bit = element >> place & 1
            bound = (span >> 16) * estimates.of_one(at)
            if bit:
                span = bound
            else:
                low, span = low + bound, span - bound
                if low > _MASK:
                    low &= _MASK
                    _carry(out)
            if span < _LOW:
                out += (low >> 32).to_bytes(4, "big")
                low, span = low << 32 & _MASK, span << 32
            estimates.learn(at, bit)
            node = node << 1 | bit
        neighbours.learn(i, element)
    kept = 1
    while True:
        tail = _MASK >> 8 * kept
        rest = (low + tail & ~tail) - low  # up to the next number that ends in zeros
        if rest + tail < span:
            break
        kept += 1
    if low + rest > _MASK:
        _carry(out)
    return bytes(out) + (low + rest & _MASK).to_bytes(8, "big")[:kept], kept


def _carry(out: bytearray) -> None:
    k = len(out) - 1
    while out[k] == 255:
        out[k] = 0
        k -= 1
    out[k] += 1


def decode(payload: np.ndarray, count: int, alphabet: int, width: int, contexts: int, places: Places) -> tuple[np.ndarray, int]:
    """(uint8[count], bytes used, with those that were not kept). StreamLengthError if more digits were needed than ``payload`` and eight
    zeros, or if it begins with what no encoder gives."""
    estimates, neighbours = _Estimates(bool(contexts & STEADY)), _Neighbours(alphabet, contexts, places)
    data, used, span = payload.tobytes() + bytes(8), 8, _MASK
    value = int.from_bytes(data[:8], "big")
    if value == _MASK:
        raise StreamLengthError("the digits of an arithmetic code begin with eight that are 255")
    out, mask = bytearray(count), (1 << width) - 1
    for i in range(count):
        base, node = neighbours.context() * _NODES, 1
        for _ in range(width):
            at = base + node if node < _NODES else _NEIGHBOURHOODS * _NODES + node
            bound = (span >> 16) * estimates.of_one(at)
            if value < bound:
                bit, span = 1, bound
            else:
                bit, value, span = 0, value - bound, span - bound
            if span < _LOW:
                used += 4
                if used > len(data):
                    raise StreamLengthError(f"the digits of an arithmetic code end at element {i} of {count}")
                value, span = value << 32 | int.from_bytes(data[used - 4:used], "big"), span << 32
            estimates.learn(at, bit)
            node = node << 1 | bit
        out[i] = node & mask
        neighbours.learn(i, out[i])
    return np.frombuffer(out, np.uint8), used
