"""Scan: a subgraph run over slices of its inputs, its states carried from one to the next, other outputs stacked.

The subgraph takes (states, a slice of each scanned input) and gives (states, what is stacked).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...formats.graph import Node
from ._check import need, positive_axis, text, where
from ._op import REQUIRED, VARIADIC, Body, BodyTypes, Op, OpError, Type
from ._states import settled, stacked, stacked_type

PER_SLICE = {"scan_input_axes": "inputs", "scan_input_directions": "inputs", "scan_output_axes": "outputs", "scan_output_directions": "outputs"}


def _infer(node: Node, attrs: Mapping[str, Any], args: Sequence[Type | None], bodies: Mapping[str, BodyTypes]) -> list[Type | None]:
    place, body, scanned = where(node), bodies["body"], attrs["num_scan_inputs"]
    if not 1 <= scanned <= len(args):
        raise OpError(f"{place} has {len(args)} inputs, but num_scan_inputs is {scanned}")
    count = len(args) - scanned
    if len(body.outputs) != len(node.outputs) or len(body.outputs) < count:
        raise OpError(f"{place} has {count} states and {len(node.outputs)} outputs; its body gives {len(body.outputs)}")
    axes, _, out_axes, _ = _details(place, attrs, scanned, len(body.outputs) - count)
    sources = [need(node, args, count + k, "scanned input") for k in range(scanned)]
    places = [positive_axis(place, axis, len(source.shape)) for axis, source in zip(axes, sources)]
    lengths = {source.shape[axis] for axis, source in zip(places, sources)}
    if len(lengths) != 1:
        shapes = ", ".join(text(source.shape) for source in sources)
        raise OpError(f"{place} scans {shapes} along the axes {', '.join(map(str, axes))}, whose lengths differ")
    slices = [Type(source.dtype, (*source.shape[:axis], *source.shape[axis + 1:])) for axis, source in zip(places, sources)]
    kinds, made = settled(body, (), args[:count], slices, 0)
    length = lengths.pop()
    return [*kinds, *(stacked_type(place, kind, length, axis) for kind, axis in zip(made[count:], out_axes))]


def _details(place: str, attrs: Mapping[str, Any], inputs: int, outputs: int) -> list[tuple[int, ...]]:
    """The attributes of PER_SLICE in order, zeros where they are absent. Raises OpError."""
    found = []
    for key, what in PER_SLICE.items():
        wanted = inputs if what == "inputs" else outputs
        given = tuple(attrs[key]) if attrs[key] is not None else (0,) * wanted
        if len(given) != wanted:
            raise OpError(f"{place} has {len(given)} {key} for {wanted} scanned {what}")
        if key.endswith("directions") and not set(given) <= {0, 1}:
            raise OpError(f"{place} has the {key} {given}; each is 0 (forward) or 1 (reverse)")
        found.append(given)
    return found


def _run(attrs: Mapping[str, Any], *inputs: np.ndarray, bodies: Mapping[str, Body]) -> tuple[np.ndarray, ...]:
    body, scanned = bodies["body"], attrs["num_scan_inputs"]
    count = len(inputs) - scanned
    axes, backward, out_axes, out_backward = _details("Scan", attrs, scanned, len(body.outputs) - count)
    sources = [np.moveaxis(array, axis, 0)[::-1 if back else 1] for array, axis, back in zip(inputs[count:], axes, backward)]
    carried = tuple(inputs[:count])
    stacks: list[list[np.ndarray]] = [[] for _ in body.outputs[count:]]
    for slices in zip(*sources):
        made = body(*carried, *(np.asarray(part, order="C") for part in slices))
        carried = made[:count]
        for stack, part in zip(stacks, made[count:]):
            stack.append(part)
    kinds: Sequence[Type | None] = [None] * len(stacks)
    if stacks and not len(sources[0]):
        empty = (Type(array.dtype.name, array.shape) for array in carried)
        kinds = body.types(*empty, *(Type(source.dtype.name, source.shape[1:]) for source in sources))[count:]
    return (*carried, *(stacked("Scan", stack, kind, axis, bool(back))
                        for stack, kind, axis, back in zip(stacks, kinds, out_axes, out_backward)))


OP = Op("Scan", {"body": REQUIRED, "num_scan_inputs": REQUIRED, **dict.fromkeys(PER_SLICE)}, (1, VARIADIC), _infer, _run, bodies=True, cases=())
