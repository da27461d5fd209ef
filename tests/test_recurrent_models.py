"""Recurrent nets from torch: both exporters, states carried from call to call, every preset."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from thinfer import runtime
from thinfer.formats.graph import Graph, Node, ValueInfo
from thinfer.formats.tensor import EncodedTensor
from thinfer.toolchain import importers, pipeline, recipe
from thinfer.toolchain.passes._edit import with_channel_axes
from thinfer.toolchain.roles import roles


class Tagger(torch.nn.Module):
    """Two bidirectional LSTM layers, a GRU and an RNN, over sequences of whatever length."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = torch.nn.LSTM(12, 20, num_layers=2, bidirectional=True, batch_first=True)
        self.gru, self.rnn, self.head = torch.nn.GRU(40, 16), torch.nn.RNN(16, 18, nonlinearity="relu"), torch.nn.Linear(18, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.head(self.rnn(self.gru(self.lstm(x)[0])[0])[0])
        return y


class Stream(torch.nn.Module):
    """An LSTM whose states are inputs and outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = torch.nn.LSTM(10, 24)

    def forward(self, x: torch.Tensor, h: torch.Tensor, c: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        y, (after_h, after_c) = self.lstm(x, (h, c))
        return y, after_h, after_c


def exported(net: torch.nn.Module, args: tuple[torch.Tensor, ...], names: list[str], outputs: list[str], folder: Path, dynamo: bool) -> Graph:
    file = folder / "net.onnx"
    torch.onnx.export(net, args, str(file), input_names=names, output_names=outputs, dynamo=dynamo, **({} if dynamo else {"opset_version": 17}))
    return importers.load(file)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("dynamo", [False, True])
def test_torch_and_both_backends_agree(dynamo: bool, tmp_path: Path) -> None:
    torch.manual_seed(0)
    net, x = Tagger().eval(), torch.randn(3, 7, 12)
    graph = exported(net, (x,), ["x"], ["y"], tmp_path, dynamo)
    assert {"LSTM", "GRU"} | (set() if dynamo else {"RNN"}) <= {node.op for node in graph.nodes}  # dynamo spells RNNs out
    with torch.no_grad():
        expected = net(x).numpy()
    for backend in ("numpy", "native"):
        np.testing.assert_allclose(runtime.load(graph, backend=backend).run({"x": x.numpy()})["y"], expected, atol=1e-5)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("backend", ["numpy", "native"])
def test_states_are_carried(backend: str, tmp_path: Path) -> None:
    """Two frames at a time, against all of them at once in torch."""
    torch.manual_seed(0)
    net, x = Stream().eval(), torch.randn(8, 1, 10)
    zeros = torch.zeros(1, 1, 24)
    graph = exported(net, (x[:2], zeros, zeros), ["x", "h", "c"], ["y", "after_h", "after_c"], tmp_path, False)
    with torch.no_grad():
        expected = net(x, zeros, zeros)
    session, states, found = runtime.load(graph, backend=backend), {"h": zeros.numpy(), "c": zeros.numpy()}, []
    for first in range(0, 8, 2):
        out = session.run({"x": x[first:first + 2].numpy(), **states})
        found.append(out["y"])
        states = {"h": out["after_h"], "c": out["after_c"]}
    for one, other in zip((np.concatenate(found), states["h"], states["c"]), expected):
        np.testing.assert_allclose(one, other.numpy(), atol=1e-6)


@pytest.fixture(scope="module")
def tagger(tmp_path_factory: pytest.TempPathFactory) -> tuple[Graph, np.ndarray]:
    torch.manual_seed(0)
    x = torch.randn(2, 6, 12)
    return exported(Tagger().eval(), (x,), ["x"], ["y"], tmp_path_factory.mktemp("tagger"), False), x.numpy()


@pytest.mark.filterwarnings("ignore")
def test_gates_are_the_channels_of_recurrent_weights(tagger: tuple[Graph, np.ndarray]) -> None:
    graph, found = tagger[0], roles(tagger[0])
    for node in graph.nodes:
        if node.op in ("LSTM", "GRU", "RNN"):
            assert [found[name].kind for name in node.inputs[1:4]] == ["weight", "weight", "bias"]
            assert [graph.weights[name].axis for name in node.inputs[1:3]] == [1, 1]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("preset", recipe.presets())
def test_every_preset_packs_and_runs(preset: str, tagger: tuple[Graph, np.ndarray]) -> None:
    """Both backends make the same of what was packed; what a preset does to the weights is smaller than they are."""
    graph, x = tagger
    packed = pipeline.compress(graph, recipe.load(preset), calibration={"x": x})
    one, other = (runtime.load(packed, backend=backend).run({"x": x})["y"] for backend in ("numpy", "native"))
    np.testing.assert_allclose(one, other, atol=1e-5)
    exact = runtime.load(graph, backend="numpy").run({"x": x})["y"]
    assert np.isfinite(one).all()
    assert np.abs(one - exact).max() <= np.abs(exact).max()


def test_weights_of_einsum_are_compressed_along_their_outputs() -> None:
    rng = np.random.default_rng(0)
    weights = {"w": EncodedTensor.dense(rng.normal(size=(8, 3, 4)).astype(np.float32))}
    nodes = (Node("Einsum", ("x", "w"), ("y",), {"equation": "bti,ihd->bthd"}),)
    graph = with_channel_axes(Graph((ValueInfo("x", "float32", (2, 5, 8)),), (ValueInfo("y", "float32", (2, 5, 3, 4)),), nodes, weights))
    assert roles(graph)["w"].kind == "weight"
    assert graph.weights["w"].axis == 2
    packed = pipeline.compress(graph, recipe.load("codebook-4"))
    x = rng.normal(size=(2, 5, 8)).astype(np.float32)
    expected = np.einsum("bti,ihd->bthd", x, packed.weights["w"].decode())
    np.testing.assert_allclose(runtime.load(packed).run({"x": x})["y"], expected, atol=1e-5)
