"""Damaged files: each gives a well-formed graph or a FormatError, the same with both decoders, in bounded time and memory.

Three kinds of damage: to the bytes as they are (checksums mostly find it), to header or blob with all checksums made right again
(so that the parser finds it), and to single fields of the header. ``THINFER_DAMAGE_EXAMPLES`` sets the number of files of each kind.
"""

from __future__ import annotations

import os
import resource
import struct
import sys
import time
import tracemalloc
import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from format_samples import CODERS, STRUCTURES, VALUES, everything, table_graph, weight
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from thinfer.formats import decoders
from thinfer.formats.codes import WeightEntry
from thinfer.formats.errors import FormatError
from thinfer.formats.graph import DTYPES, Graph, problems
from thinfer.formats.header_writer import header_bytes
from thinfer.formats.layout import gaps, place
from thinfer.formats.reader import from_bytes
from thinfer.formats.tensor import Codebook, EncodedTensor
from thinfer.formats.writer import to_bytes

EXAMPLES = int(os.environ.get("THINFER_DAMAGE_EXAMPLES", "2000"))
MEMORY = 256 * 2 ** 20
SECONDS = 5.0  # of this process, whatever else runs
damage = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))


def samples() -> Iterator[Graph]:
    """Small files of every encoding; streams of every transform; several lanes; a header with everything."""
    rng = np.random.default_rng(11)
    for coder in CODERS:
        for structure in STRUCTURES:
            yield table_graph({v: weight(rng, (9, 7, 3), structure, v, coder, axis=i % 3, groups=2) for i, v in enumerate(VALUES)})
        yield table_graph({"bool": EncodedTensor.dense(rng.random(200) < 0.1, coder=coder),
                           "empty": weight(rng, (0, 3), "sparse", "binary", coder)})
    skewed = np.where(rng.random(9000) < 0.95, 5, rng.integers(0, 16, 9000)).astype(np.uint8)
    clustered = np.clip(np.round(rng.standard_normal(9000) * 2 + 4), 0, 7).astype(np.uint8)
    entries = rng.standard_normal((1, 16)).astype(np.float32)
    yield table_graph({"split": EncodedTensor((90, 100), "float32", Codebook(skewed, 4, entries), coder="huffman")})
    yield table_graph({"tuples": EncodedTensor((90, 100), "float32", Codebook(clustered, 3, entries[:, :8]), coder="huffman")})
    yield table_graph({"runs": weight(rng, (90, 100), "sparse", "fp16", "huffman", kept=0.02)})
    yield table_graph({"aligned": EncodedTensor.dense(rng.standard_normal(1030).astype(np.float32))})
    full = everything()
    used = {name for node in full.nodes for name in node.inputs} | {"%1", "aligned"}
    yield replace(full, weights={name: tensor for name, tensor in full.weights.items() if name in used})


GRAPHS = list(samples())
FILES = [to_bytes(graph) for graph in GRAPHS]


@pytest.fixture(autouse=True)
def memory_is_bounded() -> Iterator[None]:
    """The process may not grow by more than MEMORY: MemoryError would fail the test."""
    if not sys.platform.startswith("linux"):
        yield
        return
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MEMORY, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


def outcome(data: bytes, decoder: decoders.DecoderName) -> Any:
    """The class of the error, or everything that can be read."""
    try:
        graph = from_bytes(data, decoder=decoder, check=True)
    except FormatError as error:
        return type(error), str(error) != ""
    assert problems(graph) == []
    found = []
    for name, tensor in graph.weights.items():
        with np.errstate(all="ignore"):  # scales may be anything
            array = tensor.decode()
        assert array.shape == tensor.shape
        assert array.dtype.name == tensor.dtype
        found.append((name, array.tobytes()))
    return found


def check(data: bytes) -> None:
    begin = time.process_time()
    found = [outcome(data, decoder) for decoder in decoders.available()]
    assert all(other == found[0] for other in found)
    assert time.process_time() - begin < SECONDS


@st.composite
def damaged(draw: st.DrawFn, data: bytes) -> bytes:
    """``data`` with one to four changes: a byte flipped or set, bytes inserted, removed, repeated, or the end cut off."""
    out = bytearray(data)
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, len(out)))
        kind = draw(st.sampled_from(["flip", "flip", "set", "insert", "remove", "repeat", "cut"]))
        if kind == "insert":
            out[place:place] = draw(st.binary(min_size=1, max_size=8))
        elif kind == "remove":
            del out[place:place + draw(st.integers(1, 8))]
        elif kind == "repeat":
            out[place:place] = out[place:place + draw(st.integers(1, 64))]
        elif kind == "cut":
            del out[place:]
        elif place < len(out):
            out[place] = out[place] ^ 1 << draw(st.integers(0, 7)) if kind == "flip" else draw(st.sampled_from([0, 1, 127, 128, 255]))
    return bytes(out)


def parts(data: bytes) -> tuple[bytes, bytes]:
    """Header and all that follows its checksum."""
    size, shift, at = 0, 0, 5
    while True:
        size |= (data[at] & 127) << shift
        at, shift = at + 1, shift + 7
        if data[at - 1] < 128:
            break
    return data[at:at + size], data[at + size + 4:]


def assembled(header: bytes, after: bytes) -> bytes:
    size, n = b"", len(header)
    while n > 127:
        size, n = size + bytes([n & 127 | 128]), n >> 7
    start = b"THIN\0" + size + bytes([n]) + header
    return start + struct.pack("<I", zlib.crc32(start)) + after


def with_blobs(graph: Graph, entries: list[WeightEntry], blobs: dict[str, bytes]) -> bytes:
    """A file with these header fields and blobs, all checksums right."""
    entries = [replace(entry, nbytes=len(blobs[entry.name]), crc=zlib.crc32(blobs[entry.name])) for entry in entries]
    start = assembled(header_bytes(graph, entries), b"")
    placed, _ = place(entries, len(start))
    padding = {end: end - begin for begin, end in gaps(placed, len(start))}
    for entry in sorted(placed, key=lambda e: (e.offset, e.nbytes)):
        start += bytes(padding.pop(entry.offset, 0)) + blobs[entry.name]
    return start


def taken_apart(which: int) -> tuple[list[WeightEntry], dict[str, bytes]]:
    data = FILES[which]
    table: Any = from_bytes(data).weights
    entries = [table.entry(name) for name in table]
    return entries, {entry.name: data[entry.offset:entry.offset + entry.nbytes] for entry in entries}


@damage
@given(st.data(), st.integers(0, len(FILES) - 1))
def test_damage_as_it_is(data: st.DataObject, which: int) -> None:
    check(data.draw(damaged(FILES[which])))


@damage
@given(st.data(), st.integers(0, len(FILES) - 1))
def test_damage_to_the_header_with_its_checksum_made_right(data: st.DataObject, which: int) -> None:
    header, after = parts(FILES[which])
    check(assembled(data.draw(damaged(header)), after))


@damage
@given(st.data(), st.integers(0, len(FILES) - 1))
def test_damage_to_a_blob_with_its_checksum_made_right(data: st.DataObject, which: int) -> None:
    entries, blobs = taken_apart(which)
    name = data.draw(st.sampled_from(sorted(blobs)))
    blobs[name] = data.draw(damaged(blobs[name]))
    check(with_blobs(GRAPHS[which], entries, blobs))


dimensions = st.lists(st.one_of(st.integers(0, 12), st.sampled_from([2 ** 16, 2 ** 31, 2 ** 48, 2 ** 64 - 1])), max_size=4)


@damage
@given(st.data(), st.integers(0, len(FILES) - 1))
def test_fields_of_the_header_replaced(data: st.DataObject, which: int) -> None:
    entries, blobs = taken_apart(which)
    i = data.draw(st.integers(0, len(entries) - 1))
    field, values = data.draw(st.sampled_from([
        ("shape", dimensions.map(tuple)), ("dtype", st.sampled_from(DTYPES)), ("axis", st.integers(0, 15)), ("kind", st.integers(0, 5)),
        ("coder", st.sampled_from(CODERS)), ("structure", st.sampled_from(STRUCTURES)), ("name", st.text(max_size=5))]))
    old = entries[i]
    entries[i] = replace(old, **{field: data.draw(values)})
    blobs[entries[i].name] = blobs[old.name]
    graph = GRAPHS[which]
    check(with_blobs(graph if old.name == entries[i].name else table_graph({}), entries, blobs))


def test_what_is_not_damaged_is_read() -> None:
    for graph, data in zip(GRAPHS, FILES):
        assert isinstance(outcome(data, "numpy"), list)
        header, after = parts(data)
        assert assembled(header, after) == data
        entries, blobs = taken_apart(GRAPHS.index(graph))
        assert with_blobs(graph, entries, blobs) == data


def test_memory_is_in_proportion() -> None:
    """Of each file, with one byte after the other set to 255 and the checksums made right: what is allocated at the peak."""
    tracemalloc.start()
    for data in FILES:
        header, after = parts(data)
        for place_ in range(0, len(header), 5):
            tracemalloc.reset_peak()
            before = tracemalloc.get_traced_memory()[0]
            check(assembled(header[:place_] + b"\xff" + header[place_ + 1:], after))
            assert tracemalloc.get_traced_memory()[1] - before < 2 ** 20 + 200 * len(data)
    tracemalloc.stop()


def test_every_prefix_of_a_file_is_an_error() -> None:
    for data in FILES[:4]:
        for size in range(0, len(data), 7):
            check(data[:size])
            assert outcome(data[:size], "numpy")[1] is True
