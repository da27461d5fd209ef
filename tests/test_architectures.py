"""Well-known architectures of torchvision and timm with random weights: imported from torch, packed by every recipe, run.

The slow run writes tools/results/architectures.md: THINFER_RESULTS=1 pytest -m slow tests/test_architectures.py
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from structural_nets import import_module
from thinfer import runtime
from thinfer.formats import reader, writer
from thinfer.formats.graph import Graph
from thinfer.toolchain import pipeline, recipe
from thinfer.toolchain.importers import ArchitectureError, _zoo
from torch import nn

RESULTS = Path(__file__).parents[1] / "tools" / "results" / "architectures.md"
TOLERANCE = 1e-4


class UNet(nn.Module):
    """Ronneberger et al. 2015 (arXiv 1505.04597, figure 1), with padding, BatchNorm, and a sixteenth of the channels."""

    def __init__(self, width: int = 4, depth: int = 4) -> None:
        super().__init__()
        widths = [width << level for level in range(depth + 1)]

        def double(a: int, b: int) -> nn.Sequential:
            parts = [part for c in (a, b) for part in (nn.Conv2d(c, b, 3, padding=1, bias=False), nn.BatchNorm2d(b), nn.ReLU())]
            return nn.Sequential(*parts)

        self.down = nn.ModuleList(double(a, b) for a, b in zip([3, *widths], widths))
        self.up = nn.ModuleList(nn.ConvTranspose2d(b, a, 2, stride=2) for a, b in zip(widths[-2::-1], widths[:0:-1]))
        self.join = nn.ModuleList(double(2 * a, a) for a in widths[-2::-1])
        self.head = nn.Conv2d(width, 2, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        kept = []
        for level, part in enumerate(self.down):
            x = part(nn.functional.max_pool2d(x, 2) if level else x)
            kept.append(x)
        for up, join, across in zip(self.up, self.join, kept[-2::-1]):
            x = join(torch.cat([across, up(x)], 1))
        return self.head(x)


NETS = {
    "SqueezeNet": ("torchvision:squeezenet1_1", 224), "MobileNetV1": ("timm:mobilenetv1_100", 224), "MobileNetV2": ("timm:mobilenetv2_100", 224),
    "MobileNetV3": ("torchvision:mobilenet_v3_small", 224), "ShuffleNetV2": ("torchvision:shufflenet_v2_x1_0", 224),
    "Xception": ("timm:xception41", 299), "GhostNet": ("timm:ghostnet_100", 224), "DenseNet": ("torchvision:densenet121", 224),
    "ResNet-50": ("torchvision:resnet50", 224), "VGG-16": ("torchvision:vgg16", 224), "Inception-v3": ("torchvision:inception_v3", 299),
    "ViT": ("timm:vit_tiny_patch16_224", 224), "U-Net": ("", 96),
}
QUICK = {"SqueezeNet": (64, ("dense", "codebook-4-int8", "windowed")), "U-Net": (32, recipe.presets())}
"""Those of the everyday run: at small sizes, under some recipes."""


def made(name: str, size: int) -> nn.Module:
    """The net, BatchNorm with the statistics of random images, so that activations neither vanish nor grow."""
    torch.manual_seed(0)
    try:
        module = _zoo.module(NETS[name][0]) if NETS[name][0] else UNet()
    except ArchitectureError as error:
        pytest.skip(str(error))
    norms = [part for part in module.modules() if isinstance(part, nn.BatchNorm2d)]
    for part in norms:
        part.reset_running_stats()
        part.momentum = None  # averages over all batches
        with torch.no_grad():
            part.weight.uniform_(0.7, 1.3)
            part.bias.uniform_(-0.2, 0.2)
    if norms:
        with torch.no_grad():
            for _ in range(2):
                module.train()(torch.randn(2, 3, size, size))
    return module.eval()


def compared(module: nn.Module, size: int) -> tuple[Graph, np.ndarray, np.ndarray]:
    """The imported graph, an input and torch's output for it."""
    graph = import_module(module, 1, 3, size, size)
    x = torch.randn(1, 3, size, size, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        return graph, x.numpy(), module(x).numpy()


def packed(graph: Graph, name: str) -> tuple[int, runtime.Session]:
    content = writer.to_bytes(pipeline.compress(graph, recipe.load(name)))
    return len(content), runtime.load(reader.from_bytes(content))


def error_of(session: runtime.Session, x: np.ndarray, wanted: np.ndarray) -> float:
    found = session(x)
    assert found.shape == wanted.shape
    assert np.isfinite(found).all()
    return float(np.abs(found - wanted).max() / np.abs(wanted).max())


@pytest.mark.parametrize("name", QUICK)
def test_small_ones_are_imported_packed_and_run(name: str) -> None:
    size, presets = QUICK[name]
    graph, x, wanted = compared(made(name, size), size)
    for preset in presets:
        error = error_of(packed(graph, preset)[1], x, wanted)
        if preset == "dense":
            assert error < TOLERANCE


@pytest.mark.slow
@pytest.mark.parametrize("name", NETS)
def test_all_are_imported_packed_and_run(name: str) -> None:
    size = NETS[name][1]
    graph, x, wanted = compared(made(name, size), size)
    assert float(wanted.std()) > 1e-3 * float(np.abs(wanted).mean())
    cells = []
    for preset in recipe.presets():
        began = time.perf_counter()
        nbytes, session = packed(graph, preset)
        error = error_of(session, x, wanted)
        cells.append(f"{nbytes / 1e6:.2f} MB, {error:.1e}")
        print(f"{name} {preset}: {nbytes} bytes, error {error:.2g}, {time.perf_counter() - began:.1f} s", flush=True)
        if preset == "dense":
            assert error < TOLERANCE
    if os.environ.get("THINFER_RESULTS"):
        record(name, graph, cells)


HEAD = """# Architectures

Random weights, BatchNorm with statistics of random images; bytes of the file and error against torch (max|difference| / max|torch|) for each
recipe, without fine-tuning and without calibration data, so that all but `dense` and `fp16` say only that the net is packed and runs.
`THINFER_RESULTS=1 pytest -m slow tests/test_architectures.py`

"""


def record(name: str, graph: Graph, cells: list[str]) -> None:
    """Writes the net's row into the table of results, in place of an older one."""
    presets = recipe.presets()
    rows = {}
    if RESULTS.exists():
        rows = {line.split("|")[1].strip(): line for line in RESULTS.read_text().splitlines() if line.startswith("| ") and "recipe" not in line}
    rows[name] = f"| {name} | {len(graph.nodes)} | {graph.source.parameters / 1e6:.2f} | {graph.source.macs / 1e6:.0f} | {' | '.join(cells)} |"
    head = f"| net | nodes | parameters, M | MACs, M | {' | '.join(presets)} |".replace("net |", "net (recipe) |", 1)
    lines = [head, "|---" * (4 + len(presets)) + "|", *(rows[net] for net in NETS if net in rows)]
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(HEAD + "\n".join(lines) + "\n")
