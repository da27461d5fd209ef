"""torch models arrive whole whatever they are saved as, quietly, and what does not fit is said in one sentence."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from structural_nets import MobileNetV2, Plain, Residual, expected, import_module, net, settled
from thinfer.formats.graph import Graph, verify
from thinfer.runtime.interpreter import evaluate
from thinfer.runtime.shapes import UnsupportedOps
from thinfer.toolchain import importers
from torch import nn

ARCHITECTURE = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4, 3)
    def forward(self, x):
        return torch.relu(self.fc(x))

def make():
    return Net()

def wrong():
    return 3

def failing():
    raise RuntimeError("no such width")
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A current directory with a module ``arch_of_test`` in it."""
    (tmp_path / "arch_of_test.py").write_text(ARCHITECTURE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "arch_of_test", raising=False)
    return tmp_path


def made() -> nn.Module:
    """What the module's ``make`` makes, without importing it."""
    names: dict = {"__name__": "made"}
    exec(ARCHITECTURE, names)
    return names["make"]()


def ops_of(graph: Graph) -> list[str]:
    return [node.op for node in graph.nodes]


def assert_same(graph: Graph, module: nn.Module, x: np.ndarray) -> None:
    found = evaluate(verify(graph), {graph.inputs[0].name: x})
    np.testing.assert_allclose(found["output"], expected(module, x), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("name", ["plain", "residual", "concat", "depthwise", "grouped", "shared", "squeeze_excite"])
def test_nets_compute_what_torch_computes_at_any_batch(name: str) -> None:
    module, graph, x = net(name)
    assert graph.inputs[0].shape[0] == "N"
    assert graph.outputs[0].shape[0] == "N"
    assert_same(graph, module, x)
    assert_same(graph, module, x[:1])


def test_mobilenet_comes_out_clean() -> None:
    module = MobileNetV2()
    graph = import_module(module, "N", 3, 32, 32)
    found = ops_of(graph)
    assert set(found) == {"Conv", "BatchNormalization", "Clip", "Add", "GlobalAveragePool", "Flatten", "Dropout", "Gemm"}
    assert found.count("BatchNormalization") == sum(isinstance(part, nn.BatchNorm2d) for part in module.modules())
    assert found[-4:] == ["GlobalAveragePool", "Flatten", "Dropout", "Gemm"]
    assert graph.source.parameters == sum(p.numel() for p in module.parameters())
    assert graph.label(graph.nodes[0]) == "features.0.0"
    assert all(len(node.inputs) == 2 for node in graph.nodes if node.op == "Conv")
    assert set(module.state_dict()) - set(graph.weights) == {key for key in module.state_dict() if key.endswith("num_batches_tracked")}


def test_dropout_is_kept_and_the_module_left_as_it_was() -> None:
    module = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.3, inplace=True)).eval()
    graph = import_module(module, "N", 4, name="input")
    assert ops_of(graph) == ["Gemm", "Dropout"]
    assert graph.weights[graph.nodes[1].inputs[1]].decode() == np.float32(0.3)
    assert not module[1].training
    assert module[1].inplace


def test_several_inputs_and_outputs(here: Path) -> None:
    torch.save(TwoInputs().eval(), "model.pt")
    graph = importers.load("model.pt", trust_pickle=True, input_shapes={"b": ("N", 3), "a": ("N", 4)})
    assert [(info.name, info.shape) for info in graph.inputs] == [("a", ("N", 4)), ("b", ("N", 3))]
    assert [(info.name, info.shape) for info in graph.outputs] == [("output_0", ("N", 7)), ("output_1", ("N", 3))]
    a, b = np.ones((2, 4), np.float32), np.full((2, 3), -1, np.float32)
    found = evaluate(graph, {"a": a, "b": b})
    np.testing.assert_array_equal(found["output_0"], np.concatenate([a, b], 1))
    np.testing.assert_array_equal(found["output_1"], np.zeros((2, 3)))
    with pytest.raises(importers.InputShapeError, match="does not say the shape of its input 'b'"):
        importers.load("model.pt", trust_pickle=True, input_shapes={"a": ("N", 4)})


def test_resnet_comes_out_clean() -> None:
    assert set(ops_of(import_module(Residual(), "N", 3, 12, 12))) == {"Conv", "BatchNormalization", "Relu", "Add", "GlobalAveragePool",
                                                                     "Flatten", "Gemm"}


class TwoInputs(nn.Module):
    def forward(self, a: torch.Tensor, b: torch.Tensor, scale: float = 2.0) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.cat([a, b], 1), torch.relu(b * scale)


class Spellings(nn.Module):
    """The same few things as torch's users spell them."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm1d(8)
        self.fc, self.bare = nn.Linear(8, 5), nn.Linear(8, 5, bias=False)
        self.deep = nn.Linear(8, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = nn.functional.hardswish(self.conv(x))
        x = nn.functional.hardsigmoid(x) + nn.functional.relu6(x)
        mean = x.mean([2, 3])
        pooled = nn.functional.adaptive_avg_pool2d(x, 1)
        views = self.fc(pooled.view(pooled.size(0), -1)) + self.bare(pooled.reshape(-1, 8)) + self.fc(self.norm(mean))
        deep = self.deep(x.flatten(2).permute(0, 2, 1)).mean(1, keepdim=True)
        return torch.cat([views, self.bare(pooled.squeeze(-1).squeeze(-1)), deep.reshape(x.shape[0], 4)], dim=1)


def test_spellings_are_normalised() -> None:
    module = settled(Spellings(), 3, 6, 6)
    graph = import_module(module, "N", 3, 6, 6)
    found = ops_of(graph)
    assert not {"Shape", "Gather", "Expand", "CastLike"} & set(found)
    assert found.count("Reshape") == 1  # x.flatten(2) keeps three dimensions, which Flatten cannot
    assert "GlobalAveragePool" in found
    assert "deep.weight" in graph.weights
    assert graph.weights["deep.weight"].shape == (8, 4)
    assert graph.weights["deep.weight"].axis == 1
    assert_same(graph, module, np.random.default_rng(0).standard_normal((3, 3, 6, 6)).astype(np.float32))


def test_exported_programs(tmp_path: Path) -> None:
    module, _, x = net("residual")
    path = tmp_path / "model.pt2"
    batch = torch.export.Dim("batch", min=1)
    torch.export.save(torch.export.export(module, (torch.from_numpy(x),), dynamic_shapes=({0: batch},)), path)
    graph = importers.load(path)
    assert "BatchNormalization" in ops_of(graph)
    assert isinstance(graph.inputs[0].shape[0], str)
    assert_same(graph, module, x)
    assert importers.load(path, input_shapes={"x": ("N", 3, 12, 12)}).outputs[0].shape == ("N", 5)


def test_the_content_counts_not_the_suffix(tmp_path: Path) -> None:
    module, _, x = net("plain")
    path = tmp_path / "model.onnx"
    torch.export.save(torch.export.export(module, (torch.from_numpy(x),)), tmp_path / "model.pt2")
    (tmp_path / "model.pt2").rename(path)
    assert_same(importers.load(path), module, x)


def test_pickled_modules_need_trust_and_shapes(here: Path, capfd: pytest.CaptureFixture[str]) -> None:
    module = Plain().eval()
    torch.save(module, "model.pt")
    with pytest.raises(importers.UntrustedModel, match=r"model\.pt is a pickle with more than tensors in it.* --trust-pickle"):
        importers.load("model.pt", input_shapes={"x": (1, 1, 16, 16)})
    with pytest.raises(importers.InputShapeError, match=r"model\.pt does not say the shape of its input 'x'; .* --input-shape x:"):
        importers.load("model.pt", trust_pickle=True)
    with pytest.raises(importers.InputShapeError, match="the model has no input 'y'; its inputs are x"):
        importers.load("model.pt", trust_pickle=True, input_shapes={"y": (1, 1, 16, 16)})
    graph = importers.load("model.pt", trust_pickle=True, input_shapes={"x": ("N", 1, 16, 16)})
    assert_same(graph, module, np.random.default_rng(1).standard_normal((3, 1, 16, 16)).astype(np.float32))
    assert capfd.readouterr() == ("", "")


def test_wrong_shapes_of_a_module_are_one_sentence(here: Path) -> None:
    torch.save(Plain().eval(), "model.pt")
    with pytest.raises(importers.ModelError, match="cannot be exported by torch with these input shapes: ") as caught:
        importers.load("model.pt", trust_pickle=True, input_shapes={"x": ("N", 3, 16, 16)})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("wrapped", ["plain", "checkpoint", "parallel"])
def test_state_dicts_need_an_architecture(zipped: bool, wrapped: str, here: Path) -> None:
    module = made()
    state = dict(module.state_dict())
    saved = {"plain": state, "checkpoint": {"epoch": 3, "state_dict": state}, "parallel": {f"module.{k}": v for k, v in state.items()}}
    torch.save(saved[wrapped], "model.pth", _use_new_zipfile_serialization=zipped)
    with pytest.raises(importers.ArchitectureError, match=r"model\.pth is a state dict, .* --arch package\.module:factory"):
        importers.load("model.pth")
    graph = importers.load("model.pth", arch="arch_of_test:make", input_shapes={"x": ("N", 4)})
    assert_same(graph, module, np.random.default_rng(1).standard_normal((3, 4)).astype(np.float32))


@pytest.mark.parametrize(("arch", "message"), [
    ("arch_of_test", r"the architecture 'arch_of_test' does not have the form package\.module:factory"),
    ("no.such.module:make", r"the architecture no\.such\.module:make cannot be made: ModuleNotFoundError: No module named 'no'"),
    ("arch_of_test:gone", "the architecture's module arch_of_test has no 'gone'"),
    ("arch_of_test:wrong", "the architecture arch_of_test:wrong makes a int, not a torch module"),
    ("arch_of_test:failing", "the architecture arch_of_test:failing cannot be made: RuntimeError: no such width"),
    ("torch.nn:Identity", r"the state dict in .* does not fit torch\.nn:Identity: fc\.weight is not in it, fc\.bias is not in it"),
])
def test_wrong_architectures(arch: str, message: str, here: Path) -> None:
    torch.save(made().state_dict(), "model.pth")
    with pytest.raises(importers.ArchitectureError, match=message):
        importers.load("model.pth", arch=arch, input_shapes={"x": (1, 4)})


def test_a_state_dict_of_other_shapes(here: Path) -> None:
    torch.save(nn.ModuleDict({"fc": nn.Linear(5, 3)}).state_dict(), "model.pth")
    with pytest.raises(importers.ArchitectureError, match=r"fc\.weight is \(3, 5\) instead of \(3, 4\)"):
        importers.load("model.pth", arch="arch_of_test:make", input_shapes={"x": (1, 4)})


def test_other_pickles(here: Path) -> None:
    torch.save({"epoch": 3, "loss": [1, 2]}, "log.pt")
    with pytest.raises(importers.UnsupportedModel, match="holds a dictionary, but not one of tensors only"):
        importers.load("log.pt", arch="arch_of_test:make")
    torch.save(torch.zeros(3), "tensor.pt")
    with pytest.raises(importers.UnsupportedModel, match="holds a Tensor, neither a torch module nor a state dict"):
        importers.load("tensor.pt")


def test_truncated_and_damaged_archives(here: Path) -> None:
    torch.save(Plain().state_dict(), "whole.pt")
    torch.save(Plain().state_dict(), "old.pt", _use_new_zipfile_serialization=False)
    torch.export.save(torch.export.export(Plain().eval(), (torch.zeros(1, 1, 16, 16),)), "whole.pt2")
    for name in ("whole.pt", "old.pt", "whole.pt2"):
        content = Path(name).read_bytes()
        for size in (40, len(content) // 3, len(content) - 30):
            Path("cut.pt").write_bytes(content[:size])
            with pytest.raises(importers.UnreadableModel, match="truncated or damaged"):
                importers.load("cut.pt", arch="arch_of_test:make")


class Evil:
    """Unpickling it makes a file."""

    def __reduce__(self) -> tuple:
        return os.mkdir, ("pwned",)


def test_a_pickle_runs_nothing_unless_trusted(here: Path) -> None:
    torch.save({"state_dict": Evil()}, "evil.pt")
    with pytest.raises(importers.UntrustedModel):
        importers.load("evil.pt")
    assert not Path("pwned").exists()


def rewritten(source: str, target: str, entry: str, content: bytes) -> None:
    """A copy of an archive in which the entry with that ending has another content."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            new.writestr(name, content if name.endswith(entry) else old.read(name))


def test_a_program_runs_nothing_unless_trusted(here: Path) -> None:
    dynamic = ({0: torch.export.Dim("n", min=2)},)
    torch.export.save(torch.export.export(nn.Linear(4, 3), (torch.zeros(2, 4),), dynamic_shapes=dynamic), "good.pt2")
    torch.save((Evil(),), "evil.pt")
    rewritten("good.pt2", "evil.pt2", "sample_inputs/model.pt", Path("evil.pt").read_bytes())
    with pytest.raises(importers.UntrustedModel, match=r"data/sample_inputs/model\.pt is a pickle with more than tensors in it"):
        importers.load("evil.pt2")
    with zipfile.ZipFile("good.pt2") as archive:
        name = next(name for name in archive.namelist() if name.endswith("models/model.json"))
        program = archive.read(name).decode()
    assert '"expr_str": "Symbol(' in program
    for old, new in (('"expr_str": "Sym', '"expr_str": "exec(bytes((1,2)))+Sym'), ("torch.ops.aten.linear.default", "torch.os.system"),
                     ('"expr_str": "Sym', '"expr_str": "().__class__+Sym')):
        rewritten("good.pt2", "evil.pt2", "models/model.json", program.replace(old, new).encode())
        with pytest.raises(importers.UntrustedModel, match=r"loading evil\.pt2 can run code from it \(the (expression|operator)"):
            importers.load("evil.pt2")
    assert not Path("pwned").exists()
    assert ops_of(importers.load("good.pt2")) == ["Gemm"]


def test_operators_that_do_not_exist_here_are_listed(here: Path) -> None:
    class Odd(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.randn_like(x) + torch.multinomial(x[0], 3)

    with pytest.raises(UnsupportedOps, match=r"operators are not supported: .*Multinomial .*RandomNormalLike"):
        import_module(Odd(), "N", 3, 3)


def test_onnx_files_are_imported_without_torch(tmp_path: Path) -> None:
    code = ("import sys; from thinfer.toolchain import importers; from thinfer.formats.errors import ThinferError\n"
            "try: importers.load('gone.onnx')\nexcept ThinferError as e: print(e)\n"
            "import thinfer.toolchain.importers.onnx; print('torch' in sys.modules)")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=True,
                          env={**os.environ, "PYTHONPATH": os.pathsep.join(os.path.abspath(path) for path in sys.path)})
    assert done.stdout.splitlines() == ["there is no file gone.onnx", "False"]
