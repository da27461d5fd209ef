"""Brings nodes of ONNX opset 6 to 27, and of other domains, into the form of opset 28."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from ...formats.graph import Node
from ._context import Context, Upgrade
from .upgrades import arithmetic, movement, networks, quantized, sequences

OLDEST, NEWEST = 6, 28

UPGRADES: dict[str, tuple[tuple[int, Upgrade], ...]] = {**arithmetic.UPGRADES, **movement.UPGRADES, **networks.UPGRADES, **quantized.UPGRADES,
                                                        **sequences.UPGRADES}
"""Operator → (opset that brought a new form, how to reach it from the one before), in order. Opsets that changed nothing that a
file of today's form would read differently (more data types, a relaxed condition) have no line. An operator of another domain is
called ``domain::Name``; what replaces it is brought by OTHER_DOMAIN."""


def upgraded(node: Node, opset: int, context: Context) -> Iterator[Node]:
    """The node, whose form is that of ``opset``, as nodes in the form of opset 28."""
    for since, change in UPGRADES.get(node.op, ()):
        if opset < since:
            for made in change(node, context):
                yield from upgraded(replace(made, name=made.name or node.name), since, context)
            return
    yield node
