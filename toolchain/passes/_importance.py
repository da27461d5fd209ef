"""How much a channel matters: by the size of its weights, or by how often its activation is zero."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ...formats.errors import ThinferError
from ...formats.graph import Graph
from ...runtime.interpreter import evaluate
from ._flow import Axis, Coupling

ACTIVATIONS = frozenset({"Relu", "Clip", "HardSwish", "HardSigmoid", "Sigmoid", "Tanh"})
CHUNK = 16
"""Calibration samples run at once."""


class CalibrationError(ThinferError, ValueError):
    """Calibration data is lacking or does not fit the graph."""


def l1(graph: Graph, coupling: Coupling, producers: Sequence[Axis]) -> np.ndarray:
    """float64 per point, indexed by class: mean over the class's producing slices of their L1 norm, each relative to the mean
    norm of its weight, so that layers compare (Li et al., Pruning Filters for Efficient ConvNets, 2017, section 3)."""
    total, count = np.zeros(len(coupling.labels)), np.zeros(len(coupling.labels))
    for name, axis in producers:
        array = np.abs(graph.weights[name].decode().astype(np.float64))
        norms = array.sum(axis=tuple(other for other in range(array.ndim) if other != axis))
        _add(total, count, coupling.labels_of((name, axis)), norms / (norms.mean() or 1.0))
    return total / np.maximum(count, 1)


def apoz(graph: Graph, coupling: Coupling, units: np.ndarray, calibration: Mapping[str, np.ndarray] | None) -> np.ndarray:
    """float64 per point, indexed by class: 1 − the average share of zeros of the class's channels after their activation
    functions (Hu et al., Network Trimming, 2016, equation 1). Channels without an activation function are judged where they
    are made. ``calibration``: input name → array, samples first. Raises CalibrationError."""
    if not calibration:
        raise CalibrationError("importance 'apoz' needs calibration data, a dictionary from input name to array")
    lacking = sorted({info.name for info in graph.inputs} - set(calibration))
    if lacking:
        raise CalibrationError(f"the calibration data lacks the input {lacking[0]!r}; it has {', '.join(sorted(calibration))}")
    scalar = next((name for name, array in calibration.items() if array.ndim == 0), None)
    if scalar is not None:
        raise CalibrationError(f"the calibration data for {scalar!r} is one number; importance 'apoz' needs arrays with samples first")
    axes = _judged(graph, coupling, units)
    zeros: dict[Axis, np.ndarray] = {}
    samples = min(len(array) for array in calibration.values())
    for start, stop in _chunks(graph, samples):
        feeds = {name: array[start:stop] for name, array in calibration.items()}
        values = evaluate(graph, feeds, sorted({name for name, _ in axes}))
        for name, axis in axes:
            idle = values[name] == 0
            share = idle.mean(axis=tuple(other for other in range(idle.ndim) if other != axis)) * (stop - start)
            zeros[name, axis] = zeros.get((name, axis), 0) + share
    total, count = np.zeros(len(coupling.labels)), np.zeros(len(coupling.labels))
    for axis_key, share in zeros.items():
        _add(total, count, coupling.labels_of(axis_key), share / samples)
    return 1.0 - total / np.maximum(count, 1)


def _add(total: np.ndarray, count: np.ndarray, labels: np.ndarray, values: np.ndarray) -> None:
    np.add.at(total, labels, values)
    np.add.at(count, labels, 1)


def _judged(graph: Graph, coupling: Coupling, units: np.ndarray) -> list[Axis]:
    """The axes on which zeros are counted: outputs of activation functions; for classes without one, of Conv, Gemm and MatMul."""
    wanted = np.zeros(len(coupling.labels), bool)
    wanted[units] = True
    found: list[Axis] = []
    for kinds in (ACTIVATIONS, frozenset({"Conv", "Gemm", "MatMul"})):
        seen = np.zeros_like(wanted)
        for name in (node.outputs[0] for node in graph.nodes if node.op in kinds):
            known = coupling.types.get(name)
            for axis in range(len(known.shape) if known is not None else 0):
                labels = coupling.labels_of((name, axis))
                if wanted[labels].any():
                    found.append((name, axis))
                    seen[labels] = True
        wanted &= ~seen
    return found


def _chunks(graph: Graph, samples: int) -> list[tuple[int, int]]:
    """Slices of the calibration data, of the batch size that the graph asks for if it asks for one."""
    fixed = [info.shape[0] for info in graph.inputs if info.shape and isinstance(info.shape[0], int)]
    step = int(fixed[0]) if fixed else CHUNK
    last = samples - samples % step if fixed else samples
    if last < 1:
        raise CalibrationError(f"the calibration data has {samples} samples, but the model takes {step} at a time")
    return [(start, min(start + step, last)) for start in range(0, last, step)]
