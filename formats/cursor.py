"""Reading and writing of the smallest parts: bytes, variable-length integers, floats."""

from __future__ import annotations

import math
import struct
from typing import NoReturn

from .errors import CodeError, FormatError, LimitError, TruncatedError, VarintError

MAX_VARINT = 2 ** 64 - 1


class Cursor:
    """Reads one part of a file front to back and never past its end.

    ``start`` and ``end`` are offsets into ``buffer``, which begins at the file's first byte; ``where`` names the part in messages.
    """

    __slots__ = ("buffer", "end", "position", "where")

    def __init__(self, buffer: memoryview, start: int, end: int, where: str) -> None:
        self.buffer, self.position, self.end, self.where = buffer, start, end, where

    @property
    def left(self) -> int:
        return self.end - self.position

    def fail(self, kind: type[FormatError], message: str) -> NoReturn:
        raise kind(f"{self.where}, byte {self.position} of the file: {message}")

    def take(self, count: int, what: str) -> memoryview:
        """The next ``count`` bytes; TruncatedError if there are fewer."""
        if count > self.left:
            self.fail(TruncatedError, f"{what} needs {count} bytes, but {self.left} are left")
        self.position += count
        return self.buffer[self.position - count:self.position]

    def byte(self, what: str) -> int:
        if self.position >= self.end:
            self.fail(TruncatedError, f"{what} needs 1 bytes, but 0 are left")
        self.position += 1
        return self.buffer[self.position - 1]

    def varint(self, what: str) -> int:
        """An unsigned integer below 2**64, 7 bits a byte, least significant first, in as few bytes as it can be."""
        start, value, shift = self.position, 0, 0
        if start < self.end and (byte := self.buffer[start]) < 128:  # as most are
            self.position = start + 1
            return byte
        while True:
            byte = self.byte(what)
            value |= (byte & 127) << shift
            if byte < 128:
                break
            shift += 7
            if shift > 63:
                self.position = start
                self.fail(VarintError, f"{what} is a varint of more than 10 bytes")
        if value > MAX_VARINT or (byte == 0 and shift):
            self.position = start
            self.fail(VarintError, f"{what} is a varint that " + ("exceeds 64 bits" if value > MAX_VARINT else "has needless bytes"))
        return value

    def bounded(self, what: str, least: int, most: int) -> int:
        """A varint in ``least`` … ``most``; LimitError otherwise."""
        start = self.position
        value = self.varint(what)
        if not least <= value <= most:
            self.position = start
            self.fail(LimitError, f"{what} is {value}, but must be {least} to {most}")
        return value

    def count(self, what: str) -> int:
        """A number of items that follow; each takes a byte at least, so it is bounded by the bytes that are left."""
        start = self.position
        value = self.varint(what)
        if value > self.left:
            self.position = start
            self.fail(LimitError, f"{what} is {value}, but only {self.left} bytes follow")
        return value

    def signed(self, what: str) -> int:
        """A signed 64-bit integer: 0, -1, 1, -2 … are stored as 0, 1, 2, 3 …"""
        value = self.varint(what)
        return (value >> 1) ^ -(value & 1)

    def float(self, what: str) -> float:
        """A byte that says how many bytes follow, 4 or 8, then an IEEE float of that size."""
        nbytes = self.byte(what)
        if nbytes not in (4, 8):
            self.position -= 1
            self.fail(CodeError, f"{what} is a float of {nbytes} bytes, but floats have 4 or 8")
        found: float = struct.unpack("<f" if nbytes == 4 else "<d", self.take(nbytes, what))[0]
        return found


def put_varint(out: bytearray, value: int) -> None:
    """Appends ``value`` (0 … 2**64 - 1)."""
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)


def put_signed(out: bytearray, value: int) -> None:
    """Appends ``value`` (-2**63 … 2**63 - 1)."""
    put_varint(out, value << 1 if value >= 0 else (-value << 1) - 1)


def put_float(out: bytearray, value: float) -> None:
    """Appends ``value`` as float32 where that loses nothing, else as float64. All NaN are one."""
    try:
        short = struct.pack("<f", value)
    except OverflowError:
        short = b""
    exact = math.isnan(value) or (short and struct.unpack("<f", short)[0] == value)
    out += bytes([4]) + struct.pack("<f", value) if exact else bytes([8]) + struct.pack("<d", value)
