"""Operators that move, select and resample elements."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from ....formats.graph import Graph, Node, ValueInfo
from .._context import Context, Upgrade, attribute_to_input, without
from .._interface import UNKNOWN


def _pads(node: Node, context: Context) -> Iterator[Node]:
    """``pads`` and ``value`` were attributes until opset 10."""
    value = np.asarray(node.attrs.get("value", 0.0), context.dtype(node.inputs[0]) or "float32")
    inputs = (node.inputs[0], context.ints(node, "pads", node.attrs["pads"]), *([context.constant(node, "value", value)] if value else []))
    yield replace(node, inputs=inputs, attrs=without(node, "pads", "value"))


def _slice_bounds(node: Node, context: Context) -> Iterator[Node]:
    """``starts``, ``ends`` and ``axes`` were attributes until opset 9."""
    names = [context.ints(node, key, node.attrs[key]) for key in ("starts", "ends", "axes") if key in node.attrs]
    yield replace(node, inputs=(node.inputs[0], *names), attrs=without(node, "starts", "ends", "axes"))


def _split_sizes(node: Node, context: Context) -> Iterator[Node]:
    """The sizes were the attribute ``split`` until opset 12."""
    if "split" in node.attrs:
        node = replace(node, inputs=(node.inputs[0], context.ints(node, "split", node.attrs["split"])), attrs=without(node, "split"))
    yield node


def _split_count(node: Node, context: Context) -> Iterator[Node]:
    """Equal parts were as many as there were outputs; since opset 18 ``num_outputs`` says how many."""
    if len(node.inputs) == 1:
        node = replace(node, attrs={**node.attrs, "num_outputs": len(node.outputs)})
    yield node


def _largest(node: Node, context: Context) -> Iterator[Node]:
    """``k`` of TopK was an attribute until opset 9."""
    yield replace(node, inputs=(node.inputs[0], context.ints(node, "k", (node.attrs["k"],))), attrs=without(node, "k"))


def _scales(node: Node, context: Context) -> Iterator[Node]:
    """The scales of Upsample were an attribute until opset 8."""
    scales = context.constant(node, "scales", node.attrs["scales"], np.float32)
    yield replace(node, inputs=(node.inputs[0], scales), attrs=without(node, "scales"))


def _upsample(node: Node, context: Context) -> Iterator[Node]:
    """Upsample went into Resize in opset 10."""
    yield replace(node, op="Resize")


def _resize(node: Node, context: Context) -> Iterator[Node]:
    """In opset 10 pixels stood at the scaled place of their own corner. Which one is nearest it did not say: onnxruntime, and onnx's
    cases of then, take the one below along an axis that becomes longer, the one above along one that becomes shorter."""
    x, scales = node.inputs
    mode, known = node.attrs.get("mode", "nearest"), context.array(scales)
    if mode != "nearest" or known is None or (known >= 1).all():
        yield _corner_resize(node, x, scales, mode, "floor")
    elif (known <= 1).all():
        yield _corner_resize(node, x, scales, mode, "ceil")
    else:
        shorter, longer = (context.constant(node, what, part, np.float32)
                           for what, part in (("shorter", np.minimum(known, 1)), ("longer", np.maximum(known, 1))))
        middle = context.value(node, "shortened")
        yield _corner_resize(replace(node, outputs=(middle,)), x, shorter, mode, "ceil")
        yield _corner_resize(node, middle, longer, mode, "floor")


def _corner_resize(node: Node, x: str, scales: str, mode: str, rounding: str) -> Node:
    attrs = {"mode": mode, "coordinate_transformation_mode": "asymmetric", "nearest_mode": rounding}
    return replace(node, op="Resize", inputs=(x, "", scales), attrs=attrs)


def _scatter(node: Node, context: Context) -> Iterator[Node]:
    """Scatter was renamed in opset 11."""
    yield replace(node, op="ScatterElements")


def _grid_modes(node: Node, context: Context) -> Iterator[Node]:
    """GridSample's modes got the names that Resize has in opset 20."""
    mode = {"bilinear": "linear", "bicubic": "cubic"}.get(node.attrs.get("mode", "bilinear"), node.attrs.get("mode"))
    yield replace(node, attrs={**node.attrs, "mode": mode})


def _samples_scanned(node: Node, context: Context) -> Iterator[Node]:
    """Scan of opset 8 ran each sample of a batch by itself; dimension 0 of every input and output counts the samples.

        lengths, state, x ──► Scan(body) ──► state', y        state, x ──► Scan( Scan(body) ) ──► state', y
    """
    lengths, *inputs = node.inputs
    if lengths:
        raise context.refuse(node, "is given the lengths of its sequences, which is not supported")
    body = node.attrs["body"]
    states = len(inputs) - node.attrs["num_scan_inputs"]

    def per_sample(infos: Sequence[ValueInfo]) -> tuple[ValueInfo, ...]:
        return tuple(ValueInfo(context.value(node, "sample"), info.dtype, info.shape if place < states else UNKNOWN)
                     for place, info in enumerate(infos))

    taken, made = per_sample(body.inputs), per_sample(body.outputs)
    directions = {"scan_input_directions": node.attrs["directions"]} if "directions" in node.attrs else {}
    inner = Node("Scan", tuple(info.name for info in taken), tuple(info.name for info in made),
                 {"body": body, "num_scan_inputs": node.attrs["num_scan_inputs"], **directions})
    yield Node("Scan", tuple(inputs), node.outputs, {"body": Graph(taken, made, (inner,)), "num_scan_inputs": len(inputs)})


UPGRADES: dict[str, tuple[tuple[int, Upgrade], ...]] = {
    "GridSample": ((20, _grid_modes),),
    "Pad": ((11, _pads),),
    "Resize": ((11, _resize),),
    "Scan": ((9, _samples_scanned),),
    "Scatter": ((11, _scatter),),
    "Slice": ((10, _slice_bounds),),
    "Split": ((13, _split_sizes), (18, _split_count)),
    "Squeeze": ((13, attribute_to_input("axes", 1)),),
    "TopK": ((10, _largest),),
    "Unsqueeze": ((13, attribute_to_input("axes", 1)),),
    "Upsample": ((9, _scales), (10, _upsample)),
}
