"""``.thin`` file → Graph, over mmap. The header is read and checked at once, a weight when it is asked for. Nothing is trusted."""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING

from .bare import decode_bare, outline_bare
from .checksum import crc32
from .codes import WeightEntry
from .errors import (
    BlobChecksumError,
    FormatError,
    InconsistentGraphError,
    MemoryLimitError,
    PaddingError,
    ThinferError,
    TrailingDataError,
    TruncatedError,
)
from .graph import Graph, structure_problems, weight_problems
from .header_reader import parse_header
from .layout import gaps, place
from .preamble import header_place, mapped
from .record import dataclass, replace
from .tensor import EncodedTensor

if TYPE_CHECKING:
    from .blobs import Tables
    from .decoders import Decoder, DecoderName
    from .stream_reader import StreamInfo


RELEASED = 1 << 16
"""Bytes of a blob, at least, whose pages are given back once it has been read: to say so costs as much as to copy some kilobytes."""


def read(path: str | os.PathLike[str], *, decoder: DecoderName | None = None, check: bool = False) -> Graph:
    """The graph in the file. Its weights are a lazy table: each access checks the CRC-32, decodes, and keeps nothing.

    ``decoder``: who decodes Huffman codes; None takes the native one where it was built. ``check`` decodes every weight once.
    Raises FileAccessError if the file cannot be opened, a subclass of FormatError if it is not well-formed; with ``check``
    False, what is wrong inside a weight is raised when that weight is accessed. The file must not be changed in place while
    the graph is in use (``write`` replaces it as a whole, which is safe).
    """
    return from_bytes(mapped(path), decoder=decoder, check=check, origin=os.fspath(path))


def from_bytes(buffer: bytes | bytearray | memoryview | mmap.mmap, *, decoder: DecoderName | None = None, check: bool = False,
               origin: str = "") -> Graph:
    """The graph in ``buffer``, which holds a whole file; as ``read``. ``origin``: the file that errors name, also those of weights."""
    view = memoryview(buffer).toreadonly()
    graph, entries, _ = _parse(view, origin)
    table = WeightTable(view, entries, decoder, origin)
    if check:
        table.check()
    return replace(graph, weights=table)


class WeightTable(Mapping[str, EncodedTensor]):
    """Name → weight. An access decodes the weight anew and keeps nothing; it raises a FormatError if the blob is not well-formed,
    which begins with ``origin``."""

    def __init__(self, buffer: memoryview, entries: Sequence[WeightEntry], decoder: DecoderName | None, origin: str = "") -> None:
        """What decodes is imported for the first weight that needs it. Raises ThinferError if there is no such decoder."""
        self._buffer, self._origin = buffer, origin
        self._decoder: Decoder | None = None if decoder is None else _decoder(decoder)
        self._entries = {entry.name: entry for entry in entries}
        self._outlines: dict[str, EncodedTensor] = {}
        self._tables: dict[str, Tables] = {}  # that outlines have brought, so that decoding need not
        self._checked: set[str] = set()

    def __getitem__(self, name: str) -> EncodedTensor:
        return self.decode(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def entry(self, name: str) -> WeightEntry:
        """Shape, dtype, encoding and bytes of a weight, without decoding it."""
        return self._entries[name]

    @property
    def nbytes(self) -> int:
        """Bytes of all blobs: about what the weights take in RAM, at least."""
        return sum(entry.nbytes for entry in self._entries.values())

    def check(self) -> None:
        """Decodes every weight once; raises the first FormatError."""
        for name in self:
            self.decode(name)

    def outline(self, name: str) -> EncodedTensor:
        """The weight with its kinds, shapes and number of held values, but elements that are all zero and take no memory.

        Of values as they are the header says all of it. Another dense weight's tables are decoded, a sparse weight is, once, to count what it holds;
        that raises as ``[name]``.
        """
        found = self._outlines.get(name)
        if found is None:
            entry = self._entries[name]
            if entry.is_bare:
                found = outline_bare(entry)
            elif entry.structure != "dense":
                found = self.decode(name).outline()
            else:
                from .blobs import outline_blob

                try:
                    found, self._tables[name] = outline_blob(self._checked_entry(name), self._buffer, self._decodes())
                except (FormatError, MemoryLimitError) as error:
                    raise of_file(self._origin, error) from None
            self._outlines[name] = found
        return found

    def _decodes(self) -> Decoder:
        """Who decodes."""
        if self._decoder is None:
            self._decoder = _decoder(None)
        return self._decoder

    def _checked_entry(self, name: str) -> WeightEntry:
        """The entry, once the blob's CRC-32 has been found right (a blob is summed once)."""
        entry = self._entries[name]
        if name in self._checked:
            return entry
        if entry.nbytes_decoded > memory():
            raise MemoryLimitError(f"weight {name!r} has {entry.size} elements, which take {entry.nbytes_decoded} bytes to decode, but this machine "
                                   f"has {memory()} bytes of memory")
        crc = crc32(self._buffer[entry.offset:entry.offset + entry.nbytes])
        if crc != entry.crc:
            raise BlobChecksumError(f"weight {name!r}, bytes {entry.offset} to {entry.offset + entry.nbytes} of the file: "
                                    f"their CRC-32 is {crc:08x}, but must be {entry.crc:08x}")
        self._checked.add(name)
        return entry

    def release(self, name: str) -> None:
        """Says that the weight will not be read soon: its pages of a mapped file leave RAM (an access brings them back)."""
        mapped, entry = self._buffer.obj, self._entries[name]
        first = -(-entry.offset // mmap.PAGESIZE) * mmap.PAGESIZE
        length = (entry.offset + entry.nbytes) // mmap.PAGESIZE * mmap.PAGESIZE - first
        if isinstance(mapped, mmap.mmap) and length >= RELEASED and hasattr(mmap, "MADV_DONTNEED"):
            mapped.madvise(mmap.MADV_DONTNEED, first, length)

    def decode(self, name: str, report: list[StreamInfo] | None = None) -> EncodedTensor:
        """As ``[name]``; ``report`` collects what was found in each stream."""
        try:
            return self._decoded(name, report)
        except (FormatError, MemoryLimitError) as error:
            raise of_file(self._origin, error) from None

    def _decoded(self, name: str, report: list[StreamInfo] | None) -> EncodedTensor:
        entry = self._checked_entry(name)
        if entry.is_bare:  # nothing in it can be wrong that the header is not
            return decode_bare(entry, self._buffer)
        from .blobs import decode_blob

        tensor = decode_blob(entry, self._buffer, self._decodes(), report, self._tables.get(name) if report is None else None)
        found = weight_problems(name, tensor)
        if found:
            raise InconsistentGraphError("; ".join(found))
        return tensor


def _decoder(name: DecoderName | None) -> Decoder:
    from . import decoders

    return decoders.find(name)


def of_file(origin: str, error: ThinferError) -> ThinferError:
    """The error, which says the file that it is of, if that is known."""
    return type(error)(f"{origin}: {error}") if origin else error


@cache
def memory() -> int:
    """Bytes of memory that the machine has; 2**40 where the system does not say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return 2 ** 40


@dataclass(frozen=True)
class WeightInfo:
    """A weight in the file: its header entry (shape, dtype, encoding, bytes) and its streams."""

    entry: WeightEntry
    streams: tuple[StreamInfo, ...]

    @property
    def entropy(self) -> float:
        """Bits of the weight if each stream took the entropy of its elements, and all else what it takes."""
        return sum(stream.element_entropy - 8 * stream.nbytes for stream in self.streams) + 8 * self.entry.nbytes


@dataclass(frozen=True)
class FileInfo:
    """Where a file's bytes are: ``nbytes`` in all, ``header`` (with magic and CRC-32), ``padding`` between blobs, ``weights``."""

    nbytes: int
    header: int
    padding: int
    weights: dict[str, WeightInfo]


def weight_sizes(path: str | os.PathLike[str]) -> dict[str, int]:
    """Weight name → bytes of its blob in the file. Nothing is decoded."""
    return {entry.name: entry.nbytes for entry in _parse(mapped(path), os.fspath(path))[1]}


def file_info(path: str | os.PathLike[str], *, decoder: DecoderName | None = None) -> FileInfo:
    """Sizes and entropies of everything in the file; decodes every weight."""
    view, origin = mapped(path), os.fspath(path)
    _, entries, start = _parse(view, origin)
    table = WeightTable(view, entries, decoder, origin)
    weights = {}
    for entry in entries:
        report: list[StreamInfo] = []
        table.decode(entry.name, report)
        weights[entry.name] = WeightInfo(entry, tuple(report))
    return FileInfo(len(view), start, len(view) - start - sum(entry.nbytes for entry in entries), weights)


def _parse(view: memoryview, origin: str) -> tuple[Graph, list[WeightEntry], int]:
    """The graph without weights, its weights placed and bounded, and where the blobs begin. Errors begin with ``origin``."""
    try:
        return _parsed(view)
    except FormatError as error:
        raise of_file(origin, error) from None


def _parsed(view: memoryview) -> tuple[Graph, list[WeightEntry], int]:
    start, end = header_place(view)
    graph, entries = parse_header(view, start, end)
    found = structure_problems(graph, frozenset(entry.name for entry in entries))
    if found:
        raise InconsistentGraphError("the graph in the file is inconsistent: " + "; ".join(found))
    placed, total = place(entries, end + 4)
    if total != len(view):
        kind, text = (TruncatedError, "ends too early") if total > len(view) else (TrailingDataError, "goes on too long")
        raise kind(f"the file {text}: it has {len(view)} bytes, but its header describes {total}")
    for begin, stop in gaps(placed, end + 4):
        if any(view[begin:stop]):
            raise PaddingError(f"bytes {begin} to {stop} of the file are padding and must be zero")
    return graph, placed, end + 4
