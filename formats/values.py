"""How the held values of a weight are represented: as they are, or as small integers (*symbols*) and what these stand for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar

import numpy as np

from .record import dataclass, replace
from .structures import View, absent

ENTRY_DTYPES = ("float32", "float16", "int8")
_Self = TypeVar("_Self", bound="Symbols")


@dataclass(frozen=True, eq=False)
class Held:
    """The positions that hold a value. ``kept``: bool[size] in row-major order, None for all."""

    view: View
    kept: np.ndarray | None = None

    def spread(self, rows: np.ndarray) -> np.ndarray:
        """[held] in row-major order of their positions: what broadcasts to the 2-D view, where values are held."""
        flat = self.view.flat(rows)
        return flat if self.kept is None else flat[self.kept]


@dataclass(frozen=True, eq=False)
class Plain:
    """Values as they are. ``data``: 1-D, one element per held position; float16 here may stand for a float32 tensor."""

    data: np.ndarray
    nbytes_tables = 0

    @property
    def count(self) -> int:
        return self.data.size

    @property
    def name(self) -> str:
        return self.data.dtype.name

    def decode(self, held: Held) -> np.ndarray:
        """[held]: the values."""
        return self.data

    def outline(self) -> Plain:
        return Plain(absent(self.data.size, self.data.dtype.name))

    def problems(self, view: View) -> Iterator[str]:
        if self.data.ndim != 1:
            yield f"values of shape {self.data.shape}, which should be one-dimensional"


class Symbols:
    """Values that are integers below ``alphabet``, of ``bits`` bits, in the field that ``FIELD`` names: uint8[held], in row-major order
    of their positions. Subclasses say what they stand for."""

    FIELD = ""
    bits: int
    scale: np.ndarray | None

    @property
    def symbols(self) -> np.ndarray:
        found: np.ndarray = getattr(self, self.FIELD)
        return found

    def with_symbols(self: _Self, symbols: np.ndarray) -> _Self:
        """The same tables with other symbols."""
        return replace(self, **{self.FIELD: symbols})  # type: ignore[type-var]

    @property
    def count(self) -> int:
        """How many values there are."""
        return self.symbols.size

    @property
    def alphabet(self) -> int:
        raise NotImplementedError

    @property
    def name(self) -> str:
        """The kind and its bits, as reports show it."""
        raise NotImplementedError

    @property
    def nbytes_tables(self) -> int:
        """Bytes of what symbols stand for: scales, zero points, codebook."""
        return 0 if self.scale is None else self.scale.nbytes

    def decode(self, held: Held) -> np.ndarray:
        """float32[held]: the values."""
        raise NotImplementedError

    def outline(self: _Self) -> _Self:
        """As it is, but with symbols that are all zero and take no memory."""
        return self.with_symbols(absent(self.count, "uint8"))

    def problems(self, view: View) -> Iterator[str]:
        """What is wrong with it for a tensor of that view, as the end of a sentence that begins with "has"."""
        symbols = self.symbols
        yield from self.table_problems(view)
        if symbols.dtype != np.uint8 or symbols.ndim != 1:
            yield f"{self.FIELD} of {symbols.dtype.name} in {symbols.ndim} dimensions, which should be one-dimensional uint8"
        elif self.alphabet < 256 and symbols.size and int(symbols.max()) >= self.alphabet:
            yield f"the symbol {int(symbols.max())} among its {self.FIELD}, which must be below {self.alphabet}"

    def table_problems(self, view: View) -> Iterator[str]:
        """What is wrong with scales and tables."""
        if self.scale is not None and self.scale.shape != (view.channels,):
            yield f"{self.scale.size} scales for {view.channels} channels"
        elif self.scale is not None and self.scale.dtype != np.float32:
            yield f"scales of dtype {self.scale.dtype.name}, which should be float32"


@dataclass(frozen=True, eq=False)
class Codebook(Symbols):
    """Each value is an index into a learned table.

    ``indices``: uint8[held], unpacked, each below ``entries.shape[1]``. ``bits``: 1 to 8, the width of an index.
    ``entries``: float32, float16 or int8 [groups, at most 2**bits]; the channels of the tensor's ``axis`` are split into
    ``groups`` runs of ``ceil(channels / groups)`` (the last may be shorter), and each run has its own row of the table.
    ``scale``: float32[channels] or None; a value is ``entries[group, index] * scale[channel]``.
    """

    FIELD = "indices"
    indices: np.ndarray
    bits: int
    entries: np.ndarray
    scale: np.ndarray | None = None

    @property
    def alphabet(self) -> int:
        return self.entries.shape[1] if self.entries.ndim == 2 else 0

    @property
    def name(self) -> str:
        return f"codebook{self.bits}"

    @property
    def nbytes_tables(self) -> int:
        return self.entries.nbytes + super().nbytes_tables

    def group_of_channel(self, channels: int) -> np.ndarray:
        """int64[channels]: the row of the table that each channel uses."""
        return np.arange(channels) // max(-(-channels // self.entries.shape[0]), 1)

    def decode(self, held: Held) -> np.ndarray:
        entries = self.entries.astype(np.float32)
        if len(entries) == 1:
            out = entries[0][self.indices]
        else:
            out = entries[held.spread(self.group_of_channel(held.view.channels)[:, None]), self.indices]
        return out if self.scale is None else out * held.spread(self.scale[:, None])

    def table_problems(self, view: View) -> Iterator[str]:
        entries = self.entries
        if entries.ndim != 2 or not 1 <= self.bits <= 8 or not 1 <= entries.shape[1] <= 2 ** self.bits:
            yield f"a codebook of shape {entries.shape} for {self.bits}-bit indices"
        elif not 1 <= entries.shape[0] <= max(view.channels, 1):
            yield f"{entries.shape[0]} codebook groups for {view.channels} channels"
        if entries.dtype.name not in ENTRY_DTYPES:
            yield f"a codebook of {entries.dtype.name}, which should be one of {', '.join(ENTRY_DTYPES)}"
        yield from super().table_problems(view)


@dataclass(frozen=True, eq=False)
class Affine(Symbols):
    """Each value is ``(code - zero_point) * scale``, in float32: the codes lie on a grid.

    ``codes``: uint8[held], below ``2**bits``; ``bits``: 2 to 8. ``scale``: float32[C, B], ``zero_point``: uint8[C, B], below ``2**bits``,
    or None for ``2**(bits - 1)`` everywhere. C is 1 or the number of channels, B the number of runs of ``block`` inputs (the last may be
    shorter): [1, 1] is one grid for the tensor, [channels, 1] one per channel, [channels, B] one per block of inputs.
    """

    FIELD = "codes"
    codes: np.ndarray
    bits: int
    scale: np.ndarray
    zero_point: np.ndarray | None
    block: int

    @property
    def alphabet(self) -> int:
        return 2 ** self.bits

    @property
    def name(self) -> str:
        return f"affine{self.bits}"

    @property
    def nbytes_tables(self) -> int:
        return self.scale.nbytes + (0 if self.zero_point is None else self.zero_point.nbytes)

    def decode(self, held: Held) -> np.ndarray:
        zero: np.ndarray | np.int16 = np.int16(2 ** (self.bits - 1)) if self.zero_point is None else self._spread(self.zero_point, held)
        return (self.codes.astype(np.int16) - zero).astype(np.float32) * self._spread(self.scale, held)

    def _spread(self, table: np.ndarray, held: Held) -> np.ndarray:
        return held.spread(table.repeat(self.block, axis=1)[:, :held.view.inputs] if table.shape[1] > 1 else table)

    def table_problems(self, view: View) -> Iterator[str]:
        shape, runs = self.scale.shape, -(-view.inputs // max(self.block, 1))
        if not 2 <= self.bits <= 8:
            yield f"affine codes of {self.bits} bits, which should be 2 to 8"
        if self.block < 1 or shape not in ((1, runs), (view.channels, runs)):
            yield (f"scales of shape {shape} for blocks of {self.block} of {view.inputs} inputs, which should be [1 or {view.channels}, {runs}]")
        elif self.scale.dtype != np.float32:
            yield f"scales of dtype {self.scale.dtype.name}, which should be float32"
        zero = self.zero_point
        if zero is not None and (zero.dtype != np.uint8 or zero.shape != shape):
            yield f"zero points of {zero.dtype.name} and shape {zero.shape}, which should be uint8 and {shape}"
        elif zero is not None and zero.size and int(zero.max()) >= self.alphabet:
            yield f"the zero point {int(zero.max())}, which must be below {self.alphabet}"


@dataclass(frozen=True, eq=False)
class Binary(Symbols):
    """Each value is ``+scale[channel]`` where ``signs`` is 1 and ``-scale[channel]`` where it is 0.

    ``signs``: uint8[held] of 0 and 1. ``scale``: float32[channels].
    """

    FIELD = "signs"
    signs: np.ndarray
    scale: np.ndarray
    bits = 1
    alphabet = 2
    name = "binary"

    def decode(self, held: Held) -> np.ndarray:
        return np.where(self.signs, np.float32(1), np.float32(-1)) * held.spread(self.scale[:, None])


@dataclass(frozen=True, eq=False)
class Ternary(Symbols):
    """Each value is ``(trit - 1) * scale[channel]``: minus, zero or plus.

    ``trits``: uint8[held] of 0, 1 and 2. ``scale``: float32[channels].
    """

    FIELD = "trits"
    trits: np.ndarray
    scale: np.ndarray
    bits = 2
    alphabet = 3
    name = "ternary"

    def decode(self, held: Held) -> np.ndarray:
        return (self.trits.astype(np.float32) - np.float32(1)) * held.spread(self.scale[:, None])
