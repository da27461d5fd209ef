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


UPGRADES: dict[str, tuple[tuple[int, Upgrade], ...]] = {
    "BatchNormalization": ((14, _inference_only),),
    "DFT": ((20, _dft_axis),),
    "Dropout": ((12, _ratio),),
    "GRU": ((7, drop("output_sequence")),),
    "Gemm": ((7, drop("broadcast")),),
    "LSTM": ((7, drop("output_sequence")),),
    "RNN": ((7, drop("output_sequence")),),
}
