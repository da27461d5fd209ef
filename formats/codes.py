"""The numbers of the header and blobs that name things: dtypes, attribute types, kinds of values; and the format's bounds."""

from __future__ import annotations

from functools import cache
from math import prod

import numpy as np

from .cursor import Cursor
from .errors import BooleanError, CodeError, ShapeError
from .graph import DTYPES
from .record import cached_property, dataclass
from .tensor import Coder, View

PLAIN, HALF, CODEBOOK, BINARY, AFFINE, TERNARY = range(6)
"""Kinds of values; ``HALF`` is plain in float16, though the tensor's dtype is another."""

KINDS = 6
STRUCTURES = ("dense", "sparse", "windowed", "blocks")
"""Names of structures in the order of their codes."""

INT, FLOAT, STRING, INTS, EQUAL_INTS, FLOATS, STRINGS, TENSOR, GRAPH = range(9)
"""Attribute types."""

MAX_RANK = 15
MAX_DEPTH = 16
MAX_SIZE = 2 ** 48
"""Bound of the product of a shape's non-zero dimensions, so that NumPy can always make the array's strides."""

MAX_RUN = 4095
"""The most elements that one coded symbol can stand for; it is at least one bit, so a blob stands for at most 8 * 4095 a byte."""
MIN_DROPPED = 3
"""Of the last eight digits of an arithmetic code an encoder keeps one to five."""

POSITIONS = {"dense": 1, "sparse": 1, "windowed": 64, "blocks": 16}
"""The most elements of a weight that one element of its structure's stream can stand for."""

ALIGNED_FROM = 4096
ALIGNMENT = 64


@dataclass(frozen=True)
class WeightEntry:
    """What the header says of a weight. ``offset`` is the blob's place in the file."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    axis: int
    coder: Coder
    structure: str
    kind: int
    nbytes: int
    crc: int
    offset: int = 0

    @property
    def size(self) -> int:
        return prod(self.shape)

    @cached_property
    def view(self) -> View:
        """Channels × inputs."""
        return View(self.shape, self.axis)

    @property
    def nbytes_decoded(self) -> int:
        """Bytes that decoding takes at least: a byte for each symbol and mask bit. Values as they are lie in the file."""
        if self.is_bare:
            return 0
        is_coded_plain = self.structure == "dense" and self.kind in (PLAIN, HALF)
        return self.size * (np.dtype(self.stored).itemsize if is_coded_plain else 1)

    @property
    def stored(self) -> str:
        """The dtype of plain values."""
        return "float16" if self.kind == HALF else self.dtype

    @property
    def is_bare(self) -> bool:
        """Whether the blob is nothing but the values, so that its length follows from the shape."""
        return self.coder == "raw" and self.structure == "dense" and self.kind in (PLAIN, HALF)

    @property
    def is_aligned(self) -> bool:
        return self.is_bare and self.nbytes >= ALIGNED_FROM


def most_elements(nbytes: int, structure: str) -> int:
    """How many elements a blob of these bytes can stand for."""
    return nbytes * 8 * MAX_RUN * POSITIONS[structure]


@cache
def little_endian(dtype: str) -> np.dtype:
    return np.dtype(dtype).newbyteorder("<")


def dtype_of(cursor: Cursor, code: int, what: str) -> str:
    if code >= len(DTYPES):
        cursor.fail(CodeError, f"{what} has dtype code {code}, but codes go to {len(DTYPES) - 1}")
    return DTYPES[code]


def read_dims(cursor: Cursor, rank: int, what: str) -> tuple[int, ...]:
    """``rank`` lengths; ShapeError if the product of those that are not zero exceeds MAX_SIZE."""
    shape = tuple(cursor.varint(f"a dimension of {what}") for _ in range(rank))
    if prod(dim or 1 for dim in shape) > MAX_SIZE:
        cursor.fail(ShapeError, f"{what} has the shape {shape}, but at most 2**48 elements are allowed")
    return shape


def read_array(cursor: Cursor, dtype: str, count: int, what: str) -> np.ndarray:
    """``count`` elements, native byte order, a view where that is possible; BooleanError if a boolean is neither 0 nor 1."""
    little = little_endian(dtype)
    data = cursor.take(count * little.itemsize, what)
    if dtype == "bool" and count and (most := int(np.frombuffer(data, np.uint8).max())) > 1:
        cursor.fail(BooleanError, f"{what} has a boolean {most}, but they are 0 or 1")
    array = np.frombuffer(data, little).astype(dtype, copy=False)
    return array if array.flags.aligned else array.copy()
