"""EncodedTensor: a weight as three independent choices, structure × values × coder.

``structure`` (``structures.py``) says which positions hold a value, ``values`` (``values.py``) how the held values are represented,
``coder`` how the writer squeezes both onto disk (in memory it has been undone). Everything here is plain NumPy; kernels repack these
arrays into the layout that they run.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Final, Literal

import numpy as np

from .record import cached_property, dataclass, field, replace
from .structures import BLOCKS, WINDOWS, Blocks, Dense, Sparse, Structure, View, Windowed, absent
from .values import ENTRY_DTYPES, Affine, Binary, Codebook, Held, Plain, Symbols, Ternary

__all__ = ["BLOCKS", "CODERS", "ENTRY_DTYPES", "LEFT_TO_THE_WRITER", "WINDOWS", "Affine", "Binary", "Blocks", "Codebook", "Coder",
           "CoderChoice", "Dense", "EncodedTensor", "Plain", "Sparse", "Structure", "Symbols", "Ternary", "Values", "View", "Windowed",
           "absent"]

Coder = Literal["raw", "huffman", "rans", "arithmetic"]
CODERS: tuple[Coder, ...] = ("raw", "huffman", "rans", "arithmetic")
"""In the order of the time that reading takes."""

CoderChoice = Coder | Literal["smallest", "auto"]
LEFT_TO_THE_WRITER: Final[Mapping[CoderChoice, float]] = {"smallest": 1.0, "auto": 1.01}
"""What a tensor's coder may be as well until it is written: the writer takes the first of ``CODERS`` whose blob has at most so many times
the bytes of the smallest one."""
Values = Plain | Codebook | Affine | Binary | Ternary


@dataclass(frozen=True, eq=False)
class EncodedTensor:
    """A constant tensor of ``shape`` and logical ``dtype``; ``axis`` is its output-channel axis (groups and scales run along it)."""

    shape: tuple[int, ...]
    dtype: str
    values: Values
    structure: Structure = field(default_factory=Dense)
    axis: int = 0
    coder: CoderChoice = "raw"

    @staticmethod
    def dense(array: np.ndarray, *, axis: int = 0, coder: CoderChoice = "raw") -> EncodedTensor:
        """The array as it is: dense structure, plain values."""
        array = np.asarray(array)
        return EncodedTensor(array.shape, array.dtype.name, Plain(np.ascontiguousarray(array).ravel()), axis=axis, coder=coder)

    @cached_property
    def view(self) -> View:
        """Channels × inputs."""
        return View(self.shape, self.axis)

    @property
    def size(self) -> int:
        """Number of positions, held or not."""
        return prod(self.shape)

    @property
    def held(self) -> int:
        """Number of positions that hold a value."""
        return self.values.count

    @property
    def channels(self) -> int:
        """Length of the output-channel axis (1 for a scalar)."""
        return self.view.channels

    @property
    def sparsity(self) -> float:
        """Fraction of positions that hold no value or hold zero."""
        if self.size == 0:
            return 0.0
        return 1.0 - int(np.count_nonzero(self.held_values())) / self.size

    @property
    def nbytes_dense(self) -> int:
        """Bytes of the tensor in its logical dtype."""
        return self.size * np.dtype(self.dtype).itemsize

    def kept(self) -> np.ndarray:
        """bool[size]: which row-major positions hold a value."""
        return self.structure.kept(self.view)

    def spread(self, rows: np.ndarray) -> np.ndarray:
        """[held] in row-major order of their positions: what broadcasts to [channels, inputs], where values are held."""
        return self._positions().spread(rows)

    def _positions(self) -> Held:
        return Held(self.view, None if isinstance(self.structure, Dense) else self.kept())

    def held_values(self) -> np.ndarray:
        """[held] in the logical dtype: the values in row-major order of their positions."""
        return self.values.decode(self._positions()).astype(self.dtype, copy=False)

    def decode(self) -> np.ndarray:
        """The whole tensor, expanded; absent positions are zero."""
        held = self.held_values()
        if isinstance(self.structure, Dense):
            return held.reshape(self.shape)
        out = np.zeros(self.size, self.dtype)
        out[self.kept()] = held
        return out.reshape(self.shape)

    def outline(self) -> EncodedTensor:
        """The tensor with its kinds, shapes and sizes, but elements that are all zero and take no memory (codebooks and scales stay)."""
        return replace(self, values=self.values.outline(), structure=self.structure.outline())

    def with_coder(self, coder: CoderChoice) -> EncodedTensor:
        return replace(self, coder=coder)
