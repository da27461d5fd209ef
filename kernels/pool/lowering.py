"""Poolings over windows, and reductions over axes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from itertools import product
from math import prod

from .. import costs
from ..lowering import Emitter, Layout, Lowering, Site, f32, lowers
from ..movement.strides import memory_axes
from ..ops._window import Window, window

LAYOUTS: tuple[Layout, ...] = ("NCHW", "NHWC")
LANES = 64
"""Lanes of a work item of the kernels that reduce by lanes."""
JOINS = {"GlobalAveragePool": "sum", "GlobalMaxPool": "max", "ReduceL1": "sum_sizes", "ReduceL2": "sum_squares", "ReduceMax": "max",
         "ReduceMean": "sum", "ReduceMin": "min", "ReduceSum": "sum", "ReduceSumSquare": "sum_squares"}
"""How each reduction joins elements."""
MEANS = ("GlobalAveragePool", "ReduceMean")


def _is_float(site: Site) -> bool:
    return site.inputs[0] is not None and site.inputs[0].dtype == "float32" and site.outputs[0].dtype == "float32"


@lowers("MaxPool", "AveragePool")
def lower_pool(site: Site) -> Iterator[Lowering]:
    """One or two spatial axes; MaxPool without its second output."""
    x = site.inputs[0]
    if x is None or not _is_float(site) or len(x.shape) not in (3, 4) or any(site.node.outputs[1:]):
        return
    where = window(site.node.op, site.attrs, x.shape[2:], site.attrs["kernel_shape"])
    kernel = "max_pool" if site.node.op == "MaxPool" else "average_pool"
    taps = prod(site.outputs[0].shape) * prod(where.kernel)
    for layout in LAYOUTS:
        name = f"{kernel}_{layout.lower()}"
        rows = prod(site.outputs[0].shape[:-1]) // (site.outputs[0].shape[1] if layout == "NHWC" else 1)
        cost = costs.STEP + costs.POOL[layout.lower()] * taps + costs.POOL["row"] * rows
        yield Lowering(name, (layout,), layout, cost, _pooler(site, name, where, bool(site.attrs.get("count_include_pad", 0))))


def _pooler(site: Site, kernel: str, where: Window, with_pads: bool) -> Callable[[Emitter], None]:
    def pair(values: Sequence[int], other: int) -> list[int]:
        return [*[other] * (2 - len(values)), *values]  # one spatial axis is a row

    x, y = site.inputs[0], site.outputs[0]
    assert x is not None
    params = [*pair(x.shape[2:], 1), x.shape[1], *pair(where.out, 1), *pair(where.kernel, 1), *pair(where.strides, 1),
              *pair(where.dilations, 1), *pair(where.begin, 0), *pair(where.end, 0), int(with_pads)]
    rows = y.shape[0] * prod(pair(where.out, 1)[:1]) * (y.shape[1] if kernel.endswith("nchw") else 1)
    scratch = 24 * where.kernel[-1] + 4 * where.out[-1]

    def emit(em: Emitter) -> None:
        if y.size:
            em.step(kernel, [em.input(0), em.output()], params, rows, scratch)

    return emit


@lowers("GlobalAveragePool", "GlobalMaxPool")
def lower_global_pool(site: Site) -> Iterator[Lowering]:
    """Over all axes but the first two."""
    if site.inputs[0] is not None and _is_float(site):
        yield from _reductions(site, range(2, len(site.inputs[0].shape)), keeps=True)


@lowers("ReduceL1", "ReduceL2", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceSum", "ReduceSumSquare")
def lower_reduce(site: Site) -> Iterator[Lowering]:
    """Over axes that lie side by side in memory."""
    x = site.inputs[0]
    given = len(site.inputs) > 1 and site.inputs[1] is not None
    axes = site.constant(1) if given else None
    if x is None or not _is_float(site) or (given and axes is None):
        return
    rank = len(x.shape)
    if axes is None or axes.size == 0:
        if site.attrs.get("noop_with_empty_axes", 0):
            return
        reduced: Collection[int] = range(rank)
    else:
        reduced = {int(axis) % rank for axis in axes.reshape(-1)}
    yield from _reductions(site, reduced, bool(site.attrs.get("keepdims", 1)))


def _reductions(site: Site, reduced: Collection[int], keeps: bool) -> Iterator[Lowering]:
    """One lowering per pair of layouts in which input and output are [outer, reduced, inner] and [outer, inner]."""
    x = site.inputs[0]
    assert x is not None
    shape, out_shape = x.shape, site.outputs[0].shape
    join = JOINS[site.node.op]
    kept = [axis for axis in range(len(shape)) if axis not in reduced]
    for given, wanted in product(LAYOUTS, LAYOUTS):
        order = [axis for axis in memory_axes(len(shape), given) if shape[axis] != 1]
        places = [i for i, axis in enumerate(order) if axis in reduced]
        if places and places[-1] - places[0] >= len(places):
            continue  # something that stays lies between
        out_order = memory_axes(len(out_shape), wanted)
        in_logical = out_order if keeps else [kept[axis] for axis in out_order]
        if [axis for axis in in_logical if axis in kept and shape[axis] != 1] != [axis for axis in order if axis in kept]:
            continue
        first, last = (places[0], places[-1] + 1) if places else (0, 0)
        outer, count, inner = (prod(shape[axis] for axis in part) for part in (order[:first], order[first:last], order[last:]))
        way = "rows" if inner == 1 else "lanes"
        ending = [f32(count if site.node.op in MEANS else 1), int(site.node.op == "ReduceL2")]
        cost = costs.STEP + costs.POOL[way] * prod(shape) + costs.POOL["reduced"] * (outer if inner == 1 else 0)
        yield Lowering(f"{join}_{way}", (given, *[None] * (len(site.inputs) - 1)), wanted, cost,
                       _reducer(f"{join}_{way}", outer, count, inner, ending))


def _reducer(kernel: str, outer: int, count: int, inner: int, ending: list[int]) -> Callable[[Emitter], None]:
    def emit(em: Emitter) -> None:
        if outer * inner == 0:
            return
        if kernel.endswith("rows"):
            em.step(kernel, [em.input(0), em.output()], [count, *ending], outer)
        else:
            em.step(kernel, [em.input(0), em.output()], [count, inner, *ending], outer * -(-inner // LANES))

    return emit
