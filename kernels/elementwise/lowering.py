"""Elementwise operators: one operand in any layout, two with broadcasting, and BatchNormalization as scale and shift."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from math import prod

import numpy as np

from .. import costs
from ..lowering import Emitter, Layout, Lowering, Ref, Site, f32, lowers
from ..movement.strides import MAX_DIMS, memory_axes, merged, strides_of

LAYOUTS: tuple[Layout, ...] = ("NCHW", "NHWC")
BLOCK = 4096
"""Floats of a work item of the kernels with one operand."""
ROW_BLOCK = 8192
"""Floats of a row that are one work item of the kernels with two operands."""


def _is_float(site: Site, *inputs: int) -> bool:
    kinds = [site.inputs[i] for i in inputs]
    return all(kind is not None and kind.dtype == "float32" for kind in kinds) and site.outputs[0].dtype == "float32"


def _unary(site: Site, kernel: str, *params: float) -> Iterator[Lowering]:
    """y = f(x): any layout, as long as both have the same."""
    size = site.outputs[0].size

    def emit(em: Emitter) -> None:
        if size:
            em.step(kernel, [em.input(0), em.output()], [size, *map(f32, params)], -(-size // BLOCK))

    if _is_float(site, 0):
        cost = costs.STEP + costs.ELEMENTWISE[kernel] * size
        for layout in LAYOUTS:
            yield Lowering(kernel, (layout, *[None] * (len(site.inputs) - 1)), layout, cost, emit)


@lowers("Relu")
def lower_relu(site: Site) -> Iterator[Lowering]:
    yield from _unary(site, "clamp", 0.0, np.inf)


@lowers("Clip")
def lower_clip(site: Site) -> Iterator[Lowering]:
    bounds = [-np.inf, np.inf]
    for i in (1, 2):
        if i < len(site.inputs) and site.inputs[i] is not None:
            bound = site.constant(i)
            if bound is None or np.isnan(bound).any():
                return
            bounds[i - 1] = float(np.asarray(bound).item())
    yield from _unary(site, "clamp", *bounds)


@lowers("Sigmoid")
def lower_sigmoid(site: Site) -> Iterator[Lowering]:
    yield from _unary(site, "sigmoid")


@lowers("Tanh")
def lower_tanh(site: Site) -> Iterator[Lowering]:
    yield from _unary(site, "tanh")


@lowers("HardSigmoid")
def lower_hard_sigmoid(site: Site) -> Iterator[Lowering]:
    yield from _unary(site, "hard_sigmoid", site.attrs.get("alpha", 0.2), site.attrs.get("beta", 0.5))


@lowers("HardSwish")
def lower_hard_swish(site: Site) -> Iterator[Lowering]:
    yield from _unary(site, "hard_swish")


def broadcast_strides(shape: Sequence[int], out_rank: int, layout: Layout) -> list[int]:
    """Stride of an operand of ``shape``, lying in ``layout``, along each logical axis of an output of rank ``out_rank``."""
    own = [0 if length == 1 else stride for length, stride in zip(shape, strides_of(shape, layout))]
    return [0] * (out_rank - len(shape)) + own


@lowers("Add", "Sub", "Mul", "Div")
def lower_binary(site: Site) -> Iterator[Lowering]:
    """z = f(x, y), broadcast as NumPy does; each operand in the output's layout."""
    x, y = site.inputs[:2]
    if x is None or y is None or not _is_float(site, 0, 1):
        return
    shape = site.outputs[0].shape
    kernel = site.node.op.lower()
    for layout in LAYOUTS:
        order = memory_axes(len(shape), layout)
        walks = [broadcast_strides(kind.shape, len(shape), layout) for kind in (x, y)]
        lengths, xs, ys = merged(*([values[axis] for axis in order] for values in (shape, *walks)))
        if len(lengths) > MAX_DIMS:
            return
        rows = prod(lengths[:-1])
        per_float = costs.ELEMENTWISE["binary" if max(xs[-1], ys[-1]) <= 1 else "strided"]
        cost = costs.STEP + per_float * prod(shape) + costs.ELEMENTWISE["row"] * rows
        yield Lowering(kernel, (layout, layout), layout, cost, _binary_emitter(kernel, lengths, xs, ys), fuses=True)


def _binary_emitter(kernel: str, lengths: list[int], xs: list[int], ys: list[int]) -> Callable[[Emitter], None]:
    return lambda em: _binary_step(em, kernel, [em.input(0), em.input(1), em.output()], lengths, xs, ys)


def _binary_step(em: Emitter, kernel: str, buffers: Sequence[Ref], lengths: Sequence[int], xs: Sequence[int], ys: Sequence[int]) -> None:
    if prod(lengths) == 0:
        return
    n = lengths[-1]
    block = min(n, ROW_BLOCK)
    em.step(kernel, buffers, [n, block, xs[-1], ys[-1], f32(em.low), f32(em.high), len(lengths) - 1, *lengths[:-1], *xs[:-1], *ys[:-1]],
            prod(lengths[:-1]) * -(-n // block))


def emit_add_constant(em: Emitter, y: Ref, addend: np.ndarray, shape: Sequence[int]) -> None:
    """A step that adds a constant, broadcast to ``shape``, to a value that lies in NCHW, and clamps it to the emitter's bounds."""
    lengths, xs, ys = merged(shape, strides_of(shape, "NCHW"), broadcast_strides(addend.shape, len(shape), "NCHW"))
    _binary_step(em, "add", [y, em.constant(addend), y], lengths, xs, ys)


@lowers("BatchNormalization")
def lower_batch_normalization(site: Site) -> Iterator[Lowering]:
    """Inference: y = scale (x - mean) / sqrt(variance + epsilon) + bias, as one multiply and one add per element."""
    found = [site.constant(i) for i in range(1, 5)]
    known = [array.astype(np.float64).reshape(-1) for array in found if array is not None]
    if len(known) != 4 or site.attrs.get("training_mode", 0) or not _is_float(site, 0) or any(site.node.outputs[1:]):
        return
    weight, bias, mean, variance = known
    factor = weight / np.sqrt(variance + site.attrs.get("epsilon", 1e-5))
    scale, shift = factor.astype(np.float32), (bias - mean * factor).astype(np.float32)
    shape = site.outputs[0].shape
    cost = costs.STEP + costs.ELEMENTWISE["scale_shift"] * prod(shape)
    for layout in LAYOUTS:
        yield Lowering("scale_shift", (layout, None, None, None, None), layout, cost, _scale_shift(shape, scale, shift, layout), fuses=True)


def _scale_shift(shape: Sequence[int], scale: np.ndarray, shift: np.ndarray, layout: Layout) -> Callable[[Emitter], None]:
    channels = scale.size
    positions = prod(shape[2:])

    def emit(em: Emitter) -> None:
        if prod(shape) == 0:
            return
        bounds = [f32(em.low), f32(em.high)]
        buffers = [em.input(0), em.constant(scale), em.constant(shift), em.output()]
        if layout == "NHWC" or positions == 1:
            em.step("scale_shift_rows", buffers, [channels, *bounds], shape[0] * positions)
        else:
            em.step("scale_shift_planes", buffers, [channels, positions, *bounds], shape[0] * channels)

    return emit
