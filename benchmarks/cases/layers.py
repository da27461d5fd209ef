"""Single layers: matrix–vector products with dense, clustered and binary weights, and depthwise convolutions."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ..nets import single
from .definition import Case, Contender, Model, Packing, Target, compressed, fp32

INT8_PACKING = Packing({"values": {"kind": "affine", "bits": 8, "scale": "channel"}, "activations": "dynamic"}, least_cosine=0.999)


def codebook(bits: int, *, int8: bool) -> Packing:
    """Learned codebooks; with ``int8`` their entries are int8 and activations are quantized as it runs, per row."""
    if not int8:
        return Packing({"values": {"kind": "codebook", "bits": bits, "scale": "channel"}})
    values = {"kind": "codebook", "bits": bits, "entries": "int8", "scale": "channel"}
    return Packing({"values": values, "activations": "dynamic"}, least_cosine=0.999)


def product(outputs: int, inputs: int, _: Path) -> Model:
    """y = Wx, normal weights and inputs."""
    rng = np.random.default_rng(0)
    w = rng.standard_normal((outputs, inputs), np.float32) * np.float32(inputs**-0.5)
    graph = single("Gemm", (1, inputs), (1, outputs), {"w": w}, {"transB": 1})
    return Model({"": graph}, rng.standard_normal((2, 1, inputs), np.float32), partial(linear, w), w=w)


def signs(outputs: int, inputs: int, _: Path) -> Model:
    """y = Wx of +1 and −1, scaled by row: what is left of a layer whose weights and activations are binary, so that nothing is lost here."""
    rng = np.random.default_rng(0)
    scales = rng.uniform(0.5, 1.5, (outputs, 1)) * inputs**-0.5
    w = (scales * rng.choice((-1.0, 1.0), (outputs, inputs))).astype(np.float32)
    graph = single("Gemm", (1, inputs), (1, outputs), {"w": w}, {"transB": 1})
    return Model({"": graph}, rng.choice((-1.0, 1.0), (2, 1, inputs)).astype(np.float32), partial(linear, w), w=w)


def linear(w: np.ndarray) -> Any:
    import torch

    with torch.no_grad():
        module = torch.nn.Linear(w.shape[1], w.shape[0], bias=False)
        module.weight.copy_(torch.from_numpy(w))
    return module


def depthwise(channels: int, size: int, stride: int, _: Path) -> Model:
    rng = np.random.default_rng(0)
    w, b = rng.normal(0, 1 / 3, (channels, 1, 3, 3)).astype(np.float32), rng.normal(0, 0.1, channels).astype(np.float32)
    after = (size + stride - 1) // stride
    graph = single("Conv", (1, channels, size, size), (1, channels, after, after), {"w": w, "b": b},
                   {"kernel_shape": (3, 3), "pads": (1, 1, 1, 1), "strides": (stride, stride), "group": channels})
    return Model({"": graph}, rng.standard_normal((2, 1, channels, size, size), np.float32), lambda: _conv(w, b, stride))


def _conv(w: np.ndarray, b: np.ndarray, stride: int) -> Any:
    import torch

    module = torch.nn.Conv2d(len(w), len(w), 3, stride, 1, groups=len(w))
    with torch.no_grad():
        module.weight.copy_(torch.from_numpy(w))
        assert module.bias is not None
        module.bias.copy_(torch.from_numpy(b))
    return module


CONV_PEERS = fp32("onnxruntime", "openvino", "ncnn", "litert", "executorch", "torch")
FOUR_BITS = ("litert dynamic4", "onnxruntime int4", "openvino int4")
EIGHT_BITS = ("litert dynamic8", "onnxruntime dynamic8", "openvino int8-weights")
DENSE = ("onnxruntime fp32", "openvino fp32", "ncnn fp32", "litert fp32", "numpy fp32", "torch fp32")
BITS = {f"codebook-{bits}-int8": codebook(bits, int8=True) for bits in (4, 3, 2)}


def _depthwise(name: str, channels: int, size: int, stride: int) -> Case:
    return Case(name, f"Depthwise 3×3, {channels} × {size} × {size}, stride {stride}, fp32", partial(depthwise, channels, size, stride),
                {"dense": Packing()}, CONV_PEERS, (Target("thinfer dense", tuple(peer.name for peer in CONV_PEERS), 0.6),))


CASES = (
    _depthwise("depthwise-192", 192, 56, 1),
    _depthwise("depthwise-96", 96, 112, 2),
    Case("fc4096", "y = Wx, 4096 × 4096, dense and quantized", partial(product, 4096, 4096),
         {"fp32": Packing(), "int8": INT8_PACKING, **BITS, "codebook-4": codebook(4, int8=False), "binary": Packing({"values": "binary"})},
         (*fp32("onnxruntime", "openvino", "ncnn", "litert"), Contender("numpy", "fp32"), Contender("torch", "fp32"),
          *compressed(*EIGHT_BITS, *FOUR_BITS)),
         (Target("thinfer fp32", DENSE, 1.0), Target("thinfer int8", EIGHT_BITS, 1.0), Target("thinfer codebook-4-int8", FOUR_BITS, 1.0),
          Target("thinfer codebook-3-int8", FOUR_BITS, 0.9), Target("thinfer codebook-2-int8", FOUR_BITS, 0.75),
          Target("thinfer codebook-4", ("numpy fp32",), 1 / 7), Target("thinfer binary", ("numpy fp32",), 1 / 20))),
    Case("xnor4096", "y = Wx, 4096 × 4096, weights and activations of signs", partial(signs, 4096, 4096),
         {"xnor": Packing({"values": "binary", "activations": "binary"})},
         (Contender("numpy", "fp32"), *fp32("onnxruntime")), (Target("thinfer xnor", ("numpy fp32",), 1 / 90),)),
    Case("fc6", "y = Wx, 4096 × 25088 (VGG-16's FC6), warm and cold", partial(product, 4096, 25088),
         {name: BITS[name] for name in ("codebook-4-int8", "codebook-2-int8")}, (Contender("numpy", "fp32"), *compressed(*FOUR_BITS)),
         tuple(Target(f"thinfer {ours}", FOUR_BITS, ratio, cold) for cold in (False, True)
               for ours, ratio in (("codebook-4-int8", 0.75), ("codebook-2-int8", 0.4))), cold=True),
)
