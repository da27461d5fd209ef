"""The float64 references that outputs are compared with before anything is timed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from .. import runtime
from ..formats.graph import Graph, ValueInfo
from ..formats.tensor import EncodedTensor


def doubled(graph: Graph) -> Graph:
    """The graph in float64: weights as they decode, activations not quantized."""
    weights = {name: EncodedTensor.dense(tensor.decode().astype(np.float64)) if tensor.dtype == "float32" else tensor
               for name, tensor in graph.weights.items()}
    return replace(graph, weights=weights, quantized={}, inputs=_doubled(graph.inputs), outputs=_doubled(graph.outputs))


def _doubled(infos: tuple[ValueInfo, ...]) -> tuple[ValueInfo, ...]:
    return tuple(replace(info, dtype="float64") if info.dtype == "float32" else info for info in infos)


def exact(graph: Graph, samples: np.ndarray) -> np.ndarray:
    """float64 [samples, …]: what a graph with one input and one output gives, on the NumPy backend. A graph that takes its samples in
    columns gets them so, and its results are turned back."""
    session = runtime.load(doubled(graph), backend="numpy")
    turned = graph.inputs[0].shape != samples.shape[1:]
    doubles = samples.astype(np.float64)
    return np.stack([session(np.ascontiguousarray(x.T)).T if turned else session(x) for x in doubles])
