"""Two famous findings, measured again with plain CSR and with ours.

Convolutions: figure 1 of Wen et al., *Learning Structured Sparsity in Deep Neural Networks* (arXiv 1608.03665): AlexNet's layers, pruned
anywhere and run as CSR, are hardly faster than dense. As there, a convolution is a product of its kernels with the lowered image; the
layers are those of the net with one tower (Krizhevsky, arXiv 1404.5997), which has no groups.

Fully connected layers: table 8 of Han et al., *Deep Compression* (arXiv 1510.00149): at batch 64 sparse is slower than dense.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ...formats.graph import Graph
from ..nets import single
from .definition import Case, Contender, Model, Packing
from .sparse import CODEBOOK, SPARSE, product, pruned

LAYERS = {"conv1": (3, 64, 224, 11, 4, 2), "conv2": (64, 192, 27, 5, 1, 2), "conv3": (192, 384, 13, 3, 1, 1), "conv4": (384, 256, 13, 3, 1, 1),
          "conv5": (256, 256, 13, 3, 1, 1)}
"""Input channels, output channels, size of the input, kernel, stride, padding."""
PERCENTS = (50, 65, 80, 90, 95, 98)
FULLY_CONNECTED = {"alexnet-fc6": (4096, 9216, 9), "alexnet-fc7": (4096, 4096, 9), "alexnet-fc8": (1000, 4096, 25),
                   "vgg16-fc6": (4096, 25088, 4), "vgg16-fc7": (4096, 4096, 4), "vgg16-fc8": (1000, 4096, 23)}
"""Outputs, inputs, percent of weights kept (Deep Compression, tables 4 and 5)."""


def convolution(layer: str, _: Path) -> Model:
    inputs, outputs, size, kernel, stride, padding = LAYERS[layer]
    rng = np.random.default_rng(0)
    w = rng.normal(0, (inputs * kernel**2) ** -0.5, (outputs, inputs, kernel, kernel)).astype(np.float32)
    x = rng.standard_normal((2, 1, inputs, size, size), np.float32)
    after = (size + 2 * padding - kernel) // stride + 1
    attrs = {"kernel_shape": (kernel, kernel), "pads": (padding,) * 4, "strides": (stride, stride)}

    def graph(weights: np.ndarray) -> Graph:
        return single("Conv", (1, inputs, size, size), (1, outputs, after, after), {"w": weights}, attrs)

    sparse = {f"csr-{percent}": pruned(w, percent / 100) for percent in PERCENTS}
    return Model({"": graph(w), **{name: graph(weights) for name, weights in sparse.items()}}, x, w=w.reshape(outputs, -1),
                 matrices={name: weights.reshape(outputs, -1) for name, weights in sparse.items()}, lowered=lowered(x, kernel, stride, padding))


def lowered(x: np.ndarray, kernel: int, stride: int, padding: int) -> np.ndarray:
    """[samples, positions, channels · kernel²] of [samples, 1, channels, height, width]."""
    wide = np.pad(x[:, 0], ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    windows = np.lib.stride_tricks.sliding_window_view(wide, (kernel, kernel), axis=(2, 3))[:, :, ::stride, ::stride]
    return windows.transpose(0, 2, 3, 1, 4, 5).reshape(len(x), windows.shape[2] * windows.shape[3], -1)


def _convolution(layer: str) -> Case:
    packings = {"dense": Packing()} | {f"sparse-{percent}": Packing(SPARSE, f"csr-{percent}") for percent in PERCENTS}
    facts: dict[str, Any] = {"figure": "convolutions", "layer": layer}
    return Case(f"alexnet-{layer}", f"AlexNet {layer}, fp32, speedup against sparsity", partial(convolution, layer), packings,
                (Contender("numpy", "fp32"), *(Contender("mkl", f"csr-{percent}") for percent in PERCENTS)), rounds=3, facts=facts)


def _fully_connected(layer: str, batch: int) -> Case:
    outputs, inputs, percent = FULLY_CONNECTED[layer]
    facts: dict[str, Any] = {"figure": "fully connected", "layer": layer, "batch": batch, "sparsity": 1 - percent / 100}
    return Case(f"{layer}-batch{batch}", f"{layer}, {outputs} × {inputs}, {percent} % kept, batch {batch}",
                partial(product, outputs, inputs, 1 - percent / 100, batch),
                {"sparse": Packing(SPARSE), "sparse-codebook-4": Packing({**SPARSE, **CODEBOOK})},
                (Contender("numpy", "fp32"), Contender("mkl", "csr")), rounds=3, facts=facts)


CASES = (*(_convolution(layer) for layer in LAYERS), *(_fully_connected(layer, batch) for layer in FULLY_CONNECTED for batch in (1, 64)))
