"""Convolutions of codes whose weights keep few bits in RAM, beside the same with 8 bits: ``python -m thinfer.benchmarks.integer_bits``."""

from __future__ import annotations

import numpy as np

from .. import runtime
from ..formats.graph import ActivationQuantization, Graph, Node, ValueInfo
from ..formats.tensor import Affine, Codebook, EncodedTensor

LAYERS = ((64, 64, 1, 56), (256, 1024, 1, 14), (960, 320, 1, 7), (128, 128, 3, 28), (512, 512, 3, 7))
"""Inputs, outputs, length of the filter, length of the image."""
BITS = (8, 4, 3, 2)
TURNS = 40
FLOAT = np.float32


def layer(inputs: int, outputs: int, kernel: int, image: int, bits: int, rng: np.random.Generator) -> Graph:
    """A convolution from codes to codes, and a depthwise one of one tap that reads them."""
    shape, scale = (outputs, inputs, kernel, kernel), np.full(outputs, 0.01, FLOAT)
    symbols = rng.integers(0, 1 << bits, inputs * outputs * kernel * kernel).astype(np.uint8)
    values = Affine(symbols, 8, scale[:, None], None, symbols.size // outputs) if bits == 8 else Codebook(
        symbols, bits, rng.integers(-127, 128, (1, 1 << bits)).astype(np.int8), scale)
    one = EncodedTensor((outputs, 1, 1, 1), "float32", Affine(np.full(outputs, 129, np.uint8), 8, np.ones((1, 1), FLOAT), None, outputs))
    attrs = {"pads": (kernel // 2,) * 4}
    return Graph((ValueInfo("x", "float32", (1, inputs, image, image)),), (ValueInfo("z", "float32", (1, outputs, image, image)),),
                 (Node("Conv", ("x", "w"), ("u",), attrs), Node("Conv", ("u", "one"), ("z",), {"group": outputs})),
                 {"w": EncodedTensor(shape, "float32", values), "one": one},
                 {"x": ActivationQuantization("static", "int8", float(FLOAT(0.02)), -7), "u": ActivationQuantization("static", "int8", 0.125, 3)})


def main() -> None:
    rng = np.random.default_rng(0)
    for inputs, outputs, kernel, image in LAYERS:
        x = {"x": rng.normal(0, 2, (1, inputs, image, image)).astype(FLOAT)}
        sessions = {bits: runtime.load(layer(inputs, outputs, kernel, image, bits, rng), threads=1) for bits in BITS}
        times: dict[int, list[float]] = {bits: [] for bits in BITS}
        for _ in range(TURNS):
            for bits, session in sessions.items():
                times[bits].append(min(next(row.seconds for row in session.profile(x) if "product_i8" in row.kernels) for _ in range(3)))
        held = {bits: session.weight_memory()["w"]["nbytes"] / (inputs * outputs * kernel * kernel) for bits, session in sessions.items()}
        print(f"{kernel}x{kernel} {inputs} -> {outputs} at {image}:", *(
            f"{bits} bits {1e3 * min(found):.4f} ms, {min(found) / min(times[8]):.2f}, {held[bits]:.2f} B" for bits, found in times.items()))


if __name__ == "__main__":
    main()
