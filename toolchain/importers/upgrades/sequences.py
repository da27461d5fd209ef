"""Sequences whose length and indices are known: their elements are wired to where they are read, and no sequence is left.

torch's exporter writes ``chunk`` and ``split`` so::

    x ──► SplitToSequence ──► SequenceAt(·, 1) ──► y        x ──► Split ──► y

What cannot be resolved stays, and is refused as an operator that is not supported.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ....formats.graph import Node
from .._context import REPLACED, Context, Upgrade


def _integer(name: str, context: Context) -> int | None:
    found = context.array(name)
    return int(found.ravel()[0]) if found is not None and found.size == 1 else None


def _elements(node: Node, context: Context) -> tuple[str, ...] | None:
    """The names of what the sequence that the node reads holds; None if that is not known."""
    return context.sequences.get(node.inputs[0])


def _constructed(node: Node, context: Context) -> Iterator[Node]:
    context.sequences[node.outputs[0]] = node.inputs
    yield from ()


def _at(node: Node, context: Context) -> Iterator[Node]:
    held, place = _elements(node, context), _integer(node.inputs[1], context)
    if held is None or place is None or not -len(held) <= place < len(held):
        yield node
        return
    yield Node("Identity", (held[place],), node.outputs)


def _inserted(node: Node, context: Context) -> Iterator[Node]:
    held = _elements(node, context)
    place = _integer(node.inputs[2], context) if len(node.inputs) > 2 else len(held or ())
    if held is None or place is None or not -len(held) <= place <= len(held):
        yield node
        return
    place += len(held) if place < 0 else 0
    context.sequences[node.outputs[0]] = (*held[:place], node.inputs[1], *held[place:])


def _erased(node: Node, context: Context) -> Iterator[Node]:
    held = _elements(node, context)
    place = _integer(node.inputs[1], context) if len(node.inputs) > 1 else -1
    if held is None or place is None or not -len(held) <= place < len(held):
        yield node
        return
    place %= len(held)
    context.sequences[node.outputs[0]] = (*held[:place], *held[place + 1:])


def _length(node: Node, context: Context) -> Iterator[Node]:
    held = _elements(node, context)
    if held is None:
        yield node
        return
    yield Node("Identity", (context.ints(node, "length", len(held)),), node.outputs)


def _concatenated(node: Node, context: Context) -> Iterator[Node]:
    held, axis = _elements(node, context), node.attrs["axis"]
    if held is None:
        yield node
        return
    if node.attrs.get("new_axis", 0):
        axes, wide = context.ints(node, "axis", (axis,)), tuple(context.value(node, "unsqueezed") for _ in held)
        yield from (Node("Unsqueeze", (name, axes), (made,)) for name, made in zip(held, wide))
        held = wide
    yield Node("Concat", held, node.outputs, {"axis": axis})


def _split(node: Node, context: Context) -> Iterator[Node]:
    """Into parts of the given lengths, of one given length (the last may be shorter), or of length 1 if none is given."""
    axis, shape = node.attrs.get("axis", 0), context.shape(node.inputs[0])
    length = None if shape is None else shape[axis]
    given = context.array(node.inputs[1]) if len(node.inputs) > 1 else np.asarray(1)
    if given is None or (length is None and given.ndim == 0):
        yield node
        return
    if given.ndim:
        sizes = [int(size) for size in given.ravel()]
    else:
        step, whole = max(int(given), 1), length or 0
        sizes = [min(step, whole - start) for start in range(0, whole, step)]
    parts = tuple(context.value(node, "part") for _ in sizes)
    yield Node("Split", (node.inputs[0], context.ints(node, "sizes", sizes)), parts, {"axis": axis})
    if len(node.inputs) == 1 and not node.attrs.get("keepdims", 1):
        axes, kept, parts = context.ints(node, "axis", (axis,)), parts, tuple(context.value(node, "squeezed") for _ in sizes)
        yield from (Node("Squeeze", (name, axes), (made,)) for name, made in zip(kept, parts))
    context.sequences[node.outputs[0]] = parts


UPGRADES: dict[str, tuple[tuple[int, Upgrade], ...]] = {
    "ConcatFromSequence": ((REPLACED, _concatenated),),
    "SequenceAt": ((REPLACED, _at),),
    "SequenceConstruct": ((REPLACED, _constructed),),
    "SequenceEmpty": ((REPLACED, _constructed),),
    "SequenceErase": ((REPLACED, _erased),),
    "SequenceInsert": ((REPLACED, _inserted),),
    "SequenceLength": ((REPLACED, _length),),
    "SplitToSequence": ((REPLACED, _split),),
}
