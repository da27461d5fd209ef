"""run: outputs, input data, backends."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from command_line import fails, works
from thinfer.kernels import isa


@pytest.mark.parametrize("backend", ["numpy", None])
def test_run_writes_the_outputs(thin: Path, images: Path, tmp_path: Path, backend: str | None) -> None:
    chosen = ["--backend", backend] if backend else []
    assert works("run", thin, "--input", images, "-o", tmp_path / "y.npz", "--threads", 2, *chosen) == ""
    from thinfer import runtime

    expected = runtime.load(thin, backend="numpy").run(dict(np.load(images)))
    with np.load(tmp_path / "y.npz") as found:
        assert found.files == ["scores"]
        np.testing.assert_allclose(found["scores"], expected["scores"], rtol=1e-4, atol=1e-5)


def test_run_without_a_file_to_write_says_what_came_out(thin: Path, images: Path) -> None:
    lines = works("run", thin, "--input", images).splitlines()
    assert lines[2].split()[:4] == ["scores", "float32", "[40,", "10]"]


def test_wrong_data(net: Path, thin: Path, images: Path, tmp_path: Path) -> None:
    bad, single, pickled = tmp_path / "bad.npz", tmp_path / "single.npy", tmp_path / "pickled.npz"
    bad.write_bytes(images.read_bytes()[:200])
    np.save(single, np.zeros(3))
    np.savez(pickled, image=np.array([{}], object))
    assert "there is no file" in fails("run", thin, "--input", tmp_path / "none.npz")
    assert "is not an .npz file" in fails("run", thin, "--input", bad)
    assert "one array without a name" in fails("run", thin, "--input", single)
    assert "is not an .npz file" in fails("run", thin, "--input", pickled)
    assert "is not an .npz file" in fails("pack", net, "--data", bad, "-o", tmp_path / "x.thin")
    np.savez(bad, picture=np.zeros((1, 3, 16, 16), np.float32))
    assert "there is no input 'picture'; the model takes image: float32[N, 3, 16, 16]" in fails("run", thin, "--input", bad)
    np.savez(bad, image=np.zeros((1, 3, 16, 16)))
    assert "has dtype float64; the model takes float32" in fails("run", thin, "--input", bad)
    np.savez(bad, image=np.zeros((1, 4, 16, 16), np.float32))
    assert "has shape (1, 4, 16, 16)" in fails("verify", thin, "--against", net, "--data", bad)


def test_archives_of_another_kind_are_no_data(net: Path, thin: Path, tmp_path: Path) -> None:
    torch.save({"image": torch.zeros(1, 3, 16, 16)}, tmp_path / "state.pt")
    np.savez(tmp_path / "objects.npz", image=np.array([{}], object))
    (tmp_path / "pickle.npz").write_bytes(b"\x80\x04}.")
    for name in ("state.pt", "objects.npz", "pickle.npz"):
        for command in (("pack", net, "-o", tmp_path / "x.thin", "--data"), ("run", thin, "--input"), ("verify", thin, "--against", net, "--data")):
            said = fails(*command, tmp_path / name)
            assert "is not an .npz file of arrays" in said
            assert "allow_pickle" not in said


def test_an_empty_batch_gives_empty_outputs(net: Path, thin: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", image=np.zeros((0, 3, 16, 16), np.float32))
    for backend in ("numpy", *(["native"] if isa.native() is not None else [])):
        works("run", thin, "--input", tmp_path / "x.npz", "-o", tmp_path / "y.npz", "--backend", backend)
        with np.load(tmp_path / "y.npz") as found:
            assert found["scores"].shape == (0, 10)
    assert "x.npz cannot be used: there are no samples in it" in fails("verify", thin, "--against", net, "--data", tmp_path / "x.npz")


def test_wrong_backends(thin: Path, images: Path) -> None:
    assert "there is no backend 'cuda'" in fails("run", thin, "--input", images, "--backend", "cuda")
    assert "THINFER_ISA is 'z80'" in fails("inspect", thin, env={"THINFER_ISA": "z80"})
