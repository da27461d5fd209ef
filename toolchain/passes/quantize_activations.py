"""int8 activations: what products with integer weights read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from ...formats.graph import ActivationQuantization, Graph, Node
from ...kernels.ops._integer import FORMS
from ...kernels.quantized import weight_scale
from ._calibration import Progress, coarse, observed
from ._edit import fresh, taken_names
from ._histogram import Histogram
from .encode import EncodingError

CALIBRATIONS = ("minmax", "percentile", "entropy")


@dataclass(frozen=True)
class Activations:
    """How activations are quantized. ``kind``: static (calibrated on data), dynamic (from the data at run time), or auto: static if
    there is calibration data, else dynamic. ``calibration``: how a range is taken from the data; ``percentile``: of 100, on each side."""

    kind: Literal["static", "dynamic", "auto"] = "auto"
    dtype: Literal["int8", "uint8"] = "int8"
    calibration: Literal["minmax", "percentile", "entropy"] = "minmax"
    percentile: float = 99.99

    def is_static(self, has_data: bool) -> bool:
        return self.kind == "static" or (self.kind == "auto" and has_data)


def quantize_activations(graph: Graph, choice: Activations, calibration: Mapping[str, np.ndarray] | None = None,
                         progress: Progress | None = None) -> Graph:
    """Quantizes what products read whose weight is integers and a scale per channel or tensor, so that they compute in integers.

        v ──► Conv(w int8)                    v (int8) ──► Conv(w int8)
        v ──► Conv(w int8), Add               v ──► Identity ──► u (int8) ──► Conv(w int8);   v ──► Add

    What others read stays as it is: an Identity keeps it apart. Static: scale and zero point are those of the value's range over the
    calibration data. Dynamic: symmetric, per sample for convolutions, per row for matrix products.
    Raises EncodingError if static and there is no data, or a value is not finite on it.
    """
    readers = _readers(graph)
    if not readers:
        return graph
    static = choice.is_static(calibration is not None)
    if static and calibration is None:
        raise EncodingError("static activations need calibration data; give it with --data, or use activations of the kind auto or dynamic")
    ranges = calibrated(graph, list(readers), choice, calibration, progress) if static and calibration is not None else {}
    taken, names, copies = taken_names(graph), {}, {}
    quantized = dict(graph.quantized)
    everyone = graph.consumers()
    outputs = {info.name for info in graph.outputs}
    for value, nodes in readers.items():
        for how in dict.fromkeys(grid(*ranges[value], choice.dtype) if static else _dynamic(node) for node in nodes):
            some = [node for node in nodes if static or _dynamic(node) == how]
            if value not in outputs and len(some) == len(everyone[value]) and all(node.inputs.count(value) == 1 for node in some):
                quantized[value] = how
                continue
            copy = fresh(f"{value}.quantized", taken)
            quantized[copy] = how
            names.update({(id(node), value): copy for node in some})
            copies[copy] = value
    return replace(graph, nodes=_with_copies(graph, names, copies), quantized=quantized)


def _readers(graph: Graph) -> dict[str, list[Node]]:
    """Value → the products that are to read it quantized."""
    found: dict[str, list[Node]] = {}
    for node in graph.nodes:
        form = FORMS.get(node.op)
        tensor = graph.weights.get(node.inputs[1]) if form is not None else None
        if form is None or tensor is None or node.inputs[0] in graph.weights or node.inputs[0] in graph.quantized:
            continue
        scale = weight_scale(tensor)
        if scale is not None and (scale.size == 1 or tensor.axis == form.channels(len(tensor.shape), node.attrs)):
            found.setdefault(node.inputs[0], []).append(node)
    return found


def _dynamic(node: Node) -> ActivationQuantization:
    """Per row where the operator allows it, else per sample, else for the whole value."""
    allowed = FORMS[node.op].granularities(node.attrs)
    return ActivationQuantization("dynamic", granularity="row" if "row" in allowed else "sample" if "sample" in allowed else "tensor")


def _with_copies(graph: Graph, names: Mapping[tuple[int, str], str], copies: Mapping[str, str]) -> tuple[Node, ...]:
    """The nodes, each copy made right before its first reader."""
    made: set[str] = set()
    nodes = []
    for node in graph.nodes:
        copy = names.get((id(node), node.inputs[0])) if node.inputs else None
        if copy is not None:
            if copy not in made:
                nodes.append(Node("Identity", (copies[copy],), (copy,)))
                made.add(copy)
            node = node.with_inputs((copy, *node.inputs[1:]))
        nodes.append(node)
    return tuple(nodes)


def grid(low: float, high: float, dtype: str) -> ActivationQuantization:
    """Scale and zero point of 256 codes over [low, high], which holds zero.

    The scale is a coarse number that is a little larger than the range asks for.
    """
    lowest = -128 if dtype == "int8" else 0
    scale = float(np.float32(coarse(np.asarray(max((high - low) / 255, 2.0 ** -100) * (1 + 2.0 ** -9)))))
    zero_point = int(np.clip(np.rint(lowest - low / scale), lowest, lowest + 255))
    return ActivationQuantization("static", "int8" if dtype == "int8" else "uint8", scale, zero_point)


def calibrated(graph: Graph, values: list[str], choice: Activations, data: Mapping[str, np.ndarray],
               progress: Progress | None = None) -> dict[str, tuple[float, float]]:
    """The range of each value over the data. A few samples are held at once, and a histogram of each value."""
    found = {name: Histogram() for name in values}
    for arrays in observed(graph, values, data, progress):
        for name, array in arrays.items():
            found[name].add(array)
    return {name: _range(histogram, choice) for name, histogram in found.items()}


def _range(histogram: Histogram, choice: Activations) -> tuple[float, float]:
    if choice.calibration == "percentile":
        return histogram.percentile(choice.percentile)
    return histogram.entropy() if choice.calibration == "entropy" else (histogram.least, histogram.most)
