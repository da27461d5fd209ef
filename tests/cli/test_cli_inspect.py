"""inspect: what is in a file, and files that are none."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import scipy.stats
from command_line import fails, works
from thinfer.formats import reader
from thinfer.formats.tensor import Codebook
from thinfer.kernels import isa


def test_inspect_adds_up(thin: Path) -> None:
    found = json.loads(works("inspect", thin, "--json"))
    weights = [w for node in found["nodes"] for w in node["weights"]]
    total = found["total"]
    assert total["nbytes_file"] == thin.stat().st_size
    assert total["nbytes_header"] + sum(w["nbytes_file"] for w in weights) == total["nbytes_file"]
    assert total["nbytes_dense"] == sum(w["nbytes_dense"] for w in weights) == 4 * (32 * 27 + 32 + 320 + 10)
    assert total["nbytes_ram"] == sum(w["nbytes_ram"] for w in weights) > 0
    assert total["ratio"] == pytest.approx(total["nbytes_dense"] / total["nbytes_file"])
    conv = weights[0]
    assert (conv["structure"], conv["values"], conv["coder"]) == ("sparse", "codebook-4", "huffman")
    assert 0.3 < conv["sparsity"] < 0.9


def test_inspect_compares_bits_with_the_entropy_of_mask_and_indices(net: Path, tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text("{prune_weights: {quality: 0.7}, values: {kind: codebook, bits: 4}, coder: smallest}")
    thin = tmp_path / "x.thin"
    works("pack", net, "-o", thin, "--recipe", tmp_path / "r.yaml")
    weights = {w["name"]: w for node in json.loads(works("inspect", thin, "--json"))["nodes"] for w in node["weights"]}
    table = reader.read(thin).weights
    for name, row in weights.items():
        tensor = table[name]
        assert row["coder"] == tensor.coder != "smallest"
        assert row["bits_per_weight"] == pytest.approx(8 * row["nbytes_file"] / tensor.size)
        if isinstance(tensor.values, Codebook):
            streams = [tensor.kept(), tensor.values.indices]
            bits = sum(x.size * scipy.stats.entropy(np.unique(x, return_counts=True)[1], base=2) for x in streams)
            as_it_is = 8 * (3 + tensor.values.entries.nbytes)
            assert row["entropy_per_weight"] == pytest.approx((bits + as_it_is) / tensor.size, abs=8 * 4 / tensor.size)


def test_inspect_says_what_nodes_and_codebooks_are(net: Path, thin: Path, tmp_path: Path) -> None:
    found = json.loads(works("inspect", thin, "--json"))
    conv, gemm = found["nodes"][0], found["nodes"][-1]
    assert conv["inputs"] == ["image", "conv.weight", "conv.bias"]
    assert conv["attributes"] == {"pads": [1, 1, 1, 1]}
    assert gemm["attributes"] == {"transB": 1}
    assert gemm["outputs"] == ["scores"]
    assert conv["outputs"] == found["nodes"][1]["inputs"]
    weight, bias = conv["weights"]
    assert (weight["bits"], weight["entries"], weight["groups"]) == (4, "float32", 1)
    assert (bias["bits"], bias["entries"], bias["groups"]) == (None, None, None)
    assert found["backend"] == ("numpy" if isa.native() is None else "native")
    assert found["isa"] == (None if isa.native() is None else isa.selected())
    assert f"in RAM for the backend {found['backend']}, ISA level {found['isa'] or '–'}; " in works("inspect", thin)
    (tmp_path / "r.yaml").write_text("values: {kind: codebook, bits: 2, groups: 4, entries: int8}")
    works("pack", net, "-o", tmp_path / "x.thin", "--recipe", tmp_path / "r.yaml")
    weight = json.loads(works("inspect", tmp_path / "x.thin", "--json"))["nodes"][0]["weights"][0]
    assert (weight["bits"], weight["entries"], weight["groups"]) == (2, "int8", 4)


def test_inspect_for_people(thin: Path) -> None:
    lines = works("inspect", thin).splitlines()
    assert re.split(" {2,}", lines[0]) == ["node", "op", "shape", "encoding", "sparsity", "dense", "RAM", "file", "bits", "entropy", "ratio",
                                           "layout in RAM", "activations"]
    assert lines[2].startswith("conv")
    assert "sparse codebook-4 huffman" in lines[2]
    assert any(line.startswith("total") and f"{thin.stat().st_size:,}" in line for line in lines)


def test_files_that_are_no_thin_files(net: Path, thin: Path, images: Path, tmp_path: Path) -> None:
    assert "none.thin" in fails("inspect", tmp_path / "none.thin")
    for command in ("inspect", "bench", "convert", "tune"):
        assert fails(command, net) == (f"{net} is no packed file: it begins with {net.read_bytes()[:4]!r}, not with b'THIN'; "
                                       "if it is a model, toolchain pack makes a packed file of it, and toolchain explain says what it is")
    (tmp_path / "short.thin").write_bytes(b"TH")
    assert "begins with b'TH'" in fails("inspect", tmp_path / "short.thin")
    cut = tmp_path / "cut.thin"
    cut.write_bytes(thin.read_bytes()[:-7])
    for arguments in (("inspect", cut), ("run", cut, "--input", images), ("verify", cut, "--against", net), ("bench", cut)):
        said = fails(*arguments)
        assert said.startswith(f"{cut}: the file ends too early")
    content = bytearray(thin.read_bytes())
    content[-1] ^= 1  # in the last blob
    cut.write_bytes(content)
    for arguments in (("inspect", cut), ("run", cut, "--input", images), ("convert", cut)):
        assert fails(*arguments).startswith(f"{cut}: weight ")
    cut.write_bytes(b"")
    assert fails("inspect", cut) == f"{cut}: the file is empty, but a .thin file begins with b'THIN'"
