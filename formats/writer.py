"""Graph → ``.thin`` file. Deterministic: the same graph gives the same bytes, on any machine, with any number of threads."""

from __future__ import annotations

import os
import secrets
import zlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np

from . import codes
from .blobs import encode_blob, kind_of
from .codes import WeightEntry
from .cursor import put_varint
from .errors import FileAccessError, GraphError
from .graph import Graph, verify
from .header_writer import header_bytes
from .layout import gaps, place
from .tensor import EncodedTensor, Sparse

Bytes = bytes | memoryview


def write(graph: Graph, path: str | os.PathLike[str]) -> None:
    """Writes ``graph`` to ``path``, which holds either what it held before or the whole new file, whatever happens meanwhile.

    Raises GraphError if the graph is inconsistent or has something that a file cannot hold, FileAccessError if the file cannot be written.
    """
    parts = list(_parts(graph))
    try:
        _replace(Path(path), parts)
    except OSError as error:
        raise FileAccessError(f"cannot write {os.fspath(path)!r}: {error.strerror or error}") from error


def to_bytes(graph: Graph) -> bytes:
    """The bytes that ``write`` writes."""
    return b"".join(_parts(graph))


def _parts(graph: Graph) -> Iterator[Bytes]:
    """The file, piece by piece: preamble, padding, blobs."""
    verify(graph)
    blobs: dict[str, Bytes] = {}
    entries = []
    for name, tensor in graph.weights.items():
        blobs[name] = encode_blob(name, tensor)
        entries.append(_entry(name, tensor, blobs[name]))
    preamble = _preamble(header_bytes(graph, entries))
    yield preamble
    placed, _ = place(entries, len(preamble))
    padding = {end: end - start for start, end in gaps(placed, len(preamble))}
    for entry in sorted(placed, key=lambda e: (e.offset, e.nbytes)):
        yield bytes(padding.pop(entry.offset, 0))
        yield blobs[entry.name]


def _preamble(header: bytes) -> bytes:
    """Magic, version, header and their CRC-32."""
    if len(header) > codes.MAX_HEADER:
        raise GraphError(f"the graph needs a header of {len(header)} bytes, but a file's header has at most {codes.MAX_HEADER}")
    out = bytearray(codes.MAGIC) + bytes([codes.VERSION])
    put_varint(out, len(header))
    out += header
    return bytes(out) + zlib.crc32(out).to_bytes(4, "little")


def _entry(name: str, tensor: EncodedTensor, blob: Bytes) -> WeightEntry:
    shape = tuple(int(dim) for dim in tensor.shape)
    return WeightEntry(name, shape, np.dtype(tensor.dtype).name, tensor.axis, tensor.coder, isinstance(tensor.structure, Sparse),
                       kind_of(tensor), len(blob), zlib.crc32(blob))


def _replace(path: Path, parts: list[Bytes]) -> None:
    """Temporary file beside ``path``, fsync, rename, fsync of the folder."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
    handle = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY | getattr(os, "O_BINARY", 0), 0o666)
    try:
        with os.fdopen(handle, "wb") as file:
            for part in parts:
                file.write(part)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)
        raise
    if os.name == "posix":
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
