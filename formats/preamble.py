"""How a file begins: magic, version, and a header under a CRC-32, which holds those of all weights. What tells one file from another."""

from __future__ import annotations

import mmap
import os

from .checksum import crc32
from .cursor import Cursor
from .errors import FileAccessError, HeaderChecksumError, MagicError, VersionError

MAGIC = b"THIN"
VERSION = 0
MAX_HEADER = 2 ** 24


def mapped(path: str | os.PathLike[str]) -> memoryview:
    """The file's bytes, read-only. Raises FileAccessError."""
    try:
        with open(path, "rb") as file:
            if os.fstat(file.fileno()).st_size == 0:
                return memoryview(b"")
            return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    except OSError as error:
        raise FileAccessError(f"cannot read {os.fspath(path)!r}: {error.strerror or error}") from error


def header_place(view: memoryview) -> tuple[int, int]:
    """Where the header begins and ends; checks magic, version and CRC-32, which is the four bytes behind it."""
    cursor = Cursor(view, 0, len(view), "preamble")
    magic = bytes(view[:4])
    if not magic:
        raise MagicError(f"the file is empty, but a .thin file begins with {MAGIC!r}")
    if magic != MAGIC:
        raise MagicError(f"the file begins with {magic!r}, but a .thin file begins with {MAGIC!r}")
    cursor.take(4, "the magic")
    version = cursor.byte("the version")
    if version != VERSION:
        raise VersionError(f"the file has version {version}, but this reader knows version {VERSION} alone")
    size = cursor.bounded("the length of the header", 0, MAX_HEADER)
    start = cursor.position
    cursor.take(size, "the header")
    stored = int.from_bytes(cursor.take(4, "the CRC-32 of the header"), "little")
    found = crc32(view[:start + size])
    if found != stored:
        raise HeaderChecksumError(f"bytes 0 to {start + size} of the file: their CRC-32 is {found:08x}, but must be {stored:08x}")
    return start, start + size
