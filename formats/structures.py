"""Which positions of a weight hold a value: all, any, some of each window of a row, or whole blocks.

Windows and blocks lie in the weight's 2-D view: its channels (along ``axis``) by its *inputs*, the other elements in row-major order.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

import numpy as np

from .record import cached_property, dataclass

WINDOWS = (16, 32, 64)
"""Lengths of a window of ``Windowed``."""

BLOCKS = ((1, 4), (4, 1), (4, 4))
"""Shapes of a block of ``Blocks``: channels × inputs."""


@dataclass(frozen=True)
class View:
    """The 2-D view of a tensor of ``shape`` whose output channels run along ``axis``. A scalar is 1 × 1."""

    shape: tuple[int, ...]
    axis: int = 0

    @cached_property
    def size(self) -> int:
        return prod(self.shape)

    @cached_property
    def channels(self) -> int:
        return self.shape[self.axis] if self.shape else 1

    @cached_property
    def inputs(self) -> int:
        """Elements of a channel."""
        return prod(self.shape[:self.axis]) * prod(self.shape[self.axis + 1:])

    def rows(self, flat: np.ndarray) -> np.ndarray:
        """[channels, inputs]: elements that are given in row-major order of the tensor."""
        if not self.shape:
            return flat.reshape(1, 1)
        return np.moveaxis(flat.reshape(self.shape), self.axis, 0).reshape(self.channels, self.inputs)

    def flat(self, rows: np.ndarray) -> np.ndarray:
        """[size] in row-major order of the tensor: the inverse of ``rows``, of what broadcasts to [channels, inputs]."""
        outer, inner = prod(self.shape[:self.axis]), prod(self.shape[self.axis + 1:])
        grid = np.broadcast_to(rows, (self.channels, self.inputs)).reshape(self.channels, outer, inner)
        return grid.transpose(1, 0, 2).reshape(-1)


class Structure:
    """Says which positions hold a value. ``name`` is what reports call it."""

    name = ""

    @property
    def label(self) -> str:
        """The name with its parameters."""
        return self.name

    def kept(self, view: View) -> np.ndarray:
        """bool[size]: which row-major positions hold a value."""
        raise NotImplementedError

    def held(self, view: View) -> int:
        """How many positions hold a value."""
        raise NotImplementedError

    @property
    def nbytes(self) -> int:
        """Bytes that say where values are, packed."""
        return 0

    def problems(self, view: View) -> Iterator[str]:
        """What is wrong with it for a tensor of that view; if anything is, the other methods may not be called."""
        yield from ()

    def outline(self) -> Structure:
        """As it is, but with elements that are all zero and take no memory."""
        return self


@dataclass(frozen=True, eq=False)
class Dense(Structure):
    """Every position of the tensor holds a value."""

    name = "dense"

    def kept(self, view: View) -> np.ndarray:
        return np.ones(view.size, bool)

    def held(self, view: View) -> int:
        return view.size


@dataclass(frozen=True, eq=False)
class Sparse(Structure):
    """Only some positions hold a value; the others are absent: they are zeros.

    Whether 0 · Inf arises where one meets an activation that is not finite is up to the kernels: native float32 ones leave absent
    weights out, the NumPy backend, which also runs what natively has no kernel (float16, float64), multiplies by zeros.

    ``mask``: uint8, ``ceil(size / 8)`` bytes; bit ``i % 8`` of byte ``i // 8`` (least significant first) is 1 where the
    row-major position ``i`` holds a value. Bits past the last position are 0.
    """

    name = "sparse"
    mask: np.ndarray

    @staticmethod
    def of(kept: np.ndarray) -> Sparse:
        """From a boolean array of the tensor's shape."""
        return Sparse(np.packbits(np.asarray(kept, bool).ravel(), bitorder="little"))

    def kept(self, view: View) -> np.ndarray:
        return np.unpackbits(self.mask, count=view.size, bitorder="little").view(bool)

    def held(self, view: View) -> int:
        return int(np.count_nonzero(self.kept(view)))

    @property
    def nbytes(self) -> int:
        return self.mask.nbytes

    def problems(self, view: View) -> Iterator[str]:
        yield from _mask_problems(self.mask, view.size, "positions")

    def outline(self) -> Sparse:
        return Sparse(absent(self.mask.size, "uint8"))


@dataclass(frozen=True, eq=False)
class Windowed(Structure):
    """Every window of ``m`` consecutive inputs of a channel holds ``n`` values (all of a shorter last window if it has fewer than n).

    ``positions``: uint8[held], below ``m``: places in their window, ascending, window after window, channel after channel. ``m``: 16, 32, 64.
    """

    name = "windowed"
    n: int
    m: int
    positions: np.ndarray

    @property
    def label(self) -> str:
        return f"windowed {self.n}:{self.m}"

    @staticmethod
    def of(kept: np.ndarray, n: int, m: int, axis: int = 0) -> Windowed:
        """From a boolean array of the tensor's shape, true n times in each window."""
        rows = View(kept.shape, axis).rows(np.asarray(kept, bool))
        return Windowed(n, m, (np.nonzero(rows)[1] % m).astype(np.uint8))

    def per_window(self, inputs: int) -> np.ndarray:
        """int64[windows]: how many values each window of a channel holds."""
        starts = np.arange(0, inputs, self.m)
        return np.minimum(self.n, np.minimum(self.m, inputs - starts))

    def columns(self, view: View) -> np.ndarray:
        """int64[channels, held of each]: the inputs that hold a value, ascending."""
        counts = self.per_window(view.inputs)
        starts = np.repeat(np.arange(len(counts)) * self.m, counts.astype(np.intp))
        return starts + self.positions.reshape(view.channels, len(starts))

    def kept(self, view: View) -> np.ndarray:
        if not view.size:
            return np.zeros(0, bool)
        rows = np.zeros((view.channels, view.inputs), bool)
        np.put_along_axis(rows, self.columns(view), True, axis=1)
        return view.flat(rows)

    def held(self, view: View) -> int:
        whole, rest = divmod(view.inputs, self.m)
        return view.channels * (whole * self.n + min(self.n, rest))

    @property
    def nbytes(self) -> int:
        return -(-self.positions.size * (self.m.bit_length() - 1) // 8)

    def problems(self, view: View) -> Iterator[str]:
        positions, most = self.positions, min(self.m, max(view.inputs, 1))
        if self.m not in WINDOWS or not 1 <= self.n <= self.m:
            yield f"windows of {self.n} of {self.m}, which should be of at least 1 of {', '.join(map(str, WINDOWS))}"
        elif positions.dtype != np.uint8 or positions.shape != (self.held(view),):
            yield f"{positions.size} positions in windows of {self.n} of {self.m}, which should be {self.held(view)}"
        elif positions.size and int(positions.max()) >= most:
            yield f"the position {int(positions.max())} in a window, which must be below {most}"
        elif positions.size and not self._ascend(view):
            yield "positions that do not ascend within their window, or lie past the last input"

    def _ascend(self, view: View) -> bool:
        columns = self.columns(view)
        return bool((np.diff(columns, axis=1) > 0).all()) and int(columns[:, -1].max()) < view.inputs

    def outline(self) -> Windowed:
        return Windowed(self.n, self.m, absent(self.positions.size, "uint8"))


@dataclass(frozen=True, eq=False)
class Blocks(Structure):
    """Values are held in whole blocks of ``shape`` (channels, inputs) in (1, 4), (4, 1), (4, 4); blocks at the edges are clipped.

    ``mask``: uint8, one bit for each block in row-major order of the blocks, least significant first, 1 where it is kept; bits past
    the last block are 0.
    """

    name = "blocks"
    shape: tuple[int, int]
    mask: np.ndarray

    @property
    def label(self) -> str:
        return f"blocks {self.shape[0]}x{self.shape[1]}"

    @staticmethod
    def of(kept: np.ndarray, shape: tuple[int, int]) -> Blocks:
        """From a boolean array [rows of blocks, columns of blocks]."""
        return Blocks(shape, np.packbits(np.asarray(kept, bool).ravel(), bitorder="little"))

    def grid(self, view: View) -> tuple[int, int]:
        """(rows, columns) of blocks."""
        return -(-view.channels // self.shape[0]), -(-view.inputs // self.shape[1])

    def kept_blocks(self, view: View) -> np.ndarray:
        """bool[rows, columns] of blocks."""
        grid = self.grid(view)
        return np.unpackbits(self.mask, count=prod(grid), bitorder="little").view(bool).reshape(grid)

    def kept(self, view: View) -> np.ndarray:
        r, c = self.shape
        rows = self.kept_blocks(view).repeat(r, axis=0)[:view.channels].repeat(c, axis=1)[:, :view.inputs]
        return view.flat(rows)

    def held(self, view: View) -> int:
        if not view.size:
            return 0
        heights, widths = (np.minimum(side, length - np.arange(0, length, side))
                           for side, length in zip(self.shape, (view.channels, view.inputs)))
        return int(heights @ (self.kept_blocks(view) @ widths))

    @property
    def nbytes(self) -> int:
        return self.mask.nbytes

    def problems(self, view: View) -> Iterator[str]:
        if self.shape not in BLOCKS:
            yield f"blocks of {self.shape}, which should be one of {', '.join(f'{r}x{c}' for r, c in BLOCKS)}"
        else:
            yield from _mask_problems(self.mask, prod(self.grid(view)), "blocks")

    def outline(self) -> Blocks:
        return Blocks(self.shape, absent(self.mask.size, "uint8"))


def absent(size: int, dtype: str) -> np.ndarray:
    """A 1-D array of zeros that takes no memory, whatever its size."""
    kind = np.dtype(dtype)
    return np.ndarray((size,), kind, bytes(kind.itemsize), 0, (0,))


def _mask_problems(mask: np.ndarray, count: int, what: str) -> Iterator[str]:
    if mask.dtype != np.uint8 or mask.shape != (-(-count // 8),):
        yield f"a mask of {mask.size} bytes for {count} {what}"
    elif count % 8 and int(mask[-1]) >> count % 8:
        yield "mask bits set past its last position"
