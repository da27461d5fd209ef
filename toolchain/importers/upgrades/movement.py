"""Operators that move, select and resample elements."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from ....formats.graph import Node
from .._context import Context, Upgrade, attribute_to_input, without


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


def _resize(node: Node, context: Context) -> Iterator[Node]:
    """Upsample, and Resize of opset 10: pixels stand at the scaled place of their own corner, the nearest one is the one below."""
    attrs = {"mode": node.attrs.get("mode", "nearest"), "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    yield replace(node, op="Resize", inputs=(node.inputs[0], "", node.inputs[1]), attrs=attrs)


def _scatter(node: Node, context: Context) -> Iterator[Node]:
    """Scatter was renamed in opset 11."""
    yield replace(node, op="ScatterElements")


def _grid_modes(node: Node, context: Context) -> Iterator[Node]:
    """GridSample's modes got the names that Resize has in opset 20."""
    mode = {"bilinear": "linear", "bicubic": "cubic"}.get(node.attrs.get("mode", "bilinear"), node.attrs.get("mode"))
    yield replace(node, attrs={**node.attrs, "mode": mode})


UPGRADES: dict[str, tuple[tuple[int, Upgrade], ...]] = {
    "GridSample": ((20, _grid_modes),),
    "Pad": ((11, _pads),),
    "Resize": ((11, _resize),),
    "Scatter": ((11, _scatter),),
    "Slice": ((10, _slice_bounds),),
    "Split": ((13, _split_sizes), (18, _split_count)),
    "Squeeze": ((13, attribute_to_input("axes", 1)),),
    "TopK": ((10, _largest),),
    "Unsqueeze": ((13, attribute_to_input("axes", 1)),),
    "Upsample": ((9, _scales), (10, _resize)),
}
