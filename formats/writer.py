"""Graph → ``.thin`` file. Deterministic: the same graph gives the same bytes, on any machine, with any number of threads."""

from __future__ import annotations

import os
from collections.abc import Iterator

import numpy as np

from .blob_writer import encode_blob, kind_of
from .checksum import crc32
from .codes import WeightEntry
from .cursor import put_varint
from .errors import GraphError
from .graph import Graph, verify
from .header_writer import header_bytes
from .layout import gaps, place
from .preamble import MAGIC, MAX_HEADER, VERSION
from .replacing import replacing
from .tensor import Coder, EncodedTensor

Bytes = bytes | memoryview


def write(graph: Graph, path: str | os.PathLike[str]) -> None:
    """Writes ``graph`` to ``path``, which holds either what it held before or the whole new file, whatever happens meanwhile.

    A symbolic link is followed. Raises GraphError if the graph is inconsistent or has something that a file cannot hold,
    FileAccessError if the file cannot be written, or if what is there is no regular file.
    """
    parts = list(_parts(graph))
    with replacing(path) as file:
        for part in parts:
            file.write(part)


def to_bytes(graph: Graph) -> bytes:
    """The bytes that ``write`` writes."""
    return b"".join(_parts(graph))


def header_size(graph: Graph) -> int:
    """Bytes before the blobs, about: how long the blobs are takes a byte or two less where they are short."""
    return len(_preamble(header_bytes(graph, [_entry(name, tensor, "raw", b"") for name, tensor in graph.weights.items()])))


def _parts(graph: Graph) -> Iterator[Bytes]:
    """The file, piece by piece: preamble, padding, blobs."""
    verify(graph)
    blobs: dict[str, Bytes] = {}
    entries = []
    for name, tensor in graph.weights.items():
        blobs[name], coder = encode_blob(name, tensor)
        entries.append(_entry(name, tensor, coder, blobs[name]))
    preamble = _preamble(header_bytes(graph, entries))
    yield preamble
    placed, _ = place(entries, len(preamble))
    padding = {end: end - start for start, end in gaps(placed, len(preamble))}
    for entry in sorted(placed, key=lambda e: (e.offset, e.nbytes)):
        yield bytes(padding.pop(entry.offset, 0))
        yield blobs[entry.name]


def _preamble(header: bytes) -> bytes:
    """Magic, version, header and their CRC-32."""
    if len(header) > MAX_HEADER:
        raise GraphError(f"the graph needs a header of {len(header)} bytes, but a file's header has at most {MAX_HEADER}")
    out = bytearray(MAGIC) + bytes([VERSION])
    put_varint(out, len(header))
    out += header
    return bytes(out) + crc32(out).to_bytes(4, "little")


def _entry(name: str, tensor: EncodedTensor, coder: Coder, blob: Bytes) -> WeightEntry:
    shape = tuple(int(dim) for dim in tensor.shape)
    return WeightEntry(name, shape, np.dtype(tensor.dtype).name, tensor.axis, coder, tensor.structure.name,
                       kind_of(tensor), len(blob), crc32(blob))
