"""One spelling for weights that a model holds as integers and expands when it runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from ...formats.graph import Graph, Node
from ...formats.tensor import EncodedTensor
from ._edit import fresh, is_plain, taken_names, uses


def integer_weights(graph: Graph) -> Graph:
    """A constant of integers that is cast, perhaps moved by a zero point, and scaled becomes one that is dequantized.

        w (int8) ──► Cast ──► Sub(z) ──► Mul(s) ──► v          w (int8) ──► DequantizeLinear(s, z) ──► v

    Where only the product is read; s and z are one number or run along one axis.
    """
    makers, read, taken = graph.producers(), uses(graph), taken_names(graph)
    weights = dict(graph.weights)
    nodes = []
    for node in graph.nodes:
        found = _integers(graph, node, makers, read) if node.op == "Mul" else None
        if found is not None:
            name, scale, zero, axis = found
            inputs = [name]
            for what, table in (("scale", scale), ("zero_point", zero)):
                if table is not None:
                    inputs.append(fresh(f"{name}.{what}", taken))
                    weights[inputs[-1]] = EncodedTensor.dense(table)
            node = Node("DequantizeLinear", tuple(inputs), node.outputs, {"axis": axis} if axis != 1 else {}, node.name)
        nodes.append(node)
    return replace(graph, nodes=tuple(nodes), weights=weights)


def _integers(graph: Graph, product: Node, makers: Mapping[str, Node], read: Mapping[str, int],
              ) -> tuple[str, np.ndarray, np.ndarray | None, int] | None:
    """(weight of integers, scale, zero point, axis of both); None if the Mul does something else."""
    for value, factor in (product.inputs, product.inputs[::-1]):
        before, zero = makers.get(value), None
        if before is None or read[value] != 1 or factor not in graph.weights:
            continue
        if before.op == "Sub" and before.inputs[1] in graph.weights:
            value, zero = before.inputs[0], graph.weights[before.inputs[1]]
            before = makers.get(value)
        if before is None or before.op != "Cast" or before.attrs.get("to") != 1 or read[value] != 1:
            continue
        tensor = graph.weights.get(before.inputs[0])
        if tensor is None or tensor.dtype not in ("int8", "uint8") or not is_plain(tensor):
            continue
        found = _tables(tensor, graph.weights[factor], zero)
        if found is not None:
            return before.inputs[0], *found
    return None


def _tables(tensor: EncodedTensor, scale: EncodedTensor, zero: EncodedTensor | None) -> tuple[np.ndarray, np.ndarray | None, int] | None:
    """Scale and zero point as DequantizeLinear takes them, and their axis."""
    tables = [table for table in (scale, zero) if table is not None]
    if any(table.dtype != "float32" or len(table.shape) > len(tensor.shape) for table in tables):
        return None
    shapes = [(1,) * (len(tensor.shape) - len(table.shape)) + tuple(table.shape) for table in tables]
    axes = {axis for shape in shapes for axis, length in enumerate(shape) if length != 1}
    if len(axes) > 1 or any(shape[axis] not in (1, tensor.shape[axis]) for shape in shapes for axis in axes):
        return None
    count = tensor.shape[next(iter(axes))] if axes else 1
    rows = [np.broadcast_to(table.decode().reshape(-1), (count,)) if axes else table.decode().reshape(()) for table in tables]
    limits = np.iinfo(tensor.dtype)
    if zero is not None and not all(limits.min <= value <= limits.max and value == np.rint(value) for value in rows[1].ravel()):
        return None
    return np.ascontiguousarray(rows[0]), rows[1].astype(tensor.dtype) if zero is not None else None, next(iter(axes), 1)
