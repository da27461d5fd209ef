"""Normalizations whose statistics are of floats side by side: over the last axes, and per sample and group of channels."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

import numpy as np

from .. import costs
from ..lowering import Emitter, Lowering, Site, f32, lowers


def _parameter(site: Site, place: int, shape: tuple[int, ...], missing: float) -> np.ndarray | None:
    """A constant input as float32 of ``shape``; None if it is not constant or does not broadcast to it."""
    if place >= len(site.inputs) or site.inputs[place] is None:
        return np.full(shape, missing, np.float32)
    found = site.constant(place)
    if found is None or found.ndim > len(shape):
        return None
    return np.ascontiguousarray(np.broadcast_to(found, shape), np.float32)


@lowers("LayerNormalization", "RMSNormalization")
def lower_over_last_axes(site: Site) -> Iterator[Lowering]:
    """With constant parameters that lie within the axes of the statistics."""
    x = site.inputs[0]
    if x is None or x.dtype != "float32" or site.attrs["stash_type"] != 1:
        return
    inner = x.shape[site.attrs["axis"] % len(x.shape):]
    yield from _standardized(site, prod(inner), 1, 1, _parameter(site, 1, inner, 1), _parameter(site, 2, inner, 0))


@lowers("InstanceNormalization", "GroupNormalization")
def lower_over_channels(site: Site) -> Iterator[Lowering]:
    """With constant parameters, one per channel."""
    x = site.inputs[0]
    if x is None or x.dtype != "float32" or site.attrs.get("stash_type", 1) != 1:
        return
    channels, positions = x.shape[1], prod(x.shape[2:])
    groups = site.attrs.get("num_groups", channels)
    scale, bias = _parameter(site, 1, (channels,), 1), _parameter(site, 2, (channels,), 0)
    yield from _standardized(site, channels // groups * positions, positions, groups, scale, bias)


def _standardized(site: Site, n: int, run: int, cycle: int, scale: np.ndarray | None, bias: np.ndarray | None) -> Iterator[Lowering]:
    """Rows of ``n`` floats in the graph's own order."""
    size = site.outputs[0].size
    centred = site.node.op != "RMSNormalization"

    def emit(em: Emitter) -> None:
        assert scale is not None
        assert bias is not None
        em.step("standardize_rows", [em.input(0), em.constant(scale), em.constant(bias), em.output()],
                [n, run, cycle, int(centred), f32(site.attrs["epsilon"]), f32(em.low), f32(em.high)], size // n)

    if scale is not None and bias is not None and size:
        cost = costs.STEP + costs.NORM["float"] * size + costs.NORM["row"] * (size // n)
        yield Lowering("standardize_rows", ("NCHW", *[None] * (len(site.inputs) - 1)), "NCHW", cost, emit, fuses=True)
