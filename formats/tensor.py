"""EncodedTensor: a weight as three independent choices, structure × values × coder.

``structure`` says which positions hold a value, ``values`` says how the held values are represented, ``coder`` says how
the writer squeezes both onto disk (in memory it has been undone). Everything here is plain NumPy; kernels repack these
arrays into the layout that they run.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod
from typing import Literal

import numpy as np

CODERS = ("raw", "huffman")
ENTRY_DTYPES = ("float32", "float16", "int8")
Coder = Literal["raw", "huffman"]


@dataclass(frozen=True, eq=False)
class Dense:
    """Every position of the tensor holds a value."""


@dataclass(frozen=True, eq=False)
class Sparse:
    """Only some positions hold a value; the others are absent (read as zero, never multiplied).

    ``mask``: uint8, ``ceil(size / 8)`` bytes; bit ``i % 8`` of byte ``i // 8`` (least significant first) is 1 where the
    row-major position ``i`` holds a value. Bits past the last position are 0.
    """

    mask: np.ndarray

    @staticmethod
    def of(kept: np.ndarray) -> Sparse:
        """From a boolean array of the tensor's shape."""
        return Sparse(np.packbits(np.asarray(kept, bool).ravel(), bitorder="little"))

    def kept(self, size: int) -> np.ndarray:
        """bool[size]: which row-major positions hold a value."""
        return np.unpackbits(self.mask, count=size, bitorder="little").view(bool)


@dataclass(frozen=True, eq=False)
class Plain:
    """Values as they are. ``data``: 1-D, one element per held position; float16 here may stand for a float32 tensor."""

    data: np.ndarray


@dataclass(frozen=True, eq=False)
class Codebook:
    """Each value is an index into a learned table.

    ``indices``: uint8[held], unpacked, each below ``entries.shape[1]``. ``bits``: 1 to 8, the width of an index.
    ``entries``: float32, float16 or int8 [groups, at most 2**bits]; the channels of the tensor's ``axis`` are split into
    ``groups`` runs of ``ceil(channels / groups)`` (the last may be shorter), and each run has its own row of the table.
    ``scale``: float32[channels] or None; a value is ``entries[group, index] * scale[channel]``.
    """

    indices: np.ndarray
    bits: int
    entries: np.ndarray
    scale: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class Binary:
    """Each value is ``+scale[channel]`` where ``signs`` is 1 and ``-scale[channel]`` where it is 0.

    ``signs``: uint8[held] of 0 and 1. ``scale``: float32[channels].
    """

    signs: np.ndarray
    scale: np.ndarray


def absent(size: int, dtype: str) -> np.ndarray:
    """A 1-D array of zeros that takes no memory, whatever its size."""
    return np.broadcast_to(np.zeros((), dtype), (size,))


Structure = Dense | Sparse
Values = Plain | Codebook | Binary


@dataclass(frozen=True, eq=False)
class EncodedTensor:
    """A constant tensor of ``shape`` and logical ``dtype``; ``axis`` is its output-channel axis (groups and scales run along it)."""

    shape: tuple[int, ...]
    dtype: str
    values: Values
    structure: Structure = Dense()
    axis: int = 0
    coder: Coder = "raw"

    @staticmethod
    def dense(array: np.ndarray, *, axis: int = 0, coder: Coder = "raw") -> EncodedTensor:
        """The array as it is: dense structure, plain values."""
        array = np.asarray(array)
        return EncodedTensor(array.shape, array.dtype.name, Plain(np.ascontiguousarray(array).ravel()), axis=axis, coder=coder)

    @property
    def size(self) -> int:
        """Number of positions, held or not."""
        return prod(self.shape)

    @property
    def held(self) -> int:
        """Number of positions that hold a value."""
        if isinstance(self.values, Plain):
            return self.values.data.size
        return self.values.indices.size if isinstance(self.values, Codebook) else self.values.signs.size

    @property
    def channels(self) -> int:
        """Length of the output-channel axis (1 for a scalar)."""
        return self.shape[self.axis] if self.shape else 1

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
        return np.ones(self.size, bool) if isinstance(self.structure, Dense) else self.structure.kept(self.size)

    def channel_of_held(self) -> np.ndarray:
        """int64[held]: output channel of each held value."""
        stride = prod(self.shape[self.axis + 1:])
        positions = np.arange(self.size) if isinstance(self.structure, Dense) else np.flatnonzero(self.kept())
        return positions // stride % self.channels

    def held_values(self) -> np.ndarray:
        """[held] in the logical dtype: the values in row-major order of their positions."""
        v = self.values
        if isinstance(v, Plain):
            return v.data.astype(self.dtype, copy=False)
        channel = self.channel_of_held()
        if isinstance(v, Binary):
            return (np.where(v.signs, np.float32(1), np.float32(-1)) * v.scale[channel]).astype(self.dtype, copy=False)
        per_group = -(-self.channels // v.entries.shape[0])
        out = v.entries.astype(np.float32)[channel // per_group, v.indices]
        return (out if v.scale is None else out * v.scale[channel]).astype(self.dtype, copy=False)

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
        v: Values = self.values
        if isinstance(v, Plain):
            v = Plain(absent(v.data.size, v.data.dtype.name))
        elif isinstance(v, Codebook):
            v = replace(v, indices=absent(v.indices.size, "uint8"))
        else:
            v = replace(v, signs=absent(v.signs.size, "uint8"))
        structure = Sparse(absent(self.structure.mask.size, "uint8")) if isinstance(self.structure, Sparse) else self.structure
        return replace(self, values=v, structure=structure)

    def with_coder(self, coder: Coder) -> EncodedTensor:
        return replace(self, coder=coder)
