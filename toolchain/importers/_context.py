"""What the upgrade of a node may know and add."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ...formats.graph import Node
from ...formats.tensor import EncodedTensor
from ..passes._edit import fresh
from ._errors import UnsupportedModel

REPLACED = 1 << 30
"""As the opset of an upgrade: whatever the opset, as for operators of other domains."""


@dataclass(frozen=True)
class Known:
    """What onnx's inference could tell of a value: ``shape`` is None without a rank, a dimension None without a length."""

    dtype: str
    shape: tuple[int | None, ...] | None


@dataclass
class Context:
    """The model as it is converted. ``weights``: the table of the outermost graph. ``taken``: every name. ``known``: what could be inferred, by name.

    ``bits``: weights, graph inputs and outputs that were narrower than a byte in the source, and their bits per element.
    ``sequences``: names of sequences of tensors, and of what they hold.
    """

    origin: str
    weights: dict[str, EncodedTensor] = field(default_factory=dict)
    taken: set[str] = field(default_factory=set)
    known: dict[str, Known] = field(default_factory=dict)
    bits: dict[str, int] = field(default_factory=dict)
    sequences: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def constant(self, node: Node, what: str, array: Any, dtype: Any = None) -> str:
        """The name of a new weight, made after what it is to the node."""
        name = self.value(node, what)
        self.weights[name] = EncodedTensor.dense(np.asarray(array, dtype))
        return name

    def ints(self, node: Node, what: str, values: Sequence[int] | int) -> str:
        """The name of a new int64 weight."""
        return self.constant(node, what, values, np.int64)

    def value(self, node: Node, what: str) -> str:
        """A new name for a value between nodes that replace ``node``."""
        return fresh(f"{next(name for name in node.outputs if name)}.{what}", self.taken)

    def array(self, name: str) -> np.ndarray | None:
        """The elements of a weight; None if the name is no weight."""
        return self.weights[name].decode() if name in self.weights else None

    def shape(self, name: str) -> tuple[int | None, ...] | None:
        """The shape of a weight or value as far as it is known; None without a rank."""
        if name in self.weights:
            return self.weights[name].shape
        return self.known[name].shape if name in self.known else None

    def rank(self, name: str) -> int | None:
        found = self.shape(name)
        return None if found is None else len(found)

    def dtype(self, name: str) -> str | None:
        """The dtype of a weight or value, if it is known."""
        if name in self.weights:
            return self.weights[name].dtype
        return self.known[name].dtype if name in self.known else None

    def refuse(self, node: Node, why: str) -> UnsupportedModel:
        """An error that names the node."""
        return UnsupportedModel(f"{node.op} node {node.name or node.outputs[0]!r} of {self.origin} {why}")


Upgrade = Callable[[Node, Context], Iterator[Node]]
"""(node, context) → the nodes that do its work in the next form, in order. A node without a name gets that of the one it replaces."""


def without(node: Node, *names: str) -> dict[str, Any]:
    """The node's attributes but those."""
    return {key: value for key, value in node.attrs.items() if key not in names}


def attribute_to_input(name: str, place: int) -> Upgrade:
    """An integer attribute, or a list of them, that became input ``place``; inputs before it that are absent stay so."""
    def change(node: Node, context: Context) -> Iterator[Node]:
        if name in node.attrs:
            inputs = [*node.inputs, *[""] * (place - len(node.inputs))]
            node = replace(node, inputs=(*inputs[:place], context.ints(node, name, node.attrs[name]), *inputs[place + 1:]),
                           attrs=without(node, name))
        yield node
    return change


def drop(*names: str) -> Upgrade:
    """Attributes that mean nothing to inference."""
    def change(node: Node, context: Context) -> Iterator[Node]:
        yield replace(node, attrs=without(node, *names))
    return change
