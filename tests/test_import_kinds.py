"""TorchScript, safetensors, and architectures by name: imported and compared with torch."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from thinfer import runtime
from thinfer.toolchain import cli, importers, reference
from torch import nn

RNG = np.random.default_rng(9)


class Recurrent(nn.Module):
    """Convolutions with BatchNorm, a branch on an argument's size, and an LSTM whose state the caller carries."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Sequential(nn.Conv1d(2, 6, 3, padding=1), nn.BatchNorm1d(6), nn.ReLU())
        self.lstm = nn.LSTM(6, 5, batch_first=True)

    def forward(self, x: torch.Tensor, h: torch.Tensor, c: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        y, (h, c) = self.lstm(self.conv(x).transpose(1, 2), (h, c))
        return y, h, c


SHAPES = {"x": ("N", 2, "T"), "h": (1, "N", 5), "c": (1, "N", 5)}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    return tmp_path


def recurrent() -> nn.Module:
    module = Recurrent()
    with torch.no_grad():
        for _ in range(5):
            module.conv(torch.randn(8, 2, 20) * 2 + 1)  # gives BatchNorm statistics
    return module.eval()


def agrees(path: str, **shapes: tuple[int, ...]) -> None:
    session, wanted = runtime.load(importers.load(path, input_shapes=SHAPES)), reference.load(Path(path))
    for batch, length in ((1, 7), (4, 30)):
        feeds = {"x": RNG.standard_normal((batch, 2, length)).astype(np.float32), "h": RNG.standard_normal((1, batch, 5)).astype(np.float32),
                 "c": RNG.standard_normal((1, batch, 5)).astype(np.float32)}
        found = session.run(feeds)
        for name, array in wanted.run(feeds).items():
            np.testing.assert_allclose(found[name], array, rtol=1e-4, atol=1e-5)


def test_torchscript_scripted_and_traced(here: Path) -> None:
    module = recurrent()
    torch.jit.save(torch.jit.script(module), "scripted.pt")
    example = (torch.randn(2, 2, 9), torch.randn(1, 2, 5), torch.randn(1, 2, 5))
    torch.jit.save(torch.jit.trace(module, example), "traced.pt")
    for path in ("scripted.pt", "traced.pt"):
        agrees(path)
        graph = importers.load(path, input_shapes=SHAPES)
        assert [info.name for info in graph.inputs] == ["x", "h", "c"]
        assert graph.inputs[0].shape == ("N", 2, "T")
        assert "BatchNormalization" in [node.op for node in graph.nodes]


def test_torchscript_needs_shapes_and_no_trust(here: Path) -> None:
    torch.jit.save(torch.jit.script(recurrent()), "scripted.pt")
    with pytest.raises(importers.InputShapeError, match=r"scripted\.pt does not say the shape of its input 'x'; give it with --input-shape x:"):
        importers.load("scripted.pt")
    whole = Path("scripted.pt").read_bytes()
    for size in range(100, len(whole), len(whole) // 20):
        Path("cut.pt").write_bytes(whole[:size])
        with pytest.raises(importers.UnreadableModel, match=r"cut\.pt"):
            importers.load("cut.pt", input_shapes=SHAPES)


ARCHITECTURE = """
import sys
sys.path.insert(0, {tests!r})
from test_import_kinds import Recurrent as make
"""


def test_safetensors_with_an_architecture(here: Path) -> None:
    module = recurrent()
    save_file(module.state_dict(), "model.safetensors")
    Path("arch_of_kinds.py").write_text(ARCHITECTURE.format(tests=str(Path(__file__).parent)))
    fixed = {name: tuple(11 if dim == "T" else dim for dim in shape) for name, shape in SHAPES.items()}
    graph = importers.load("model.safetensors", arch="arch_of_kinds:make", input_shapes=fixed)
    x, h, c = (RNG.standard_normal(shape).astype(np.float32) for shape in ((3, 2, 11), (1, 3, 5), (1, 3, 5)))
    with torch.inference_mode():
        wanted = module(*map(torch.from_numpy, (x, h, c)))
    found = runtime.load(graph).run({"x": x, "h": h, "c": c})
    for place, array in enumerate(wanted):
        np.testing.assert_allclose(found[f"output_{place}"], array.numpy(), rtol=1e-4, atol=1e-5)
    with pytest.raises(importers.ArchitectureError, match=r"model\.safetensors is a state dict, .* --arch package\.module:factory"):
        importers.load("model.safetensors")


def test_damaged_safetensors(here: Path) -> None:
    save_file(recurrent().state_dict(), "model.safetensors")
    whole = Path("model.safetensors").read_bytes()
    for size in (9, 20, 200, len(whole) - 1):
        Path("cut.safetensors").write_bytes(whole[:size])
        with pytest.raises(importers.UnreadableModel, match=r"cut\.safetensors is no whole safetensors file"):
            importers.load("cut.safetensors", arch="arch_of_kinds:make", input_shapes=SHAPES)


def test_integer_inputs_are_said_by_annotations(here: Path) -> None:
    class Embedded(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = nn.Embedding(10, 4)

        def forward(self, ids: torch.LongTensor) -> torch.Tensor:
            return self.table(ids).sum(1)

    from structural_nets import import_module

    graph = import_module(Embedded(), "N", "T", name="ids")
    assert graph.inputs[0].dtype == "int64"


@pytest.mark.parametrize(("name", "size"), [("torchvision:squeezenet1_1", 224), ("timm:test_resnet", 160)])
def test_architectures_by_name(name: str, size: int, here: Path, caplog: pytest.LogCaptureFixture) -> None:
    pytest.importorskip(name.partition(":")[0] if name.startswith("timm") else "PIL", reason="needs timm or torchvision")
    with caplog.at_level(logging.WARNING, "thinfer"):
        graph = importers.load(name)
    assert f"{name} has random weights: no pretrained ones lie on this machine, and none are fetched" in caplog.text
    assert graph.inputs[0].shape == ("N", 3, size, size)
    again = reference.load(Path(name))  # the same random weights
    x = RNG.standard_normal((1, 3, size, size)).astype(np.float32)
    wanted = again.run({"x": x})["output"]
    np.testing.assert_allclose(runtime.load(graph).run({"x": x})["output"], wanted, atol=1e-4 * np.abs(wanted).max())


@pytest.mark.parametrize("defined", [("nms",), ("nms", "qnms")])
def test_operators_that_the_process_has_defined_stay(defined: tuple[str, ...]) -> None:
    """A definition of torchvision's operators belongs to the whole process, so this has one of its own."""
    pytest.importorskip("PIL", reason="needs torchvision")
    code = f"""
import torch
library = torch.library.Library("torchvision", "DEF")
for name in {defined}:
    library.define(name + "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
from thinfer.toolchain.importers import _zoo
_zoo._define_operators()
_zoo._define_operators()
print(sum(weight.numel() for weight in _zoo.module("torchvision:squeezenet1_1").parameters()))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "1235496\n", done.stderr


def test_names_that_are_no_architectures(here: Path) -> None:
    pytest.importorskip("timm")
    with pytest.raises(importers.ArchitectureError, match=r"^timm has no architecture 'mobilenetv9'; it has mobilenet"):
        importers.load("timm:mobilenetv9")
    with pytest.raises(importers.ArchitectureError, match=r"^torchvision has no architecture 'resnet17'; it has resnet1"):
        importers.load("torchvision:resnet17")
    with pytest.raises(importers.MissingModel, match="there is no file keras:resnet50"):
        importers.load("keras:resnet50")


def test_a_package_that_is_not_installed_is_named(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(importers.ArchitectureError, match="timm:NAME needs the package timm, which is not installed"):
        importers.load("timm:resnet18")


def test_packing_by_name(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("timm")
    assert cli.execute(["pack", "torchvision:squeezenet1_1", "--input-shape", "x:1,3,64,64", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["file"] == "squeezenet1_1.thin"
    assert runtime.load("squeezenet1_1.thin").inputs[0].shape == (1, 3, 64, 64)
