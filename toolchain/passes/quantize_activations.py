"""int8 activations: what products with integer weights read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from ...formats.graph import ActivationQuantization, Graph, Node, QuantizedDtype
from ...kernels.ops._integer import FORMS
from ...runtime.explicit import integer_scale
from ._calibration import Progress, coarse, observe
from ._edit import fresh, taken_names, throughout
from ._histogram import Histogram
from ._ranges import Range, searched
from .encode import EncodingError

CALIBRATIONS = ("minmax", "percentile", "entropy", "output")


@dataclass(frozen=True)
class Activations:
    """How activations are quantized. ``kind``: static (calibrated on data), dynamic (from the data at run time), auto: static if there is
    calibration data, else dynamic; or binary: signs times a scale from the data. ``calibration``: how a range is taken from the data: all of it,
    ``percentile`` of 100 on each side, what tells most of the distribution, or what harms the outputs least."""

    kind: Literal["static", "dynamic", "auto", "binary"] = "auto"
    dtype: Literal["int8", "uint8"] = "int8"
    calibration: Literal["minmax", "percentile", "entropy", "output"] = "minmax"
    percentile: float = 99.99

    def is_static(self, has_data: bool) -> bool:
        return self.kind == "static" or (self.kind == "auto" and has_data)


def quantize_activations(graph: Graph, choice: Activations, calibration: Mapping[str, np.ndarray] | None = None,
                         progress: Progress | None = None) -> Graph:
    """Quantizes what products read whose weight is integers and a scale per channel or tensor, so that they compute in integers.

        v ──► Conv(w int8)                    v (int8) ──► Conv(w int8)
        v ──► Conv(w int8), Add               v ──► Identity ──► u (int8) ──► Conv(w int8);   v ──► Add

    What others read stays as it is: an Identity keeps it apart, in a subgraph also from the graphs around it. Static: scale and zero point
    are those of the value's range over the calibration data. Dynamic: symmetric, per sample for convolutions, per row for matrix products;
    with the kind auto also what no sample reaches, as in a branch that none takes. An LSTM or GRU, whose state is quantized as its input is, reads
    dynamic codes with the kinds auto and dynamic, and floats with the others.
    Raises EncodingError if static and there is no data, or it does not reach a value, or a value is not finite on it.
    """
    readings = list(_readings(graph, choice))
    if not readings:
        return graph
    static = choice.is_static(calibration is not None)
    if static and calibration is None:
        raise EncodingError("static activations need calibration data; give it with --data, or use activations of the kind auto or dynamic")
    ranged = [reading for reading in readings if not any(FORMS[node.op].walks for node in reading.nodes)]
    ranges = calibrated(graph, ranged, choice, calibration, progress) if ranged and static and calibration is not None else {}
    dynamic: QuantizedDtype = "binary" if choice.kind == "binary" else "int8"
    hows = {id(node): grid(*ranges[id(reading)], choice.dtype) if id(reading) in ranges else _dynamic(node, dynamic)
            for reading in readings for node in reading.nodes}
    taken = taken_names(graph)
    return throughout(graph, lambda scope: _annotated(scope, hows, taken))


@dataclass(frozen=True, eq=False)
class Reading:
    """A value, and the products of one graph or subgraph that are to read it quantized."""

    value: str
    nodes: tuple[Node, ...]


def _readings(graph: Graph, choice: Activations, around: frozenset[str] = frozenset()) -> Iterator[Reading]:
    """Those of the graph and its subgraphs, from which ``around`` is quantized already; those that walk over time apart."""
    quantized = around.union(graph.quantized)
    found: dict[tuple[str, bool], list[Node]] = {}
    for node in graph.nodes:
        if _is_integer_product(graph, node) and node.inputs[0] not in quantized:
            walks = FORMS[node.op].walks
            if not walks or choice.kind in ("auto", "dynamic"):
                found.setdefault((node.inputs[0], walks), []).append(node)
        for _, body in node.subgraphs():
            yield from _readings(replace(body, weights=graph.weights), choice, quantized)
    yield from (Reading(value, tuple(nodes)) for (value, _), nodes in found.items())


def _is_integer_product(graph: Graph, node: Node) -> bool:
    """Whether it multiplies a value by a weight of integers and a scale that is the same within each sum."""
    form = FORMS.get(node.op)
    return form is not None and node.inputs[0] not in graph.weights and all(
        integer_scale(node, place, graph.weights) is not None for place in form.weights)


def _annotated(graph: Graph, hows: Mapping[int, ActivationQuantization], taken: set[str]) -> Graph:
    """One graph or subgraph, in which the nodes with those ids read their input quantized so."""
    readers: dict[tuple[str, ActivationQuantization], list[Node]] = {}
    for node in graph.nodes:
        if id(node) in hows:
            readers.setdefault((node.inputs[0], hows[id(node)]), []).append(node)
    names, copies = {}, {}
    quantized = dict(graph.quantized)
    everyone = graph.consumers()
    outputs = {info.name for info in graph.outputs}.union(graph.captures())  # whatever is made elsewhere, others may read too
    for (value, how), nodes in readers.items():
        if value not in outputs and len(nodes) == len(everyone[value]) and all(node.inputs.count(value) == 1 for node in nodes):
            quantized[value] = how
            continue
        copy = fresh(f"{value}.quantized", taken)
        quantized[copy] = how
        names.update({(id(node), value): copy for node in nodes})
        copies[copy] = value
    return replace(graph, nodes=_with_copies(graph, names, copies), quantized=quantized)


def _dynamic(node: Node, dtype: QuantizedDtype) -> ActivationQuantization:
    """Per row where the operator allows it, else per sample, else for the whole value."""
    allowed = FORMS[node.op].granularities(node.attrs)
    return ActivationQuantization("dynamic", dtype, granularity="row" if "row" in allowed else "sample" if "sample" in allowed else "tensor")


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


def calibrated(graph: Graph, readings: Sequence[Reading], choice: Activations, data: Mapping[str, np.ndarray],
               progress: Progress | None = None) -> dict[int, Range]:
    """id of a reading → the range of its value over the data, from a histogram. Without those in branches that no sample takes.

    Raises EncodingError for those if all must be static.
    """
    found = [Histogram() for _ in readings]
    observe(graph, {id(reading.nodes[0]): histogram.add for reading, histogram in zip(readings, found)}, data, progress)
    missed = next((reading for reading, histogram in zip(readings, found) if not histogram.counts.sum()), None)
    if missed is not None and choice.kind == "static":
        raise EncodingError(f"the calibration data never reach the value {missed.value!r}, which lies in a branch or loop; "
                            "give data that take it, or use activations of the kind auto")
    reached = [(reading, histogram) for reading, histogram in zip(readings, found) if histogram.counts.sum()]
    if choice.calibration != "output":
        return {id(reading): _range(histogram, choice) for reading, histogram in reached}

    ranges = searched(graph, [reading.nodes for reading, _ in reached], [histogram for _, histogram in reached],
                      lambda tried: grid(*tried, choice.dtype), data, progress)
    return {id(reading): best for (reading, _), best in zip(reached, ranges)}


def _range(histogram: Histogram, choice: Activations) -> Range:
    if choice.calibration == "percentile":
        return histogram.percentile(choice.percentile)
    return histogram.entropy() if choice.calibration == "entropy" else (histogram.least, histogram.most)
