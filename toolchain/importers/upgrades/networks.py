"""Normalizations, products and recurrent operators."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from ....formats.graph import Node
from .._context import Context, Upgrade, drop, without


def _inference_only(node: Node, context: Context) -> Iterator[Node]:
    """BatchNormalization before opset 14 has no ``training_mode``; its further outputs are of training and go.

    Until opset 8, ``spatial`` 0 asked for statistics per element.
    """
    if not node.attrs.get("spatial", 1):
        raise context.refuse(node, "has statistics per element (spatial=0), which is not supported")
    yield replace(node, outputs=node.outputs[:1], attrs=without(node, "spatial", "is_test", "consumed_inputs"))


def _ratio(node: Node, context: Context) -> Iterator[Node]:
    """``ratio`` of Dropout was an attribute until opset 11, and training nothing that the node said."""
    inputs = (node.inputs[0], context.constant(node, "ratio", node.attrs["ratio"], np.float32)) if "ratio" in node.attrs else node.inputs
    yield replace(node, inputs=inputs, attrs=without(node, "ratio", "is_test", "consumed_inputs"))


def _dft_axis(node: Node, context: Context) -> Iterator[Node]:
    """The axis of DFT was an attribute until opset 19, and 1 unless given."""
    length = node.inputs[1] if len(node.inputs) > 1 else ""
    yield replace(node, inputs=(node.inputs[0], length, context.ints(node, "axis", node.attrs.get("axis", 1))), attrs=without(node, "axis"))


def _per_channel(node: Node, context: Context) -> Iterator[Node]:
    """Scale and bias of GroupNormalization were one number per group until opset 20, and are one per channel since."""
    shape, groups = context.shape(node.inputs[0]), node.attrs.get("num_groups", 0)
    channels = shape[1] if shape is not None and len(shape) > 1 else None
    if channels is None or groups < 1 or channels % groups:
        raise context.refuse(node, f"has num_groups {groups} for an input of the shape {shape}; its channels have to be known, and the groups "
                                   f"to divide them")
    inputs = [node.inputs[0]]
    for name, what in zip(node.inputs[1:], ("scale", "bias")):
        array = context.array(name)
        if array is not None:
            inputs.append(context.constant(node, what, np.repeat(array, channels // groups)))
        else:
            column, wide, flat = (context.value(node, f"{what}_{step}") for step in ("column", "wide", "flat"))
            yield Node("Reshape", (name, context.ints(node, f"{what}_shape", (groups, 1))), (column,))
            yield Node("Tile", (column, context.ints(node, f"{what}_repeats", (1, channels // groups))), (wide,))
            yield Node("Reshape", (wide, context.ints(node, f"{what}_flat_shape", (channels,))), (flat,))
            inputs.append(flat)
    yield replace(node, inputs=tuple(inputs))


UPGRADES: dict[str, tuple[tuple[int, Upgrade], ...]] = {
    "BatchNormalization": ((14, _inference_only),),
    "DFT": ((20, _dft_axis),),
    "Dropout": ((12, _ratio),),
    "GRU": ((7, drop("output_sequence")),),
    "Gemm": ((7, drop("broadcast")),),
    "GroupNormalization": ((21, _per_channel),),
    "LSTM": ((7, drop("output_sequence")),),
    "RNN": ((7, drop("output_sequence")),),
}
