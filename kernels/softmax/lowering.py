"""Softmax and its logarithm over one axis."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import prod

from .. import costs
from ..lowering import Emitter, Layout, Lowering, Site, lowers
from ..movement.strides import memory_axes

LAYOUTS: tuple[Layout, ...] = ("NCHW", "NHWC")
LANES = 16
"""Lanes of a work item of the kernels *_lanes."""


@lowers("Softmax", "LogSoftmax")
def lower_softmax(site: Site) -> Iterator[Lowering]:
    x = site.inputs[0]
    if x is None or x.dtype != "float32" or site.outputs[0].dtype != "float32" or not x.shape:
        return
    for layout in LAYOUTS:
        order = memory_axes(len(x.shape), layout)
        place = order.index(site.attrs["axis"] % len(x.shape))
        outer, inner = (prod(x.shape[axis] for axis in part) for part in (order[:place], order[place + 1:]))
        way = "rows" if inner == 1 else "lanes"
        kernel = f"{'log_' if site.node.op == 'LogSoftmax' else ''}softmax_{way}"
        cost = costs.STEP + costs.SOFTMAX[way] * x.size + (costs.SOFTMAX["start"] * outer if inner == 1 else 0.0)
        yield Lowering(kernel, (layout,), layout, cost, _emitter(kernel, outer, x.shape[order[place]], inner))


def _emitter(kernel: str, outer: int, length: int, inner: int) -> Callable[[Emitter], None]:
    def emit(em: Emitter) -> None:
        if outer * length * inner == 0:
            return
        if kernel.endswith("rows"):
            em.step(kernel, [em.input(0), em.output()], [length], outer)
        else:
            em.step(kernel, [em.input(0), em.output()], [length, inner], outer * -(-inner // LANES))

    return emit
