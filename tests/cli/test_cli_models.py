"""Model files that cannot be read, and torch's, which need trust or an architecture."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest
import torch
from command_line import fails, works


def test_models_that_cannot_be_read(tmp_path: Path, net: Path) -> None:
    assert fails("pack", tmp_path / "none.onnx") == f"there is no file {tmp_path / 'none.onnx'}"
    named = "there is no file resnet18; architectures of packages are written timm:resnet18 or torchvision:resnet18"
    assert fails("pack", "resnet18", cwd=tmp_path) == named
    assert "is a directory" in fails("pack", tmp_path, "-o", tmp_path / "x.thin")
    empty, cut, text = tmp_path / "empty.onnx", tmp_path / "cut.onnx", tmp_path / "text.onnx"
    empty.touch()
    cut.write_bytes(net.read_bytes()[:3000])
    text.write_text("hello")
    for path in (empty, cut, text):
        assert str(path) in fails("pack", path)
        assert not path.with_suffix(".thin").exists()


def test_pickles_need_trust_and_state_dicts_an_architecture(tmp_path: Path) -> None:
    module = torch.nn.Sequential(torch.nn.Linear(6, 4))
    torch.save(module, tmp_path / "m.pt")
    torch.save(module.state_dict(), tmp_path / "s.pt")
    (tmp_path / "mine.py").write_text("import torch\ndef make():\n    return torch.nn.Sequential(torch.nn.Linear(6, 4))\n")
    shape = ("--input-shape", "input:N,6")
    assert "--trust-pickle" in fails("pack", tmp_path / "m.pt", *shape)
    assert "--arch" in fails("pack", tmp_path / "s.pt", *shape)
    assert "--input-shape input:N,6 " in fails("pack", tmp_path / "m.pt", "--trust-pickle")
    works("pack", tmp_path / "m.pt", "--trust-pickle", *shape)
    works("pack", tmp_path / "s.pt", "--arch", "mine:make", *shape, cwd=tmp_path)
    assert (tmp_path / "m.thin").read_bytes() == (tmp_path / "s.thin").read_bytes()
    found = json.loads(works("verify", tmp_path / "s.thin", "--against", tmp_path / "s.pt", "--arch", "mine:make", "--json", cwd=tmp_path))
    assert found["outputs"][0]["error"] < 1e-5
    assert found["reference"].startswith("torch")
    assert "--trust-pickle" in fails("verify", tmp_path / "m.thin", "--against", tmp_path / "m.pt")


@pytest.mark.parametrize("content", [
    b"\x80\x04}.", b"\x80\x02cos\nsystem\n.", b"PK\x03\x04damaged", b"\x80\x05" + bytes(50)])
def test_what_is_no_torch_file_is_said_in_our_own_words(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "m.pt").write_bytes(content)
    said = fails("pack", tmp_path / "m.pt", "--input-shape", "input:N,6")
    assert str(tmp_path / "m.pt") in said
    assert all(word not in said for word in ("weights_only", "enforce fail", "Weights only"))


def test_a_cut_torch_file_is_said_in_our_own_words(tmp_path: Path) -> None:
    torch.save({"w": torch.zeros(4000)}, tmp_path / "whole.pt")
    content = (tmp_path / "whole.pt").read_bytes()
    with zipfile.ZipFile(tmp_path / "whole.pt") as whole, zipfile.ZipFile(tmp_path / "lacking.pt", "w") as lacking:
        for name in whole.namelist():
            if not name.endswith("data.pkl"):
                lacking.writestr(name, whole.read(name))
    (tmp_path / "cut.pt").write_bytes(content[:-2000])
    for name in ("lacking.pt", "cut.pt"):
        said = fails("pack", tmp_path / name, "--input-shape", "input:N,6")
        assert "damaged" in said
        assert "enforce fail" not in said


def test_code_of_a_model_that_exits_is_an_error_like_any_other(tmp_path: Path) -> None:
    torch.save({"0.weight": torch.zeros(4, 6), "0.bias": torch.zeros(4)}, tmp_path / "s.pt")
    (tmp_path / "quits.py").write_text("""
import sys, torch
def make():
    sys.exit(0)
class Late(torch.nn.Sequential):
    def forward(self, input):
        sys.exit(0)
def late():
    return Late(torch.nn.Linear(6, 4))
""")
    for factory in ("make", "late"):
        assert "SystemExit" in fails("pack", tmp_path / "s.pt", "--arch", f"quits:{factory}", "--input-shape", "input:N,6", cwd=tmp_path)
