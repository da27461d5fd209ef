"""Quantized operators, and those of onnxruntime's domain ``com.microsoft``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from ....formats.graph import Node
from .._context import REPLACED, Context, Upgrade

NARROW_CODES = {("uint8", 4): 21, ("int8", 4): 22, ("uint8", 2): 25, ("int8", 2): 26}
"""(dtype that holds them, bits) → ONNX's data type of narrow integers."""


def _codes_of_zero_point(node: Node, context: Context) -> Iterator[Node]:
    """The zero point's type says how wide codes are; held in 8 bits it no longer does, so ``output_dtype`` says it."""
    zero = node.inputs[2] if len(node.inputs) > 2 else ""
    if zero in context.bits:
        node = replace(node, attrs={**node.attrs, "output_dtype": NARROW_CODES[context.dtype(zero) or "", context.bits[zero]]})
    yield node


UPGRADES: dict[str, tuple[tuple[int, Upgrade], ...]] = {
    "QuantizeLinear": ((REPLACED, _codes_of_zero_point),),
}
"""How older forms of operators become today's, a table a file: operator → (opset that brought a new form, function), in order."""
