"""Where output goes: places that cannot be written, files that must not be overwritten, links."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import onnx
from command_line import fails, works


def test_places_that_cannot_be_written(net: Path, thin: Path, images: Path, tmp_path: Path) -> None:
    assert "is the model itself" in fails("pack", net, "-o", net)
    assert fails("pack", "") == ". is a directory, not a file"
    assert "there is no folder" in fails("pack", net, "-o", tmp_path / "no" / "x.thin")
    assert "is a folder" in fails("pack", net, "-o", tmp_path)
    assert "there is no folder" in fails("run", thin, "--input", images, "-o", tmp_path / "no" / "y.npz")
    os.mkfifo(tmp_path / "pipe")
    for place in (tmp_path / "pipe", tmp_path, Path(os.devnull)):
        reason = "a folder" if place is tmp_path else "no regular file"
        assert fails("pack", net, "-o", place) == f"cannot write '{place}': it is {reason}"
        assert fails("run", thin, "--input", images, "-o", place) == f"cannot write '{place}': it is {reason}"
    assert os.listdir(tmp_path) == ["pipe"]


def test_no_file_that_is_read_is_overwritten(net: Path, images: Path, tmp_path: Path) -> None:
    recipe, data, model = tmp_path / "r.yaml", tmp_path / "x.npz", tmp_path / "ext.onnx"
    recipe.write_text("values: fp16")
    shutil.copy(images, data)
    onnx.save(onnx.load(net), model, save_as_external_data=True, location="w.bin", size_threshold=0)
    packed = tmp_path / "o.thin"
    works("pack", model, "-o", packed, "-q")
    (tmp_path / "link").symlink_to("w.bin")
    os.link(data, tmp_path / "twin")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    refused = {
        "the model": [("pack", model, "-o", model)],
        "the model's external data": [("pack", model, "-o", tmp_path / name) for name in ("w.bin", "link")],
        "the recipe": [("pack", model, "--recipe", recipe, "-o", recipe)],
        "the calibration data": [("pack", model, "--data", data, "-o", tmp_path / name) for name in ("x.npz", "twin")],
        "the packed file": [("run", packed, "--input", data, "-o", packed), ("convert", packed, "-o", packed)],
        "the input data": [("run", packed, "--input", data, "-o", data), ("run", packed, "--input", tmp_path / "twin", "-o", data)],
    }
    for what, commands in refused.items():
        for arguments in commands:
            assert fails(*arguments) == f"the output {arguments[-1]} is {what} itself; give another file with -o"
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    (tmp_path / "dense").write_bytes(b"a file called like a preset, which is not read")
    works("pack", model, "--recipe", "dense", "-o", tmp_path / "dense", "-q")


def test_links_to_files_are_followed(net: Path, thin: Path, images: Path, tmp_path: Path) -> None:
    (tmp_path / "x.thin").symlink_to("real.thin")
    (tmp_path / "y.npz").symlink_to("real.npz")
    works("pack", net, "-o", tmp_path / "x.thin")
    works("run", thin, "--input", images, "-o", tmp_path / "y.npz")
    assert (tmp_path / "x.thin").is_symlink()
    assert (tmp_path / "y.npz").is_symlink()
    assert sorted(os.listdir(tmp_path)) == ["real.npz", "real.thin", "x.thin", "y.npz"]
