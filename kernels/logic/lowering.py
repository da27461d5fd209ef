"""Comparisons, logic and choices. Booleans lie in the graph's order, and so do the floats that meet them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import prod

import numpy as np

from .. import costs
from ..lowering import Emitter, Layout, Lowering, Ref, Site, lowers
from ..movement.strides import MAX_DIMS, contiguous, merged

BLOCK = 4096
"""Elements of a work item."""

COMPARISONS = {"Equal": ("equal", False), "Less": ("less", False), "LessOrEqual": ("less_or_equal", False), "Greater": ("less", True),
               "GreaterOrEqual": ("less_or_equal", True)}
"""Operator → (kernel, whether the operands change places)."""
CONNECTIVES = {"And": "both", "Or": "either", "Xor": "one_of_two", "Equal": "same"}
MAPS = {("IsNaN", "float32"): "is_nan", ("Not", "bool"): "opposite", ("Cast", "bool"): "as_float", ("Cast", "float32"): "is_true"}
"""(Operator, dtype of its input) → kernel; the output has the other dtype, but for Not."""


def _operand(em: Emitter, site: Site, place: int) -> Ref:
    """An input; booleans that are constants lie there as bytes."""
    kind = site.inputs[place]
    if place in site.weights and kind is not None and kind.dtype == "bool":
        return em.weight(place, "bool", lambda tensor: np.ascontiguousarray(tensor.decode()).reshape(-1).view(np.uint8))
    return em.input(place)


def _broadcast(site: Site, kernel: str, order: Sequence[int]) -> Iterator[Lowering]:
    """z = f(operands), each broadcast to the output's shape; ``order``: the inputs in the order of the kernel's buffers."""
    shape = site.outputs[0].shape
    walks = []
    for place in order:
        kind = site.inputs[place]
        assert kind is not None
        padded = (1,) * (len(shape) - len(kind.shape)) + kind.shape
        walks.append([0 if length == 1 else stride for length, stride in zip(padded, contiguous(padded))])
    lengths, *strides = merged(shape, *walks)
    if len(lengths) > MAX_DIMS:
        return
    n = lengths[-1]
    params = [n, min(n, BLOCK), *(walk[-1] for walk in strides), len(lengths) - 1, *lengths[:-1], *(step for walk in strides for step in walk[:-1])]

    def emit(em: Emitter) -> None:
        em.step(kernel, [*(_operand(em, site, place) for place in order), em.output()], params, prod(lengths[:-1]) * -(-n // min(n, BLOCK)))

    cost = costs.STEP + costs.LOGIC["element"] * prod(shape) + costs.LOGIC["row"] * prod(lengths[:-1])
    layout: Layout = "NCHW"
    yield Lowering(kernel, (layout,) * len(site.inputs), layout, cost, emit)


def _dtypes(site: Site) -> tuple[set[str], str]:
    """(those of the inputs, that of the output)."""
    return {kind.dtype for kind in site.inputs if kind is not None}, site.outputs[0].dtype


@lowers(*COMPARISONS, takes=("float32", "bool"))
def lower_comparison(site: Site) -> Iterator[Lowering]:
    kernel, turned = COMPARISONS[site.node.op]
    if _dtypes(site) == ({"float32"}, "bool"):
        yield from _broadcast(site, kernel, (1, 0) if turned else (0, 1))


@lowers(*CONNECTIVES, takes=("bool",))
def lower_connective(site: Site) -> Iterator[Lowering]:
    if _dtypes(site) == ({"bool"}, "bool"):
        yield from _broadcast(site, CONNECTIVES[site.node.op], (0, 1))


@lowers("Where", takes=("float32", "bool"))
def lower_where(site: Site) -> Iterator[Lowering]:
    if _dtypes(site) == ({"bool", "float32"}, "float32"):
        yield from _broadcast(site, "select", (0, 1, 2))


@lowers("IsNaN", "Not", "Cast", takes=("float32", "bool"))
def lower_map(site: Site) -> Iterator[Lowering]:
    (given,), made = _dtypes(site)
    kernel, size = MAPS.get((site.node.op, given)), site.outputs[0].size
    if kernel is None or (given == made) != (site.node.op == "Not"):
        return
    yield Lowering(kernel, ("NCHW",), "NCHW", costs.STEP + costs.LOGIC["element"] * size,
                   lambda em: em.step(kernel, [_operand(em, site, 0), em.output()], [size, BLOCK], -(-size // BLOCK)))
