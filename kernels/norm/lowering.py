"""Normalizations whose statistics are of floats side by side: over the last axes, and per sample and group of channels."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import prod

import numpy as np

from .. import costs
from ..lowering import Emitter, Layout, Lowering, Ref, Site, f32, lowers

Parameter = Callable[[Emitter], Ref]


def _parameter(site: Site, place: int, shape: tuple[int, ...], missing: float) -> Parameter | None:
    """An input as a buffer of ``shape``: a constant stretched to it, or a value that has it. None if it is neither."""
    kind = site.inputs[place] if place < len(site.inputs) else None
    found = np.full(shape, missing) if kind is None else site.constant(place)
    if found is not None and found.ndim <= len(shape):
        stretched = np.ascontiguousarray(np.broadcast_to(found, shape), np.float32)
        return lambda em: em.constant(stretched)
    if kind is not None and kind.shape == shape and kind.dtype == "float32":
        return lambda em: em.input(place)
    return None


@lowers("LayerNormalization", "RMSNormalization")
def lower_over_last_axes(site: Site) -> Iterator[Lowering]:
    """With parameters that lie within the axes of the statistics."""
    x = site.inputs[0]
    if x is None or x.dtype != "float32" or site.attrs["stash_type"] != 1:
        return
    inner = x.shape[site.attrs["axis"] % len(x.shape):]
    yield from _standardized(site, prod(inner), 1, 1, _parameter(site, 1, inner, 1), _parameter(site, 2, inner, 0))


@lowers("InstanceNormalization", "GroupNormalization")
def lower_over_channels(site: Site) -> Iterator[Lowering]:
    """Per sample and channel, or group of channels."""
    x = site.inputs[0]
    if x is None or x.dtype != "float32" or site.attrs.get("stash_type", 1) != 1:
        return
    channels, positions = x.shape[1], prod(x.shape[2:])
    groups = site.attrs.get("num_groups", channels)
    scale, bias = _parameter(site, 1, (channels,), 1), _parameter(site, 2, (channels,), 0)
    yield from _standardized(site, channels // groups * positions, positions, groups, scale, bias)


def _standardized(site: Site, n: int, run: int, cycle: int, scale: Parameter | None, bias: Parameter | None) -> Iterator[Lowering]:
    """Rows of ``n`` floats in the graph's own order."""
    size = site.outputs[0].size
    if scale is None or bias is None or not size:
        return
    params = [n, run, cycle, int(site.node.op != "RMSNormalization"), f32(site.attrs["epsilon"])]

    def emit(em: Emitter) -> None:
        em.step("standardize_rows", [em.input(0), scale(em), bias(em), em.output()], [*params, f32(em.low), f32(em.high)], size // n)

    layouts: tuple[Layout, ...] = tuple("NCHW" for _ in site.inputs)
    cost = costs.STEP + costs.NORM["float"] * size + costs.NORM["row"] * (size // n)
    yield Lowering("standardize_rows", layouts, "NCHW", cost, emit, fuses=True)
