"""One fully connected layer, 4096 × 4096 at batch 1, in every encoding, beside NumPy's and torch's dense fp32 in the same run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

from .. import runtime
from ..formats.graph import Graph, Node, ValueInfo
from ..formats.tensor import Binary, Codebook, EncodedTensor, Plain, Sparse
from ..toolchain.timing import interleaved

SIZE = 4096


def encodings(seed: int = 0) -> dict[str, EncodedTensor]:
    """Random weights of every kind, [4096, 4096]."""
    rng = np.random.default_rng(seed)
    shape = (SIZE, SIZE)
    dense = rng.normal(0, 1 / 64, shape).astype(np.float32)
    found = {"fp32": EncodedTensor.dense(dense), "fp16": EncodedTensor(shape, "float32", Plain(dense.astype(np.float16).ravel()))}
    for bits in (8, 4, 3, 2):
        indices = rng.integers(0, 2**bits, dense.size).astype(np.uint8)
        found[f"codebook-{bits}"] = EncodedTensor(shape, "float32", Codebook(indices, bits, rng.normal(0, 1 / 64, (1, 2**bits)).astype(np.float32)))
    for percent in (90, 95):
        kept = rng.random(shape) >= percent / 100
        found[f"{percent} % sparse"] = EncodedTensor(shape, "float32", Plain(dense[kept]), Sparse.of(kept))
        indices = rng.integers(0, 16, int(kept.sum())).astype(np.uint8)
        entries = rng.normal(0, 1 / 64, (1, 16)).astype(np.float32)
        found[f"{percent} % sparse, codebook-4"] = EncodedTensor(shape, "float32", Codebook(indices, 4, entries), Sparse.of(kept))
    signs = rng.integers(0, 2, dense.size).astype(np.uint8)
    found["binary"] = EncodedTensor(shape, "float32", Binary(signs, rng.uniform(0.01, 0.02, SIZE).astype(np.float32)))
    return found


def session_of(weight: EncodedTensor) -> runtime.Session:
    node = Node("Gemm", ("x", "w"), ("y",), {"transB": 1})
    return runtime.load(Graph((ValueInfo("x", "float32", (1, SIZE)),), (ValueInfo("y", "float32", (1, SIZE)),), (node,), {"w": weight}))


def _error(got: np.ndarray, expected: np.ndarray) -> float:
    """max|Δ| / max|reference|."""
    return float(np.abs(got - expected).max() / np.abs(expected).max())


def rows() -> Iterator[dict[str, Any]]:
    """Outputs are checked against float64 before anything is timed."""
    import torch

    torch.set_num_threads(1)
    x = np.random.default_rng(1).normal(size=(1, SIZE)).astype(np.float32)
    weights = encodings()
    dense = weights["fp32"].decode()
    x_torch, dense_torch = torch.from_numpy(x), torch.from_numpy(dense)
    contenders: dict[str, Callable[[], object]] = {"numpy fp32": partial(np.matmul, x, dense.T),
                                                   "torch fp32": partial(torch.nn.functional.linear, x_torch, dense_torch)}
    exact = x.astype(np.float64) @ dense.astype(np.float64).T
    sizes = {name: dense.nbytes for name in contenders}
    errors = {name: _error(np.asarray(call()), exact) for name, call in contenders.items()}
    for name, weight in weights.items():
        session = session_of(weight)
        expected = x.astype(np.float64) @ weight.decode().astype(np.float64).T
        errors[name] = _error(session(x), expected)
        sizes[name] = sum(entry["nbytes"] for entry in session.weight_memory().values())
        contenders[name] = partial(session, x)
    taken = interleaved(contenders)
    best_dense = min(taken["numpy fp32"].minimum, taken["torch fp32"].minimum)
    for name, timing in taken.items():
        yield {"weights": name, "ms min": timing.minimum * 1e3, "ms median": timing.median * 1e3,
               "numpy / this": taken["numpy fp32"].minimum / timing.minimum, "torch / this": taken["torch fp32"].minimum / timing.minimum,
               "best dense / this": best_dense / timing.minimum, "RAM bytes": sizes[name], "fp32 bytes / RAM": dense.nbytes / sizes[name],
               "error against float64": errors[name]}
