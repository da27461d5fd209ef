"""From a ``.pt2`` to outputs: torch on one side; file, session and both backends on the other."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from command_line import works
from thinfer import runtime
from thinfer.formats import reader, writer
from thinfer.formats.graph import Graph
from thinfer.kernels import isa
from thinfer.runtime.interpreter import evaluate
from thinfer.toolchain import importers, recipe
from thinfer.toolchain.compare import compare
from thinfer.toolchain.measure import expanded
from thinfer.toolchain.pipeline import compress
from torch import nn
from torch.nn import functional as F

BACKENDS = ["numpy", *(["numba"] if find_spec("numba") else []), *(["native"] if isa.native() is not None else [])]
COMPRESSED = [name for name in recipe.presets() if name not in ("dense", "sparse", "xnor") and not name.endswith("int8")]
"""Those whose arithmetic is in floats: quantization turns roundings into steps, and has tests of its own."""
"""Those whose arithmetic is that of floats; test_quantize_activations.py has the others."""


class Net(nn.Module):
    """A bit of everything: stem, inverted residual with a depthwise convolution, strided convolution, dropout, two linear layers."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.stem_bn = nn.Conv2d(3, 16, 3, 2, 1, bias=False), nn.BatchNorm2d(16)
        self.expand, self.expand_bn = nn.Conv2d(16, 48, 1, bias=False), nn.BatchNorm2d(48)
        self.depthwise, self.depthwise_bn = nn.Conv2d(48, 48, 3, 1, 1, groups=48, bias=False), nn.BatchNorm2d(48)
        self.project, self.project_bn = nn.Conv2d(48, 16, 1, bias=False), nn.BatchNorm2d(16)
        self.down = nn.Conv2d(16, 40, 3, 2, 1)
        self.hidden, self.drop, self.last = nn.Linear(640, 96), nn.Dropout(0.2), nn.Linear(96, 10)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        x = F.relu6(self.stem_bn(self.stem(image)))
        inner = F.relu6(self.expand_bn(self.expand(x)))
        inner = F.relu6(self.depthwise_bn(self.depthwise(inner)))
        x = x + self.project_bn(self.project(inner))
        x = F.max_pool2d(F.relu(self.down(x)), 2)
        return self.last(self.drop(torch.sigmoid(self.hidden(torch.flatten(x, 1)))))


def trained() -> Net:
    """A net with running statistics that fit it and scales that differ, as after training."""
    torch.manual_seed(7)
    net = Net()
    for part in net.modules():
        if isinstance(part, nn.BatchNorm2d):
            nn.init.uniform_(part.weight, 0.3, 2)
            nn.init.uniform_(part.bias, -0.5, 0.5)
    net.train()
    with torch.no_grad():
        for _ in range(30):
            net(torch.randn(32, 3, 32, 32))
    return net.eval()


@pytest.fixture(scope="module")
def net() -> Net:
    return trained()


@pytest.fixture(scope="module")
def program(net: Net, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("program") / "net.pt2"
    exported = torch.export.export(net, (torch.zeros(2, 3, 32, 32),), dynamic_shapes=({0: torch.export.Dim("N", min=1)},))
    torch.export.save(exported, path)
    return path


@pytest.fixture(scope="module")
def graph(program: Path) -> Graph:
    return importers.load(program)


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((11, 3, 32, 32), dtype=np.float32)


def torch_outputs(net: nn.Module, images: np.ndarray) -> dict[str, np.ndarray]:
    with torch.no_grad():
        return {"output": net.double()(torch.from_numpy(images).double()).numpy()}


def packed(graph: Graph, preset: str, folder: Path) -> Path:
    path = folder / f"{preset}.thin"
    writer.write(compress(graph, recipe.load(preset)), path)
    return path


@pytest.mark.parametrize("backend", BACKENDS)
def test_dense_computes_what_torch_computes(net: Net, graph: Graph, images: np.ndarray, tmp_path: Path, backend: str) -> None:
    session = runtime.load(packed(graph, "dense", tmp_path), backend=backend)
    for some in (images, images[:1]):
        (row,) = compare(session.run({"image": some}), torch_outputs(net, some))
        assert row.error < 1e-5
        assert row.top1 == 1


@pytest.mark.parametrize("preset", COMPRESSED)
def test_a_file_computes_what_its_weights_say(graph: Graph, images: np.ndarray, tmp_path: Path, preset: str) -> None:
    """The reference is the graph with every weight expanded, in float64; compressed or not, arithmetic is the same."""
    path = packed(graph, preset, tmp_path)
    expected = evaluate(expanded(reader.read(path)), {"image": images.astype(np.float64)})
    for backend in BACKENDS:
        (row,) = compare(runtime.load(path, backend=backend, threads=2).run({"image": images}), expected)
        assert row.error < 1e-5, backend


def test_more_bits_are_closer_and_larger(net: Net, graph: Graph, images: np.ndarray, tmp_path: Path) -> None:
    expected = torch_outputs(net, images)
    order = ["dense", "fp16", "codebook-8", "codebook-4", "codebook-3", "codebook-2"]
    files = [packed(graph, preset, tmp_path) for preset in order]
    errors = [compare(runtime.load(path).run({"image": images}), expected)[0].error for path in files]
    assert errors == sorted(errors)
    assert errors[1] < 5e-3
    assert errors[2] < 0.05
    sizes = [path.stat().st_size for path in files]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] / sizes[3] > 5


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("preset", "least"), [("fp16", 1.8), ("codebook-8", 2.5), ("codebook-4", 4), ("codebook-2", 6), ("binary", 8)])
def test_weights_stay_compressed_in_ram(graph: Graph, tmp_path: Path, backend: str, preset: str, least: float) -> None:
    """The largest weight, by far most of the net, as the session holds it."""
    memory = runtime.load(packed(graph, preset, tmp_path), backend=backend).weight_memory()
    assert graph.weights["hidden.weight"].nbytes_dense / memory["hidden.weight"]["nbytes"] > least


def test_pruned_channels_are_gone_and_the_rest_computes(net: Net, graph: Graph, images: np.ndarray, tmp_path: Path) -> None:
    compressed = compress(graph, recipe.parse("prune_channels: {fraction: 0.3}\nvalues: {kind: codebook, bits: 8, scale: channel}"))
    writer.write(compressed, tmp_path / "x.thin")
    before, after = (sum(t.size for t in g.weights.values()) for g in (graph, compressed))
    assert after < 0.8 * before
    expected = evaluate(expanded(compressed), {"image": images.astype(np.float64)})
    for backend in BACKENDS:
        (row,) = compare(runtime.load(tmp_path / "x.thin", backend=backend).run({"image": images}), expected)
        assert row.error < 1e-5


def test_the_commands_one_after_the_other(program: Path, images: np.ndarray, tmp_path: Path, net: Net) -> None:
    thin = tmp_path / "net.thin"
    np.savez(tmp_path / "x.npz", image=images)
    works("pack", program, "-o", thin, "--recipe", "codebook-8")
    works("run", thin, "--input", tmp_path / "x.npz", "-o", tmp_path / "y.npz")
    with np.load(tmp_path / "y.npz") as found:
        (row,) = compare(dict(found), torch_outputs(net, images))
    said = json.loads(works("verify", thin, "--against", program, "--data", tmp_path / "x.npz", "--json"))
    assert said["reference"].startswith("torch")
    assert said["outputs"][0]["error"] == pytest.approx(row.error, rel=0.01)
    assert said["outputs"][0]["top1"] == row.top1
    total = json.loads(works("inspect", thin, "--json"))["total"]
    assert total["nbytes_file"] == thin.stat().st_size
    rows = json.loads(works("bench", thin, "--against", program, "--json"))["contenders"]
    assert rows[1]["file_ratio"] > 3
    assert rows[1]["ram_ratio"] > 2.5
