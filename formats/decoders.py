"""The two Huffman decoders behind one face: NumPy's, which is the reference, and the native one where it was built."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any, Literal, Protocol

import numpy as np

from . import huffman
from .errors import StreamLengthError, ThinferError
from .transforms import from_tuples

_native: Any
try:
    _native = importlib.import_module("._native", __package__)
except ImportError:  # built without a compiler: NumPy decodes everything
    _native = None

DecoderName = Literal["native", "numpy"]


class Decoder(Protocol):
    """``payload`` (uint8) holds the lanes one after another, ``sizes`` are their bytes, ``lengths`` a complete code of two
    symbols or more, ``count`` the symbols. Both raise StreamLengthError if a lane is too short, too long or not filled up with zeros."""

    def symbols(self, payload: np.ndarray, sizes: Sequence[int], lengths: np.ndarray, count: int) -> np.ndarray:
        """uint16[count]"""

    def tuples(self, payload: np.ndarray, sizes: Sequence[int], lengths: np.ndarray, count: int, p: int, width: int) -> np.ndarray:
        """uint8[count * p]: the elements of symbols that are tuples of p elements of ``width`` bits."""


class NumpyDecoder:
    def symbols(self, payload: np.ndarray, sizes: Sequence[int], lengths: np.ndarray, count: int) -> np.ndarray:
        return huffman.decode(payload, sizes, lengths, count)

    def tuples(self, payload: np.ndarray, sizes: Sequence[int], lengths: np.ndarray, count: int, p: int, width: int) -> np.ndarray:
        return from_tuples(huffman.decode(payload, sizes, lengths, count), p, width)


class NativeDecoder:
    def symbols(self, payload: np.ndarray, sizes: Sequence[int], lengths: np.ndarray, count: int) -> np.ndarray:
        return _checked(*_native.symbols(payload, list(sizes), lengths, count))

    def tuples(self, payload: np.ndarray, sizes: Sequence[int], lengths: np.ndarray, count: int, p: int, width: int) -> np.ndarray:
        return _checked(*_native.tuples(payload, list(sizes), lengths, count, p, width))


def _checked(array: np.ndarray | None, problem: str) -> np.ndarray:
    if array is None or problem:
        raise StreamLengthError(problem)
    return array


def available() -> tuple[DecoderName, ...]:
    """The decoders that this installation has, best first."""
    return ("numpy",) if _native is None else ("native", "numpy")


def find(name: DecoderName | None) -> Decoder:
    """The decoder of that name; None is the best there is."""
    name = available()[0] if name is None else name
    if name not in available():
        raise ThinferError(f"there is no decoder {name!r}; this installation has {', '.join(available())}")
    return NativeDecoder() if name == "native" else NumpyDecoder()
