"""Files as files: atomic replacement, same bytes always, weights decoded when asked for and not kept, golden files."""

from __future__ import annotations

import gc
import hashlib
import os
import stat
import subprocess
import sys
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from format_reference import reference_read
from format_samples import CODERS, STRUCTURES, VALUES, assert_same_weight, everything, lenet5, signature, table_graph, weight
from thinfer.formats import decoders, reader
from thinfer.formats.errors import BlobChecksumError, FileAccessError, FormatError, GraphError, MagicError, MemoryLimitError, ThinferError
from thinfer.formats.graph import ActivationQuantization, Graph, Node, ValueInfo
from thinfer.formats.reader import file_info, from_bytes, read, weight_sizes
from thinfer.formats.tensor import EncodedTensor
from thinfer.formats.writer import to_bytes, write

GOLDEN = Path(__file__).parent / "golden"


def golden_graphs() -> dict[str, Graph]:
    """What the golden files held when ``python tests/test_format_files.py`` wrote them."""
    rng = np.random.default_rng(2024)
    small = {f"{s} {v} {c}": weight(rng, (5, 4, 3), s, v, c, groups=2) for s in STRUCTURES for v in VALUES for c in CODERS}
    large = {f"{s} {v}": weight(rng, (60, 200), s, v, "huffman", kept=k) for s, v, k in
             (("dense", "codebook", 1), ("sparse", "codebook", 0.05), ("sparse", "binary", 0.5), ("dense", "fp16", 1))}
    return {
        "everything": everything(),
        "encodings": table_graph(small),
        "streams": table_graph(large),
        "lenet5": lenet5(lambda array: weight(rng, array.shape, "sparse", "codebook", "huffman", bits=5, kept=0.08))}


@pytest.mark.parametrize("name", list(golden_graphs()))
def test_golden_files_are_still_written_and_read(name: str) -> None:
    """What lies in them is compared with what the second reader finds, as random numbers may be others in another NumPy."""
    path = GOLDEN / f"{name}.thin"
    data = path.read_bytes()
    expected = reference_read(data)["weights"]
    for decoder in decoders.available():
        found = read(path, decoder=decoder, check=True)
        assert to_bytes(found) == data
        assert signature(found) == signature(golden_graphs()[name])
        assert list(found.weights) == list(expected)
        for key, array in expected.items():
            assert np.array_equal(found.weights[key].decode(), array)


@pytest.mark.parametrize("coder", CODERS)
def test_weights_that_take_more_memory_than_there_is_are_refused_before_anything_is_made(coder: Any, tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    tensors = {f"{s} {v}": weight(rng, (300, 400), s, v, coder, kept=0.01) for s in STRUCTURES for v in ("codebook", "fp16")}
    write(table_graph({**tensors, "small": weight(rng, (5, 4), "sparse", "codebook", coder)}), tmp_path / "x.thin")
    table = read(tmp_path / "x.thin").weights
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reader, "memory", lambda: 100_000)
        assert table["small"].shape == (5, 4)
        for name, tensor in tensors.items():
            if coder == "raw" and name == "dense fp16":
                assert_same_weight(table[name], tensor)  # it lies in the file as it is
                continue
            with pytest.raises(MemoryLimitError, match=f"{name}.* has 120000 elements.* this machine has 100000 bytes") as caught:
                table[name]
            assert isinstance(caught.value, ThinferError)
    for name, tensor in tensors.items():
        assert_same_weight(table[name], tensor)
    assert 2 ** 20 < reader.memory() < 2 ** 50


SCRIPT = """
import hashlib, sys
sys.path.insert(0, {tests!r})
from test_format_files import golden_graphs
from thinfer.formats.writer import to_bytes
print(hashlib.sha256(b"".join(to_bytes(graph) for graph in golden_graphs().values())).hexdigest())
"""


@pytest.mark.parametrize("setting", [
    {"OMP_NUM_THREADS": "1"}, {"OMP_NUM_THREADS": "4", "PYTHONHASHSEED": "7"},
    {"NPY_DISABLE_CPU_FEATURES": "AVX2 FMA3 AVX512F AVX512CD AVX512_SKX AVX512_CLX AVX512_CNL AVX512_ICL"}])
def test_same_graph_same_bytes_in_any_process(setting: dict[str, str]) -> None:
    """Another number of threads, another order of sets, and NumPy without its faster instructions."""
    expected = hashlib.sha256(b"".join(to_bytes(graph) for graph in golden_graphs().values())).hexdigest()
    script = SCRIPT.format(tests=str(Path(__file__).parent))
    found = subprocess.check_output([sys.executable, "-W", "ignore", "-c", script], env=os.environ | setting, text=True)
    assert found.strip() == expected


def test_the_order_of_attributes_and_quantized_values_does_not_matter() -> None:
    x, y = ValueInfo("x", "float32", (1,)), ValueInfo("y", "float32", (1,))
    a, b = ActivationQuantization("dynamic"), ActivationQuantization("static", "uint8", 0.5, 3)
    first = Graph((x,), (y,), (Node("Clip", ("x",), ("y",), {"min": 1.0, "max": 2.0}),), quantized={"x": a, "y": b})
    second = Graph((x,), (y,), (Node("Clip", ("x",), ("y",), {"max": 2.0, "min": 1.0}),), quantized={"y": b, "x": a})
    assert to_bytes(first) == to_bytes(second)


def test_names_of_intermediate_values_do_not_matter() -> None:
    def chain(middle: str) -> Graph:
        return Graph((ValueInfo("x", "float32", (1,)),), (ValueInfo("y", "float32", (1,)),),
                     (Node("Relu", ("x",), (middle,)), Node("Tanh", (middle,), ("y",))))

    assert to_bytes(chain("a")) == to_bytes(chain("a much longer name"))
    found = from_bytes(to_bytes(chain("a")))
    assert (found.inputs[0].name, found.outputs[0].name) == ("x", "y")


def test_write_replaces_the_file_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "model.thin"
    first, second = lenet5(EncodedTensor.dense, 1), lenet5(EncodedTensor.dense, 2)
    write(first, path)
    old = read(path)
    write(second, str(path))
    assert path.read_bytes() == to_bytes(second)
    for name, tensor in first.weights.items():
        assert_same_weight(old.weights[name], tensor)
    assert os.listdir(tmp_path) == ["model.thin"]
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~umask


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "model.thin"
    write(lenet5(EncodedTensor.dense), path)
    before = path.read_bytes()

    def fail(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    for function in ("fsync", "replace"):
        with monkeypatch.context() as patch:
            patch.setattr(f"thinfer.formats.replacing.os.{function}", fail)
            with pytest.raises(FileAccessError, match=r"model\.thin.*No space left"):
                write(lenet5(EncodedTensor.dense, 5), path)
        assert path.read_bytes() == before
        assert os.listdir(tmp_path) == ["model.thin"]
    with pytest.raises(GraphError):
        write(Graph((), (ValueInfo("y", "float32", ()),), ()), path)
    assert path.read_bytes() == before


def test_write_syncs_the_file_before_it_is_renamed_and_the_folder_after(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    sync, rename = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda fd: (calls.append("folder" if stat.S_ISDIR(os.fstat(fd).st_mode) else "file"), sync(fd)))
    monkeypatch.setattr(os, "replace", lambda a, b: (calls.append("rename"), rename(a, b)))
    write(lenet5(EncodedTensor.dense), tmp_path / "model.thin")
    assert calls == ["file", "rename", "folder"]


def test_what_is_no_regular_file_is_not_replaced(tmp_path: Path) -> None:
    pipe, folder, device = tmp_path / "pipe", tmp_path / "folder", tmp_path / "device"
    os.mkfifo(pipe)
    folder.mkdir()
    device.symlink_to(os.devnull)
    kinds = [os.stat(path).st_mode for path in (pipe, folder, device)]
    for path, reason in ((pipe, "it is no regular file"), (folder, "it is a folder"), (device, "it is no regular file")):
        with pytest.raises(FileAccessError, match=f"cannot write '{path}': {reason}"):
            write(lenet5(EncodedTensor.dense), path)
    assert [os.stat(path).st_mode for path in (pipe, folder, device)] == kinds
    assert sorted(os.listdir(tmp_path)) == ["device", "folder", "pipe"]


def test_symbolic_links_are_followed(tmp_path: Path) -> None:
    """To a file that is there and to one that is not; the file is written beside the real one."""
    graph = lenet5(EncodedTensor.dense)
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "old.thin").write_bytes(b"old")
    for name in ("old.thin", "new.thin"):
        link = tmp_path / name
        link.symlink_to(Path("real") / name)
        write(graph, link)
        assert link.is_symlink()
        assert (tmp_path / "real" / name).read_bytes() == to_bytes(graph)
    assert sorted(os.listdir(tmp_path / "real")) == ["new.thin", "old.thin"]
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    with pytest.raises(FileAccessError, match="cannot write"):
        write(graph, loop)


def test_files_that_cannot_be_opened_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileAccessError, match=r"nothing\.thin"):
        read(tmp_path / "nothing.thin")
    with pytest.raises(FileAccessError, match="cannot read"):
        read(tmp_path)
    with pytest.raises(FileAccessError, match="cannot write"):
        write(lenet5(EncodedTensor.dense), tmp_path / "no folder" / "model.thin")
    (tmp_path / "empty.thin").touch()
    with pytest.raises(MagicError):
        read(tmp_path / "empty.thin")


def test_weights_are_decoded_when_asked_for_and_not_kept(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    write(lenet5(lambda array: weight(rng, array.shape, "dense", "codebook", "huffman")), tmp_path / "model.thin")
    table = read(tmp_path / "model.thin").weights
    assert len(table) == 10
    assert "fc1.weight" in table
    assert "fc9.weight" not in table
    first = table["fc1.weight"]
    assert first is not table["fc1.weight"]
    gone = weakref.ref(first)
    del first
    gc.collect()
    assert gone() is None
    with pytest.raises(KeyError):
        table["fc9.weight"]


def test_large_raw_weights_are_views_of_the_file(tmp_path: Path) -> None:
    write(lenet5(EncodedTensor.dense), tmp_path / "model.thin")
    weights = read(tmp_path / "model.thin").weights
    for name in ("fc1.weight", "conv1.weight", "conv1.bias"):
        data: Any = weights[name].values
        assert data.data.flags.aligned
        assert data.data.flags.owndata == (data.data.nbytes < 4096)
    large: Any = weights["fc1.weight"].values
    assert not large.data.flags.writeable
    assert large.data.ctypes.data % 64 == 0


def test_a_damaged_weight_is_an_error_at_its_access_or_with_check(tmp_path: Path) -> None:
    path = tmp_path / "model.thin"
    write(lenet5(EncodedTensor.dense), path)
    data = bytearray(path.read_bytes())
    table: Any = read(path).weights
    data[table.entry("fc2.weight").offset + 100] ^= 1
    path.write_bytes(data)
    graph = read(path)
    assert graph.weights["fc1.weight"].size == 48000
    with pytest.raises(BlobChecksumError, match=r"fc2\.weight"):
        graph.weights["fc2.weight"]
    with pytest.raises(FormatError):
        read(path, check=True)


def test_sizes_and_entropies_of_what_is_in_a_file(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    graph = lenet5(lambda array: weight(rng, array.shape, "sparse", "codebook", "huffman", kept=0.1))
    path = tmp_path / "model.thin"
    write(graph, path)
    sizes, info = weight_sizes(path), file_info(path)
    assert list(sizes) == list(graph.weights)
    assert {name: found.entry.nbytes for name, found in info.weights.items()} == sizes
    assert info.nbytes == path.stat().st_size == info.header + info.padding + sum(sizes.values())
    assert info.header + info.padding <= 250
    large = info.weights["fc1.weight"]
    assert large.streams[0].elements == 48000
    assert large.streams[1].elements == graph.weights["fc1.weight"].held
    assert all(stream.entropy <= 8 * stream.nbytes for stream in large.streams)


if __name__ == "__main__":
    GOLDEN.mkdir(exist_ok=True)
    for name, graph in golden_graphs().items():
        write(graph, GOLDEN / f"{name}.thin")
