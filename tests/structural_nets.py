"""Small torch nets, one for each way in which channels hang together, and their import."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import torch
from thinfer.formats.graph import Graph
from thinfer.toolchain.importers import torch as from_torch
from torch import nn


def import_module(module: nn.Module, *shape: int | str, name: str = "x") -> Graph:
    """The graph of a module whose only input has ``shape``."""
    given = {name: shape}
    with from_torch.quiet():
        program = from_torch._exported(module.eval(), Path("module"), given)
        model = from_torch._onnx(program, Path("module"))
        return from_torch.from_onnx.convert(model, "module", given, tidy=from_torch.without_export_traces)


def settled(module: nn.Module, *shape: int, seed: int = 0) -> nn.Module:
    """The module with running statistics, scales and shifts of BatchNorm that are not the trivial ones."""
    torch.manual_seed(seed)
    for part in module.modules():
        if isinstance(part, (nn.BatchNorm1d, nn.BatchNorm2d)):
            nn.init.uniform_(part.weight, 0.5, 1.5)
            nn.init.uniform_(part.bias, -0.5, 0.5)
            nn.init.uniform_(part.running_mean, -0.5, 0.5)
            nn.init.uniform_(part.running_var, 0.5, 2.0)
    return module.eval()


def expected(module: nn.Module, x: np.ndarray) -> np.ndarray:
    """What torch computes, in the dtype of ``x``."""
    with torch.no_grad():
        return module.eval().to(torch.from_numpy(x).dtype)(torch.from_numpy(x)).numpy()


def conv_bn(inputs: int, outputs: int, kernel: int = 3, stride: int = 1, groups: int = 1, act: type[nn.Module] = nn.ReLU) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False), nn.BatchNorm2d(outputs), act())


class Plain(nn.Module):
    """Conv, pooling, Conv, pooling, flatten, two linear layers: LeNet-5's kind."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 6, 3, padding=1), nn.Conv2d(6, 10, 3)
        self.fc1, self.fc2 = nn.Linear(10 * 3 * 3, 20), nn.Linear(20, 7)
        self.pool = nn.MaxPool2d(2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.pool(torch.relu(self.conv1(x)))
        x = self.pool(torch.relu(self.conv2(x)))
        return self.fc2(torch.relu(self.fc1(x.flatten(1))))


class Residual(nn.Module):
    """A stem, two residual blocks (the second with a downsampling shortcut) and a classifier: ResNet-18's kind."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.stem = conv_bn(3, width)
        self.a1, self.a2 = conv_bn(width, width), conv_bn(width, width, act=nn.Identity)
        self.b1, self.b2 = conv_bn(width, 2 * width, stride=2), conv_bn(2 * width, 2 * width, act=nn.Identity)
        self.down = conv_bn(width, 2 * width, 1, 2, act=nn.Identity)
        self.fc = nn.Linear(2 * width, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        x = torch.relu(x + self.a2(self.a1(x)))
        x = torch.relu(self.down(x) + self.b2(self.b1(x)))
        return self.fc(torch.flatten(nn.functional.adaptive_avg_pool2d(x, 1), 1))


class Dense(nn.Module):
    """Concatenations that grow: DenseNet's kind."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.a, self.b = conv_bn(3, 6), conv_bn(6, 4), conv_bn(10, 4)
        self.mix, self.fc = conv_bn(14, 8, 1), nn.Linear(8 * 16, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        x = torch.cat([x, self.a(x)], 1)
        x = torch.cat([x, self.b(x)], 1)
        return self.fc(nn.functional.avg_pool2d(self.mix(x), 2).flatten(1))


class Inverted(nn.Module):
    """Expansion, depthwise convolution, projection, with a residual around it."""

    def __init__(self, inputs: int, outputs: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = inputs * expansion
        parts = [conv_bn(inputs, hidden, 1, act=nn.ReLU6)] if expansion != 1 else []
        self.c = nn.Sequential(*parts, conv_bn(hidden, hidden, 3, stride, hidden, nn.ReLU6), conv_bn(hidden, outputs, 1, act=nn.Identity))
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.c(x) if self.residual else self.c(x)


class MobileNetV2(nn.Module):
    """MobileNetV2 (Sandler et al. 2018) with few channels and blocks."""

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        blocks: list[nn.Module] = [conv_bn(3, 8, 3, 2, act=nn.ReLU6)]
        inputs = 8
        for expansion, outputs, repeat, stride in [(1, 4, 1, 1), (6, 6, 2, 2), (6, 8, 3, 2)]:
            for place in range(repeat):
                blocks.append(Inverted(inputs, outputs, stride if place == 0 else 1, expansion))
                inputs = outputs
        self.features = nn.Sequential(*blocks, conv_bn(inputs, 32, 1, act=nn.ReLU6))
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(32, classes))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.classifier(torch.flatten(nn.functional.adaptive_avg_pool2d(self.features(x), 1), 1))


class Grouped(nn.Module):
    """A grouped convolution between two ordinary ones: ResNeXt's kind."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.g, self.c = conv_bn(3, 12, 1), conv_bn(12, 24, 3, 1, 4), conv_bn(24, 6, 1)
        self.fc = nn.Linear(6, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(self.c(self.g(self.a(x))).mean([2, 3]))


class Shared(nn.Module):
    """One convolution applied twice, so that its inputs and outputs hang together."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.twice, self.out = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1), nn.Conv2d(8, 4, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.stem(x))
        x = torch.relu(self.twice(x))
        return self.out(torch.relu(self.twice(x)))


class SqueezeExcite(nn.Module):
    """Channels weighted by a small net that looks at all of them (Hu et al. 2018)."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.down, self.up = conv_bn(3, 12), nn.Conv2d(12, 6, 1), nn.Conv2d(6, 12, 1)
        self.out = nn.Conv2d(12, 4, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        gate = torch.sigmoid(self.up(torch.relu(self.down(nn.functional.adaptive_avg_pool2d(x, 1)))))
        return self.out(x * gate)


class Resized(nn.Module):
    """Down and up again, by scale and to a size, with shortcuts (Ronneberger et al. 2015, U-Net)."""

    def __init__(self) -> None:
        super().__init__()
        self.top, self.middle, self.bottom = conv_bn(3, 8), conv_bn(8, 12), conv_bn(12, 16)
        self.up, self.out = conv_bn(28, 10), nn.Conv2d(18, 4, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        top = self.top(x)
        middle = self.middle(nn.functional.max_pool2d(top, 2))
        bottom = self.bottom(nn.functional.max_pool2d(middle, 2))
        wide = nn.functional.interpolate(bottom, scale_factor=2, mode="bilinear", align_corners=True)
        x = self.up(torch.cat([wide, middle], 1))
        return self.out(torch.cat([nn.functional.interpolate(x, size=(8, 8), mode="nearest"), top], 1))


class Cut(nn.Module):
    """Channels in two halves and in a stretch, every other pixel, blocks of pixels as channels and back (ShuffleNetV2's and YOLO's kind)."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.branch, self.focus = conv_bn(3, 12), conv_bn(6, 6), conv_bn(48, 20)
        self.deep, self.out = nn.Conv2d(11, 8, 1), nn.Conv2d(2, 4, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        first, second = self.stem(x).chunk(2, 1)
        x = torch.cat([first, self.branch(second)], 1)
        x = torch.cat([x[..., ::2, ::2], x[..., 1::2, ::2], x[..., ::2, 1::2], x[..., 1::2, 1::2]], 1)
        x = self.focus(x)[:, 4:15].repeat(1, 1, 1, 2)
        return self.out(nn.functional.pixel_shuffle(self.deep(x), 2))


NETS: dict[str, tuple[type[nn.Module], tuple[int, ...]]] = {
    "plain": (Plain, (1, 16, 16)),
    "residual": (Residual, (3, 12, 12)),
    "concat": (Dense, (3, 8, 8)),
    "depthwise": (MobileNetV2, (3, 32, 32)),
    "grouped": (Grouped, (3, 8, 8)),
    "shared": (Shared, (3, 8, 8)),
    "squeeze_excite": (SqueezeExcite, (3, 8, 8)),
    "resized": (Resized, (3, 8, 8)),
    "cut": (Cut, (3, 8, 8)),
}
"""Name → (net, shape of one sample)."""


@cache
def net(name: str) -> tuple[nn.Module, Graph, np.ndarray]:
    """The net of that name, its graph with the dynamic batch N, and a batch of two samples."""
    make, shape = NETS[name]
    torch.manual_seed(1)
    module = settled(make(), *shape)
    x = np.random.default_rng(2).standard_normal((2, *shape)).astype(np.float32)
    return module, import_module(module, "N", *shape), x
