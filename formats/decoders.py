"""The decoders of entropy codes behind one face: Python's, which are the reference, and the native ones where they were built."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol

import numpy as np

from .compiled import native
from .cursor import Cursor
from .errors import StreamLengthError, ThinferError
from .places import Places

DecoderName = Literal["native", "numpy"]


class Decoder(Protocol):
    """``payload`` is uint8, ``count`` the number of symbols. All raise StreamLengthError if the code ends too early or not as it must.

    Huffman: ``payload`` holds the lanes one after another, ``sizes`` are their bytes, ``lengths`` a complete code of two symbols or more.
    rANS and arithmetic: ``payload`` is all that is left of the blob, and beside the array they return how many bytes the code took;
    ``frequencies`` (uint32) add up to ``2**bits``. An arithmetic code may have looked at up to eight bytes more than there are.
    """

    def code_lengths(self, cursor: Cursor, alphabet: int) -> np.ndarray:
        """uint8[alphabet]: the table of a Huffman code, which begins at the cursor. CodeLengthsError, PaddingError."""

    def huffman_symbols(self, payload: np.ndarray, sizes: Sequence[int], lengths: np.ndarray, count: int) -> np.ndarray:
        """uint16[count]"""

    def huffman_tuples(self, payload: np.ndarray, sizes: Sequence[int], lengths: np.ndarray, count: int, p: int, width: int) -> np.ndarray:
        """uint8[count * p]: the elements of symbols that are tuples of p elements of ``width`` bits."""

    def rans_symbols(self, payload: np.ndarray, lanes: int, frequencies: np.ndarray, bits: int, count: int) -> tuple[np.ndarray, int]:
        """uint16[count]"""

    def rans_tuples(self, payload: np.ndarray, lanes: int, frequencies: np.ndarray, bits: int, count: int, p: int,
                    width: int) -> tuple[np.ndarray, int]:
        """uint8[count * p]"""

    def arithmetic(self, payload: np.ndarray, count: int, alphabet: int, width: int, contexts: int, places: Places) -> tuple[np.ndarray, int]:
        """uint8[count]"""

    def streams(self, cursor: Cursor, coder: str, count: int, alphabet: int, width: int, planes: int) -> np.ndarray | None:
        """uint8[count * planes]: ``planes`` whole streams from the cursor on, their elements side by side. None where it reads no such streams, or
        something is wrong with them: ``StreamReader`` takes them apart then, and says what."""


class NativeDecoder:
    def streams(self, cursor: Cursor, coder: str, count: int, alphabet: int, width: int, planes: int) -> np.ndarray | None:
        if coder == "arithmetic":
            return None
        found = native.streams(np.frombuffer(cursor.buffer[cursor.position:cursor.end], np.uint8), coder, count, alphabet, width, planes)
        if found is None:
            return None
        elements: np.ndarray = found[0]
        cursor.position += found[1]
        return elements

    def code_lengths(self, cursor: Cursor, alphabet: int) -> np.ndarray:
        found = native.code_lengths(np.frombuffer(cursor.buffer[cursor.position:cursor.end], np.uint8), alphabet)
        if found is None:
            from .code_table import decode_lengths

            return decode_lengths(cursor, alphabet)  # which says what is wrong
        lengths: np.ndarray = found[0]
        cursor.take(found[1], "a table of code lengths")
        return lengths

    def huffman_symbols(self, payload: np.ndarray, sizes: Sequence[int], lengths: np.ndarray, count: int) -> np.ndarray:
        return _checked(*native.huffman_symbols(payload, list(sizes), lengths, count))

    def huffman_tuples(self, payload: np.ndarray, sizes: Sequence[int], lengths: np.ndarray, count: int, p: int, width: int) -> np.ndarray:
        return _checked(*native.huffman_tuples(payload, list(sizes), lengths, count, p, width))

    def rans_symbols(self, payload: np.ndarray, lanes: int, frequencies: np.ndarray, bits: int, count: int) -> tuple[np.ndarray, int]:
        found, used, problem = native.rans_symbols(payload, lanes, frequencies, bits, count)
        return _checked(found, problem), used

    def rans_tuples(self, payload: np.ndarray, lanes: int, frequencies: np.ndarray, bits: int, count: int, p: int,
                    width: int) -> tuple[np.ndarray, int]:
        found, used, problem = native.rans_tuples(payload, lanes, frequencies, bits, count, p, width)
        return _checked(found, problem), used

    def arithmetic(self, payload: np.ndarray, count: int, alphabet: int, width: int, contexts: int, places: Places) -> tuple[np.ndarray, int]:
        found, used, problem = native.arithmetic_decode(payload, count, alphabet, width, contexts, places.row, places.columns)
        return _checked(found, problem), used


def _checked(array: np.ndarray | None, problem: str) -> np.ndarray:
    if array is None or problem:
        raise StreamLengthError(problem)
    return array


def available() -> tuple[DecoderName, ...]:
    """The decoders that this installation has, best first."""
    return ("numpy",) if native is None else ("native", "numpy")


def find(name: DecoderName | None) -> Decoder:
    """The decoder of that name; None is the best there is."""
    name = available()[0] if name is None else name
    if name not in available():
        raise ThinferError(f"there is no decoder {name!r}; this installation has {', '.join(available())}")
    if name == "native":
        return NativeDecoder()
    from .numpy_decoder import NumpyDecoder  # imported where it is asked for: what starts a session decodes natively

    return NumpyDecoder()
