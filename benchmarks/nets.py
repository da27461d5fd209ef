"""Networks as graphs with seeded weights, made with NumPy alone: what boards run where torch and the real weights are not."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..formats.graph import Graph, Node, ValueInfo
from ..formats.tensor import EncodedTensor

BOTTLENECKS = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
"""Expansion, channels, repetitions, stride (MobileNetV2, arXiv 1801.04381, table 2)."""


def single(op: str, x: tuple[int, ...], y: tuple[int, ...], weights: dict[str, np.ndarray], attrs: dict[str, Any] | None = None,
           inputs: tuple[str, ...] | None = None) -> Graph:
    """A graph of one node: ``x`` and the weights in, ``y`` out. ``inputs``: names in another order than x first."""
    node = Node(op, inputs or ("x", *weights), ("y",), attrs or {})
    return Graph((ValueInfo("x", "float32", x),), (ValueInfo("y", "float32", y),), (node,),
                 {name: EncodedTensor.dense(array) for name, array in weights.items()})


@dataclass
class Builder:
    """Appends nodes; values and weights are named by counting."""

    rng: np.random.Generator
    nodes: list[Node] = field(default_factory=list)
    weights: dict[str, np.ndarray] = field(default_factory=dict)

    def node(self, op: str, *inputs: str, **attrs: Any) -> str:
        name = f"v{len(self.nodes)}"
        self.nodes.append(Node(op, inputs, (name,), attrs))
        return name

    def weight(self, array: np.ndarray) -> str:
        name = f"w{len(self.weights)}"
        self.weights[name] = array.astype(np.float32)
        return name

    def conv(self, x: str, inputs: int, outputs: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> str:
        """Weights of He et al. 2015, which keep activations in size, and small biases."""
        fan = inputs // groups * kernel**2
        w = self.weight(self.rng.normal(0, (2 / fan) ** 0.5, (outputs, inputs // groups, kernel, kernel)))
        b = self.weight(self.rng.normal(0, 0.1, outputs))
        return self.node("Conv", x, w, b, kernel_shape=(kernel, kernel), strides=(stride, stride), pads=(kernel // 2,) * 4, group=groups)

    def relu6(self, x: str) -> str:
        for name, bound in (("low", 0.0), ("high", 6.0)):
            self.weights.setdefault(name, np.array(bound, np.float32))
        return self.node("Clip", x, "low", "high")

    def classifier(self, x: str, inputs: int, classes: int = 1000) -> str:
        flat = self.node("Flatten", self.node("GlobalAveragePool", x))
        w, b = self.weight(self.rng.normal(0, inputs**-0.5, (classes, inputs))), self.weight(self.rng.normal(0, 0.1, classes))
        return self.node("Gemm", flat, w, b, transB=1)

    def graph(self, y: str) -> Graph:
        return Graph((ValueInfo("x", "float32", (1, 3, 224, 224)),), (ValueInfo(y, "float32", (1, 1000)),), tuple(self.nodes),
                     {name: EncodedTensor.dense(array) for name, array in self.weights.items()})


def mobilenetv2(seed: int = 0) -> Graph:
    """MobileNetV2 of width 1.0 without BatchNormalization, which is folded away wherever the net runs."""
    net = Builder(np.random.default_rng(seed))
    y, channels = net.relu6(net.conv("x", 3, 32, 3, 2)), 32
    for expansion, outputs, count, stride in BOTTLENECKS:
        for i in range(count):
            x, hidden = y, channels * expansion
            if expansion != 1:
                y = net.relu6(net.conv(y, channels, hidden))
            y = net.relu6(net.conv(y, hidden, hidden, 3, stride if i == 0 else 1, hidden))
            y = net.conv(y, hidden, outputs)
            if channels == outputs and (i or stride == 1):
                y = net.node("Add", x, y)
            channels = outputs
    return net.graph(net.classifier(net.relu6(net.conv(y, channels, 1280)), 1280))


def resnet18(seed: int = 0) -> Graph:
    """ResNet-18 (arXiv 1512.03385, table 1) without BatchNormalization."""
    net = Builder(np.random.default_rng(seed))
    y = net.node("Relu", net.conv("x", 3, 64, 7, 2))
    y, channels = net.node("MaxPool", y, kernel_shape=(3, 3), strides=(2, 2), pads=(1, 1, 1, 1)), 64
    for outputs, first in ((64, 1), (128, 2), (256, 2), (512, 2)):
        for stride in (first, 1):
            shortcut = y if stride == 1 and channels == outputs else net.conv(y, channels, outputs, 1, stride)
            y = net.conv(net.node("Relu", net.conv(y, channels, outputs, 3, stride)), outputs, outputs, 3)
            y, channels = net.node("Relu", net.node("Add", y, shortcut)), outputs
    return net.graph(net.classifier(y, channels))
