"""Products with a dense constant matrix: Gemm, MatMul and Conv, on weights in panels (README.md has the kernels' parameters)."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

import numpy as np

from ...formats.record import replace
from ...formats.tensor import Affine, EncodedTensor, Plain, Sparse
from .. import costs
from ..elementwise.lowering import emit_add_constant
from ..lowering import Emitter, Layout, Lowering, Site, lowers
from ..ops._window import Window, window
from ..tables import table_of
from .pack import Order, PanelLayout, Panels, plan
from .planes import conv_planes
from .product import Product, lower_activations, lowering

MADE: tuple[Layout, Layout] = ("NHWC", "NCHW")
"""What convolutions of planes make."""
MOST_PAIRS = 1024
"""Matrices that a MatMul of two activations multiplies, one step each; with more of them NumPy does it."""


@lowers("Gemm")
def lower_gemm(site: Site) -> Iterator[Lowering]:
    if 0 in site.weights or 1 not in site.weights or site.attrs["transA"]:
        return
    x, outputs = site.inputs[0], site.outputs[0].shape[1]
    bias, is_row = row_bias(site, 2, outputs)
    addend = None if is_row else site.constant(2)
    if x is None or not (is_row or addend is not None):
        return
    for layout in layouts(site.weights[1], 1, "rows" if site.attrs["transB"] else "columns"):
        product = Product(layout, x.shape[0], layout.columns, bias, site.attrs["alpha"], site.attrs["beta"], clamps=is_row)
        option = lowering(site, product)
        yield option if addend is None else _then_add(site, option, addend * np.float32(site.attrs["beta"]))


def _then_add(site: Site, option: Lowering, addend: np.ndarray) -> Lowering:
    """The product, and a step that adds a constant which is not the same for every row."""
    shape = site.outputs[0].shape

    def emit(em: Emitter) -> None:
        option.emit(em)
        emit_add_constant(em, em.output(), addend, shape)

    return replace(option, emit=emit, cost=option.cost + costs.STEP + costs.ELEMENTWISE["binary"] * prod(shape))


@lowers("MatMul")
def lower_mat_mul(site: Site) -> Iterator[Lowering]:
    a, b = site.inputs
    if a is None or b is None or 0 in site.weights:
        return
    left, right = a.shape if len(a.shape) > 1 else (1, *a.shape), b.shape if len(b.shape) > 1 else (*b.shape, 1)
    if 1 not in site.weights:
        if prod(site.outputs[0].shape[:-2]) <= MOST_PAIRS:
            yield lower_activations(site, left, right)
    elif len(right) == 2 and len(b.shape) == 2:
        for layout in layouts(site.weights[1], 1, "columns"):
            yield lowering(site, Product(layout, prod(left[:-1]), layout.columns, None))


@lowers("Conv")
def lower_conv(site: Site) -> Iterator[Lowering]:
    x = site.inputs[0]
    if x is None or 0 in site.weights or 1 not in site.weights or len(x.shape) > 5:
        return
    bias, known = row_bias(site, 2, site.outputs[0].shape[1])
    if not known:
        return
    win = window("Conv", site.attrs, x.shape[2:], site.weights[1].shape[2:])
    for layout in layouts(site.weights[1], site.attrs["group"], "conv"):
        rows, ldx, geometry = rows_of(x.shape, site.attrs["group"], win, layout.taps == 1)
        yield lowering(site, Product(layout, rows, ldx, bias, geometry=geometry, scheme="NHWC"))
        if geometry is not None and isinstance(layout, PanelLayout):
            for makes in MADE:
                direct = conv_planes(site, layout, bias, win, makes)
                if direct is not None:
                    yield direct


def layouts(tensor: EncodedTensor, groups: int, order: Order) -> Iterator[Panels]:
    """The panels that can hold a weight: those that kernels decode in registers, and tiles for what these and ``sparse`` leave over. Affine
    codes have both, as looking many of them up takes longer than computing with them."""
    panels = plan(tensor, groups, order)
    if panels is not None:
        yield panels
    left_over = panels is None and not (isinstance(tensor.structure, Sparse) and (isinstance(tensor.values, Plain) or table_of(tensor) is not None))
    if left_over or isinstance(tensor.values, Affine):
        from .tiles import plan_tiles

        tiles = plan_tiles(tensor, groups, order)
        if tiles is not None:
            yield tiles


def every_layout(tensor: EncodedTensor, groups: int, order: Order) -> list[Panels]:
    """As ``layouts``, for operators that ``sparse`` does not run: masked weights are tiles."""
    found = list(layouts(tensor, groups, order))
    if found:
        return found
    from .tiles import plan_tiles

    tiles = plan_tiles(tensor, groups, order)
    return [] if tiles is None else [tiles]


def row_bias(site: Site, i: int, outputs: int) -> tuple[np.ndarray | None, bool]:
    """(input ``i`` as float32[outputs] or None if it is absent, whether it is known and the same for every row)."""
    if i >= len(site.inputs) or site.inputs[i] is None:
        return None, True
    bias = site.constant(i)
    if bias is None or prod(bias.shape[:-1]) != 1:
        return None, False
    return (bias.reshape(-1) if bias.size == outputs else np.full(outputs, bias.item(), bias.dtype)).astype(np.float32), True


def rows_of(shape: tuple[int, ...], groups: int, win: Window, in_order: bool) -> tuple[int, int, tuple[int, ...] | None]:
    """(rows, ldx, geometry) of a convolution over x of this shape; no geometry where the rows lie in x as they are needed: with taps
    outside of channels, or (not ``in_order``) without taps."""
    batch, channels, *spatial = shape
    rows, taps = batch * prod(win.out), prod(win.kernel)
    whole_image = win.kernel == tuple(spatial) and prod(win.dilations) == 1 and (groups == 1 or taps == 1)
    if not win.padded and whole_image and (in_order or taps == 1):
        return rows, channels * taps, None
    if not win.padded and taps == 1 and (prod(win.strides) == 1 or rows == 1):
        return rows, channels, None
    axes = (tuple(spatial), win.out, win.kernel, win.strides, win.begin, win.dilations)
    missing = 3 - len(spatial)
    fill = (1, 1, 1, 1, 0, 1)
    geometry = (channels // groups, *(n for axis, one in zip(axes, fill) for n in (*(one,) * missing, *axis)))
    return rows, channels, geometry
