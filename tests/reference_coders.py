"""Decoders of rANS and arithmetic streams, and ideal code lengths, written from SPEC.md alone: plain Python, slow, for well-formed streams only."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, pairwise
from math import floor, log2


def frequencies(take: Callable[[int], int], alphabet: int) -> tuple[list[int], int]:
    """(frequency of each symbol, b); ``take(n)`` gives the next n bits, lowest first."""

    def ones() -> int:
        n = 0
        while take(1):
            n += 1
        return n

    m, k, b = take(2), take(3), 8 + take(3)
    weights: list[int] = []
    q = 16 * 2 ** m
    while len(weights) < alphabet:
        high = ones()
        value = high * 2 ** k + take(k)
        if value == 0:
            size = ones()
            weights += [0] * (2 ** size + take(size))
        else:
            q += -(value // 2) if value % 2 == 0 else (value - 1) // 2
            assert 0 <= q < 32 * 2 ** m
            weights.append((2 ** m + q % 2 ** m) * 2 ** (q // 2 ** m))
    total = sum(weights)
    starts = [before * 2 ** b // total for before in accumulate(weights, initial=0)]
    found = [after - before for before, after in pairwise(starts)]
    assert all((f > 0) == (w > 0) for f, w in zip(found, weights))
    return found, b


def rans(take: Callable[[int], bytes], sizes: Sequence[int], b: int, lanes: int, count: int) -> list[int]:
    """``take(n)`` gives the next n bytes."""
    owner = [s for s, f in enumerate(sizes) for _ in range(f)]
    starts = list(accumulate(sizes, initial=0))
    x = [int.from_bytes(take(4), "little") for _ in range(lanes)]
    found = []
    for i in range(count):
        lane = i % lanes
        s = owner[x[lane] % 2 ** b]
        found.append(s)
        x[lane] = sizes[s] * (x[lane] // 2 ** b) + x[lane] % 2 ** b - starts[s]
        if x[lane] < 2 ** 16:
            x[lane] = x[lane] * 2 ** 16 + int.from_bytes(take(2), "little")
    assert x == [2 ** 16] * lanes
    return found


@dataclass
class Estimate:
    e: tuple[int, int]
    values: list[int] = field(default_factory=lambda: [2 ** 21, 2 ** 21])
    n: int = 0

    def p(self) -> int:
        return min(max(sum(self.values) // 2 ** 7, 16), 65520)

    def learn(self, d: int) -> None:
        for which in (0, 1):
            rate = max(131072 // (2 * self.n + 3), 2 ** 16 // 2 ** self.e[which])
            self.values[which] += (d * 2 ** 22 - self.values[which]) * rate // 2 ** 16
        self.n = min(self.n + 1, 2 ** self.e[1] - 1)


@dataclass
class Model:
    """The probability of each decision, as an element after the other is walked through."""

    alphabet: int
    width: int
    contexts: int
    columns: Sequence[int] | None
    estimates: dict[tuple[int, int], Estimate] = field(default_factory=dict)
    mean: int = 0
    along: int = 0
    above: dict[int, int] = field(default_factory=dict)
    near: list[int] = field(default_factory=lambda: [0, 0])
    i: int = 0

    def level(self, average: int) -> int:
        return sum(average * factor > self.mean * 4 for factor in (16, 8, 4, 2, 1))

    def context(self) -> int:
        asked = [self.contexts >> bit & 1 for bit in range(3)]
        near = self.near[0] + 2 * self.near[1]
        column = 0
        if self.columns is not None:
            column = self.level(self.above[self.columns[self.i]]) if self.columns[self.i] in self.above else 2
        return (asked[0] * near * 6 + asked[1] * self.level(self.along)) * 6 + asked[2] * column

    def walk(self, decide: Callable[[int, int], int]) -> int:
        """One element. ``decide(P, place of the bit)`` gives the decision."""
        node, context = 1, self.context()
        for place in reversed(range(self.width)):
            key = (node, context if node < 32 else -1)
            estimate = self.estimates.setdefault(key, Estimate((7, 11) if self.contexts & 16 else (5, 9)))
            d = decide(estimate.p(), place)
            estimate.learn(d)
            node = 2 * node + d
        x = node - 2 ** self.width
        self.take_in((abs(2 * x - (self.alphabet - 1)) if self.contexts & 8 else x) * 2 ** 16)
        return x

    def take_in(self, activity: int) -> None:
        self.near = [int(activity > self.mean), self.near[0]]
        self.along += floor((activity - self.along) / 32)
        self.mean += (activity - self.mean) // 2 ** min(max(self.i.bit_length(), 1), 12)
        if self.columns is not None:
            before = self.above.get(self.columns[self.i], self.mean)
            self.above[self.columns[self.i]] = before + (activity - before) // 32
        self.i += 1


def arithmetic(data: bytes, count: int, alphabet: int, width: int, columns: Sequence[int] | None) -> tuple[list[int], int]:
    """(elements, bytes of the stream after its first byte). ``data``: from the byte of the contexts to the blob's end."""
    model = Model(alphabet, width, data[0] & 31, columns)
    digits = iter(data[1:] + bytes(8))
    read, v, r = 8, sum(next(digits) * 256 ** (7 - k) for k in range(8)), 2 ** 64 - 1

    def decide(p: int, _place: int) -> int:
        nonlocal read, v, r
        t = r // 2 ** 16 * p
        d = int(v < t)
        r, v = (t, v) if d else (r - t, v - t)
        if r < 2 ** 32:
            r, v, read = r * 2 ** 32, v * 2 ** 32 + sum(next(digits) * 256 ** (3 - k) for k in range(4)), read + 4
        return d

    found = [model.walk(decide) for _ in range(count)]
    return found, 1 + read - 8 + (data[0] >> 5) + 1


def ideal_bits(elements: Sequence[int], alphabet: int, width: int, contexts: int, columns: Sequence[int] | None) -> float:
    """−Σ log₂ p over all decisions, p being what the model says at that moment."""
    model, total = Model(alphabet, width, contexts, columns), 0.0
    for element in elements:
        def decide(p: int, place: int, element: int = element) -> int:
            nonlocal total
            d = element >> place & 1
            total -= log2((p if d else 65536 - p) / 65536)
            return d

        assert model.walk(decide) == element
    return total


def order0_bits(elements: Sequence[int]) -> float:
    """n times the entropy of the elements' own frequencies."""
    counts: dict[int, int] = defaultdict(int)
    for element in elements:
        counts[element] += 1
    return sum(n * log2(len(elements) / n) for n in counts.values())
