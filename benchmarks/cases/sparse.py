"""Pruned products: 4096 × 4096 at batch 1 and with 64 columns, anywhere sparse and in windows."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np

from ..nets import single
from .definition import Case, Contender, Model, Packing, Target, fp32
from .layers import linear

SIZE, COLUMNS = 4096, 64
WINDOWS = {80: 6, 90: 3, 95: 2}
"""Percent of weights that are absent → weights kept of every 32."""
OVER_DENSE = {80: 1 / 12, 90: 1 / 25, 95: 1 / 36}
SPARSE = {"sparsify": 0.3}
CODEBOOK = {"values": {"kind": "codebook", "bits": 4, "scale": "channel", "entries": "bfloat16"}}


def pruned(w: np.ndarray, sparsity: float) -> np.ndarray:
    """The share ``sparsity`` of least magnitude is 0."""
    magnitudes = np.abs(w)
    return np.where(magnitudes > np.quantile(magnitudes, sparsity), w, np.float32(0))


def product(outputs: int, inputs: int, sparsity: float, batch: int, _: Path) -> Model:
    """Graph "": pruned weights, zeros still in place, ``batch`` rows. "dense": before pruning. "columns": W times a matrix of ``batch`` columns."""
    rng = np.random.default_rng(0)
    dense = rng.standard_normal((outputs, inputs), np.float32) * np.float32(inputs**-0.5)
    w = pruned(dense, sparsity)
    rows = partial(single, "Gemm", (batch, inputs), (batch, outputs), attrs={"transB": 1})
    graphs = {"": rows({"w": w}), "dense": rows({"w": dense})}
    if batch > 1:
        graphs["columns"] = single("MatMul", (inputs, batch), (outputs, batch), {"w": w}, inputs=("w", "x"))
    return Model(graphs, rng.standard_normal((2, batch, inputs), np.float32), partial(linear, w), w=w)


def _vector(percent: int) -> Case:
    n = WINDOWS[percent]
    windowed: Mapping[str, object] = {"prune_weights": {"structure": "windowed", "n": n, "m": 32}}
    packings = {"sparse": Packing(SPARSE), f"windowed-{n}:32": Packing(windowed, "dense"),
                f"windowed-{n}:32-fp16": Packing({**windowed, "values": "fp16"}, "dense"),
                f"windowed-{n}:32-codebook-4": Packing({**windowed, **CODEBOOK}, "dense")}
    targets = [Target("thinfer sparse", ("mkl csr",), 0.5), Target(f"thinfer windowed-{n}:32", ("mkl csr",), 0.15),
               Target(f"thinfer windowed-{n}:32-fp16", ("mkl csr",), 0.15),
               Target(f"thinfer windowed-{n}:32", ("numpy fp32",), OVER_DENSE[percent])]
    if percent == 95:
        targets.append(Target(f"thinfer windowed-{n}:32-codebook-4", ("numpy fp32",), 1 / 60))
    return Case(f"sparse-{percent}", f"y = Wx, 4096 × 4096, {percent} % sparse", partial(product, SIZE, SIZE, percent / 100, 1), packings,
                (Contender("numpy", "fp32"), Contender("mkl", "csr"), Contender("mkl", "scipy"), Contender("torch", "csr"),
                 *fp32("onnxruntime", "deepsparse")), tuple(targets), facts={"sparsity": percent / 100})


def _columns(percent: int) -> Case:
    rivals = ("deepsparse fp32", "mkl csr", "torch csr", "onnxruntime fp32", "numpy fp32")
    return Case(f"columns-{percent}", f"Y = WX, 64 columns, 4096 × 4096, {percent} % sparse", partial(product, SIZE, SIZE, percent / 100, COLUMNS),
                {"sparse": Packing(SPARSE), "sparse-columns": Packing(SPARSE, "columns")},
                (Contender("numpy", "fp32"), Contender("mkl", "csr"), Contender("mkl", "scipy"), Contender("torch", "csr"),
                 *fp32("onnxruntime", "deepsparse")),
                tuple(Target(f"thinfer {name}", rivals, 0.8) for name in ("sparse", "sparse-columns")),
                facts={"sparsity": percent / 100})


CASES = (*(_vector(percent) for percent in WINDOWS), *(_columns(percent) for percent in WINDOWS))
