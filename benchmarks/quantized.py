"""int8 activations on real networks: how far each way to choose scales leaves them from their dense selves."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from .. import runtime
from ..toolchain import importers, pipeline, recipe
from ..toolchain.arithmetic import arithmetic
from . import images, models
from .networks import NETWORKS

CALIBRATION = 48
"""Of the 100 unlabelled crops, this many calibrate; the others and the 26 labelled images are measured on."""

WEIGHTS = "values: {kind: affine, bits: 8}\n"
CORRECTED = WEIGHTS + "correct_biases: true\n"
RECIPES = {
    "weights int8": WEIGHTS,
    "weights int8, biases corrected": CORRECTED,
    "static, minmax": CORRECTED + "activations: {kind: static}\n",
    "static, entropy": CORRECTED + "activations: {kind: static, calibration: entropy}\n",
    "static, percentile 99.9": CORRECTED + "activations: {kind: static, calibration: percentile, percentile: 99.9}\n",
    "static, percentile 99.99": CORRECTED + "activations: {kind: static, calibration: percentile, percentile: 99.99}\n",
    "static, percentile 99.999": CORRECTED + "activations: {kind: static, calibration: percentile, percentile: 99.999}\n",
    "static, output": CORRECTED + "activations: {kind: static, calibration: output}\n",
    "dynamic": CORRECTED + "activations: {kind: dynamic}\n",
    "static, percentile 99.99, biases not corrected": WEIGHTS + "activations: {kind: static, calibration: percentile, percentile: 99.99}\n",
    "static, percentile 99.99, depthwise fp16": CORRECTED + "depthwise: {values: fp16}\nactivations: {kind: static, calibration: percentile}\n",
}
PRESETS = ("int8", "codebook-4", "codebook-4-int8", "codebook-3-int8")


def rows(folder: Path) -> Iterator[dict[str, Any]]:
    """Cosine and top-1 agreement with the dense network, image by image."""
    for name in NETWORKS:
        graph = importers.load(models.export(name, folder)[0])
        (labelled, labels), crops = images.labelled(name), images.crops(name)
        data, x = {graph.inputs[0].name: crops[:CALIBRATION]}, np.concatenate([labelled, crops[CALIBRATION:]])
        dense = _outputs(runtime.load(pipeline.compress(graph, recipe.load("dense"))), x)
        for title, plan in {**{title: recipe.parse(text) for title, text in RECIPES.items()}, **{key: recipe.load(key) for key in PRESETS}}.items():
            packed = pipeline.compress(graph, plan, calibration=data)
            got, counts = _outputs(runtime.load(packed), x), arithmetic(packed)
            cosine = (got * dense).sum(1) / np.linalg.norm(got, axis=1) / np.linalg.norm(dense, axis=1)
            yield {"network": name, "recipe": title, "products in integers": f"{counts.integer} of {counts.products}",
                   "cosine, mean": f"{cosine.mean():.4f}", "least": f"{cosine.min():.4f}",
                   "top-1 agreement %": 100 * float((got.argmax(1) == dense.argmax(1)).mean()),
                   f"right of {len(labels)}": int((got[:len(labels)].argmax(1) == labels).sum()),
                   "dense right": int((dense[:len(labels)].argmax(1) == labels).sum())}


def _outputs(session: runtime.Session, x: np.ndarray) -> np.ndarray:
    return np.concatenate([session(x[i:i + 1]) for i in range(len(x))])
