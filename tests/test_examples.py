"""What examples/ carries: sizes, and the accuracy that its README states, computed with torch."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

ROOT = Path(__file__).resolve().parent.parent
LENET = ROOT / "examples" / "lenet"
MEGABYTE = 1_000_000
LENET5_WRONG, LENET300_WRONG = 7, 13  # of 1000, as examples/lenet/README.md states


@pytest.fixture
def digits() -> tuple[torch.Tensor, torch.Tensor]:
    with np.load(LENET / "digits.npz", allow_pickle=False) as file:
        return torch.from_numpy(file["images"][:, None].astype(np.float32) / 255), torch.from_numpy(file["labels"].astype(np.int64))


@pytest.fixture
def models(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT))
    return importlib.import_module("examples.lenet.models")


def wrong(model: torch.nn.Module, digits: tuple[torch.Tensor, torch.Tensor]) -> int:
    with torch.inference_mode():
        return int((model(digits[0]).argmax(1) != digits[1]).sum())


def test_sizes() -> None:
    assert (LENET / "lenet5.pt2").stat().st_size + (LENET / "digits.npz").stat().st_size < 2.5 * MEGABYTE
    assert sum(path.stat().st_size for path in LENET.iterdir() if path.is_file()) < 4 * MEGABYTE


def test_digits_are_a_thousand_of_every_kind(digits: tuple[torch.Tensor, torch.Tensor]) -> None:
    images, labels = digits
    assert images.shape == (1000, 1, 28, 28)
    assert images.min() == 0
    assert images.max() == 1
    assert labels.bincount().min() > 80
    assert labels.bincount().shape == (10,)


def test_lenet5_program(digits: tuple[torch.Tensor, torch.Tensor]) -> None:
    program = torch.export.load(LENET / "lenet5.pt2")
    assert sum(weight.numel() for weight in program.state_dict.values()) == 431_080
    assert wrong(program.module(), digits) <= LENET5_WRONG


def test_lenet300_state(models: ModuleType, digits: tuple[torch.Tensor, torch.Tensor]) -> None:
    model = models.lenet300().eval()
    model.load_state_dict(torch.load(LENET / "lenet300.pt", weights_only=True))
    assert sum(weight.numel() for weight in model.parameters()) == 266_610
    assert wrong(model, digits) <= LENET300_WRONG


def write_idx(path: Path, array: np.ndarray) -> None:
    path.write_bytes(bytes((0, 0, 8, array.ndim)) + np.array(array.shape, ">u4").tobytes() + array.tobytes())


@pytest.mark.parametrize(("name", "written"), [("lenet5", "lenet5.pt2"), ("lenet300", "lenet300.pt")])
def test_training_script_runs_and_repeats(name: str, written: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for prefix in ("train", "t10k"):
        write_idx(tmp_path / f"{prefix}-images-idx3-ubyte", rng.integers(0, 256, (64, 28, 28), np.uint8))
        write_idx(tmp_path / f"{prefix}-labels-idx1-ubyte", rng.integers(0, 10, 64, np.uint8))
    command = [sys.executable, "-m", "examples.lenet.train", name, "--data", str(tmp_path), "--out", str(tmp_path / "out"), "--epochs", "1"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert "test error" in done.stdout
    assert {path.name for path in (tmp_path / "out").iterdir()} == {written, "digits.npz"}
    assert done.stdout == subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
