"""How long it takes to find codebooks for 100 million weights, on one core."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from ..formats.tensor import EncodedTensor
from ..toolchain.passes.cluster import Clustering, cluster_tensor

WEIGHTS = 100_000_000


def rows() -> Iterator[dict[str, Any]]:
    """Normal weights, per-tensor codebooks of 4 and 8 bits; the error is that of the quantization itself."""
    data = np.random.default_rng(0).standard_normal((10_000, WEIGHTS // 10_000), np.float32)
    tensor = EncodedTensor.dense(data)
    for bits in (4, 8):
        start = time.perf_counter()
        found = cluster_tensor("w", tensor, Clustering(bits))
        seconds = time.perf_counter() - start
        difference = found.decode()[::97] - data[::97]
        rms = float(np.sqrt(np.mean(difference**2)) / np.sqrt(np.mean(data[::97] ** 2)))
        yield {"weights": WEIGHTS, "bits": bits, "s": seconds, "rms error / rms weight": rms}
