"""Elementwise operators: one operand in any layout, two with broadcasting, and BatchNormalization as scale and shift."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from math import prod
from typing import Any

import numpy as np

from .. import costs
from ..lowering import Emitter, Layout, Lowering, Ref, Site, f32, lowers
from ..movement.strides import MAX_DIMS, memory_axes, merged, strides_of

LAYOUTS: tuple[Layout, ...] = ("NCHW", "NHWC")
BLOCK = 4096
"""Floats of a work item of the kernels with one operand."""
ROW_BLOCK = 8192
"""Floats of a row that are one work item of the kernels with two operands."""
LEAST_ALPHA = 1e-30
"""Of Celu: below it, or negative, 1 / alpha has no use as a factor."""
MOST_POWER = 8
"""The largest constant exponent that is worked out by multiplication."""


def _is_float(site: Site, *inputs: int) -> bool:
    kinds = [site.inputs[i] for i in inputs]
    return all(kind is not None and kind.dtype == "float32" for kind in kinds) and site.outputs[0].dtype == "float32"


def _unary(site: Site, kernel: str, *params: int) -> Iterator[Lowering]:
    """y = f(x): any layout, as long as both have the same. ``params``: the kernel's, after the number of floats."""
    size = site.outputs[0].size

    def emit(em: Emitter) -> None:
        if size:
            em.step(kernel, [em.input(0), em.output()], [size, *params], -(-size // BLOCK))

    if _is_float(site, 0):
        cost = costs.STEP + costs.ELEMENTWISE[kernel] * size
        for layout in LAYOUTS:
            yield Lowering(kernel, (layout, *[None] * (len(site.inputs) - 1)), layout, cost, emit)


MAPS: dict[str, tuple[str, Callable[[Mapping[str, Any]], tuple[float, ...]]]] = {
    "Abs": ("abs", lambda attrs: ()),
    "Ceil": ("ceil", lambda attrs: ()),
    "Elu": ("elu", lambda attrs: (1.0, attrs["alpha"], 1.0)),
    "Erf": ("erf", lambda attrs: ()),
    "Exp": ("exp", lambda attrs: ()),
    "Floor": ("floor", lambda attrs: ()),
    "HardSigmoid": ("hard_sigmoid", lambda attrs: (attrs["alpha"], attrs["beta"])),
    "HardSwish": ("hard_swish", lambda attrs: ()),
    "LeakyRelu": ("leaky_relu", lambda attrs: (attrs["alpha"],)),
    "Log": ("log", lambda attrs: ()),
    "Mish": ("mish", lambda attrs: ()),
    "Neg": ("neg", lambda attrs: ()),
    "Relu": ("clamp", lambda attrs: (0.0, np.inf)),
    "Round": ("round", lambda attrs: ()),
    "Selu": ("elu", lambda attrs: (attrs["gamma"], attrs["gamma"] * attrs["alpha"], 1.0)),
    "Sigmoid": ("sigmoid", lambda attrs: ()),
    "Softplus": ("softplus", lambda attrs: ()),
    "Softsign": ("softsign", lambda attrs: ()),
    "Sqrt": ("sqrt", lambda attrs: ()),
    "Swish": ("swish", lambda attrs: (attrs["alpha"],)),
    "Tanh": ("tanh", lambda attrs: ()),
    "ThresholdedRelu": ("threshold", lambda attrs: (attrs["alpha"],)),
}
"""Operator → the kernel that maps each float, and its parameters after their number."""


@lowers(*MAPS)
def lower_map(site: Site) -> Iterator[Lowering]:
    kernel, params = MAPS[site.node.op]
    yield from _unary(site, kernel, *map(f32, params(site.attrs)))


@lowers("Celu")
def lower_celu(site: Site) -> Iterator[Lowering]:
    """Elu of x / alpha, times alpha."""
    if site.attrs["alpha"] > LEAST_ALPHA:
        yield from _unary(site, "elu", *map(f32, (1.0, site.attrs["alpha"], 1 / site.attrs["alpha"])))


@lowers("Clip")
def lower_clip(site: Site) -> Iterator[Lowering]:
    bounds = [-np.inf, np.inf]
    for i in (1, 2):
        if i < len(site.inputs) and site.inputs[i] is not None:
            bound = site.constant(i)
            value = np.nan if bound is None else float(bound.item())
            if value != value:
                return
            bounds[i - 1] = value
    yield from _unary(site, "clamp", *map(f32, bounds))


@lowers("Gelu")
def lower_gelu(site: Site) -> Iterator[Lowering]:
    yield from _unary(site, "gelu_tanh" if site.attrs["approximate"] == "tanh" else "gelu")


@lowers("Reciprocal")
def lower_reciprocal(site: Site) -> Iterator[Lowering]:
    yield from _power(site, -1.0)


@lowers("Pow")
def lower_pow(site: Site) -> Iterator[Lowering]:
    """To a constant power that is a multiple of a half and not large; others would lose digits in float32."""
    exponent, base = site.constant(1), site.inputs[0]
    if exponent is not None and exponent.size == 1 and base is not None and base.shape == site.outputs[0].shape:
        yield from _power(site, float(exponent.item()))


def _power(site: Site, exponent: float) -> Iterator[Lowering]:
    halves = 2 * exponent
    if abs(halves) <= 2 * MOST_POWER and halves == round(halves):
        yield from _unary(site, "power", abs(round(halves)), int(halves < 0))


def broadcast_strides(shape: Sequence[int], out_rank: int, layout: Layout) -> list[int]:
    """Stride of an operand of ``shape``, lying in ``layout``, along each logical axis of an output of rank ``out_rank``."""
    own = [0 if length == 1 else stride for length, stride in zip(shape, strides_of(shape, layout))]
    return [0] * (out_rank - len(shape)) + own


@lowers("Add", "Sub", "Mul", "Div", "PRelu")
def lower_binary(site: Site) -> Iterator[Lowering]:
    """z = f(x, y), broadcast as NumPy does; each operand in the output's layout."""
    yield from _folded(site, site.node.op.lower())


@lowers("Max", "Min", "Sum", "Mean")
def lower_variadic(site: Site) -> Iterator[Lowering]:
    """Two operands and more, each after the first joined to what the ones before it gave."""
    count = len(site.inputs)
    if count > 1:
        yield from _folded(site, {"Max": "max", "Min": "min"}.get(site.node.op, "add"), 1 / count if site.node.op == "Mean" else None)


def _folded(site: Site, kernel: str, factor: float | None = None) -> Iterator[Lowering]:
    """All operands joined by ``kernel`` from left to right, then multiplied by ``factor``; the last step clamps."""
    kinds = [kind for kind in site.inputs if kind is not None]
    if len(kinds) < len(site.inputs) or not _is_float(site, *range(len(kinds))):
        return
    shape = site.outputs[0].shape
    for layout in LAYOUTS:
        walks = [_walk(shape, (shape if place > 1 else kinds[0].shape, kind.shape), layout) for place, kind in enumerate(kinds)][1:]
        walks += [] if factor is None else [_walk(shape, (shape, ()), layout)]
        if max(len(lengths) for lengths, _, _ in walks) > MAX_DIMS:
            return
        yield Lowering(kernel, (layout,) * len(kinds), layout, sum(_walk_cost(*walk) for walk in walks),
                       _fold_emitter(kernel, walks, factor), fuses=True)


Walks = tuple[list[int], list[int], list[int]]
"""Lengths, and the strides of two operands along them, outermost first."""


@cache
def _walk(shape: tuple[int, ...], operands: tuple[tuple[int, ...], ...], layout: Layout) -> Walks:
    order = memory_axes(len(shape), layout)
    strides = [broadcast_strides(operand, len(shape), layout) for operand in operands]
    lengths, xs, ys = merged(*([values[axis] for axis in order] for values in (shape, *strides)))
    return lengths, xs, ys


def _walk_cost(lengths: Sequence[int], xs: Sequence[int], ys: Sequence[int]) -> float:
    per_float = costs.ELEMENTWISE["binary" if max(xs[-1], ys[-1]) <= 1 else "strided"]
    return costs.STEP + per_float * prod(lengths) + costs.ELEMENTWISE["row"] * prod(lengths[:-1])


def _fold_emitter(kernel: str, walks: Sequence[Walks], factor: float | None) -> Callable[[Emitter], None]:
    def emit(em: Emitter) -> None:
        for place, walk in enumerate(walks, 1):
            scales = factor is not None and place == len(walks)
            first = em.input(0) if place == 1 else em.output()
            second = em.constant(np.array([factor], np.float32)) if scales else em.input(place)
            bounds = (em.low, em.high) if place == len(walks) else (-np.inf, np.inf)
            _binary_step(em, "mul" if scales else kernel, [first, second, em.output()], walk, bounds)

    return emit


def _binary_step(em: Emitter, kernel: str, buffers: Sequence[Ref], walk: Walks, bounds: tuple[float, float]) -> None:
    lengths, xs, ys = walk
    if prod(lengths) == 0:
        return
    n = lengths[-1]
    block = min(n, ROW_BLOCK)
    em.step(kernel, buffers, [n, block, xs[-1], ys[-1], *map(f32, bounds), len(lengths) - 1, *lengths[:-1], *xs[:-1], *ys[:-1]],
            prod(lengths[:-1]) * -(-n // block))


def emit_add_constant(em: Emitter, y: Ref, addend: np.ndarray, shape: Sequence[int]) -> None:
    """A step that adds a constant, broadcast to ``shape``, to a value that lies in NCHW, and clamps it to the emitter's bounds."""
    _binary_step(em, "add", [y, em.constant(addend), y], _walk(tuple(shape), (tuple(shape), addend.shape), "NCHW"), (em.low, em.high))


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
