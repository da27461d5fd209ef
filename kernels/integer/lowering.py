"""Quantized activations: codes of floats (README.md has the kernels' parameters)."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

from .. import costs
from ..gemm.lowering import rows_of
from ..lowering import Layout, Lowering, Site, f32, lowers
from ..ops._op import DOMAIN, HOW
from ..ops._window import window
from .depthwise import Depthwise
from .pack import Matrix
from .product import Product

LAYOUTS: tuple[Layout, ...] = ("NCHW", "NHWC")
CODES = ("int8", "uint8")
BLOCK = 4096
"""Floats of a work item of the kernels on a given grid."""
PIXELS = 512
"""Pixels of a work item of quantize_planes."""


@lowers(f"{DOMAIN}Quantize", takes=("float32", *CODES))
def lower_quantize(site: Site) -> Iterator[Lowering]:
    """Codes in any layout. Static ones also in another than the floats lie in; dynamic ones per row only where rows lie together."""
    x, how = site.inputs[0], site.attrs[HOW]
    assert x is not None
    if how.dtype == "binary":
        return
    is_signed, size = int(how.dtype != "uint8"), x.size
    cost = costs.STEP + costs.INTEGER["quantize"] * size
    if how.kind == "dynamic":
        group = prod(x.shape[{"tensor": 0, "sample": 1, "row": len(x.shape) - 1}[how.granularity]:])
        for layout in LAYOUTS[:1] if how.granularity == "row" else LAYOUTS:
            yield Lowering("quantize_dynamic", (layout,), layout, 1.5 * cost, lambda em: em.step(
                "quantize_dynamic", [em.input(0), *(em.output(i) for i in range(len(site.outputs)))], [group, is_signed], size // group),
                makes=len(site.outputs))
        return
    grid = [f32(how.scale), how.zero_point, is_signed]
    for layout in LAYOUTS:
        yield Lowering("quantize", (layout,), layout, cost, lambda em: em.step(
            "quantize", [em.input(0), em.output()], [size, *grid], -(-size // BLOCK)))
    if len(x.shape) > 2:
        images, channels, pixels = x.shape[0], x.shape[1], prod(x.shape[2:])
        yield Lowering("quantize_planes", ("NCHW",), "NHWC", cost + costs.INTEGER["planes"] * size, lambda em: em.step(
            "quantize_planes", [em.input(0), em.output()], [pixels, *grid, channels], images * -(-pixels // PIXELS)))


@lowers(f"{DOMAIN}Quantized")
def lower_quantized(site: Site) -> Iterator[Lowering]:
    """Floats on a given grid."""
    how, size = site.attrs[HOW], site.outputs[0].size
    params = [size, f32(how.scale), how.zero_point, int(how.dtype != "uint8")]
    for layout in LAYOUTS if how.kind == "static" else ():
        yield Lowering("quantized", (layout,), layout, costs.STEP + costs.INTEGER["quantize"] * size, lambda em: em.step(
            "quantized", [em.input(0), em.output()], params, -(-size // BLOCK)))


@lowers(f"{DOMAIN}Conv", takes=("float32", *CODES))
def lower_conv(site: Site) -> Iterator[Lowering]:
    x, how = site.inputs[0], site.attrs[HOW]
    if x is None or 1 not in site.weights or how[1] is not None or len(x.shape) > 5:
        return
    groups, tensor = site.attrs["group"], site.weights[1]
    win = window("Conv", site.attrs, x.shape[2:], tensor.shape[2:])
    if groups == x.shape[1] == tensor.shape[0] and len(x.shape) in (3, 4):
        depthwise = Depthwise(site, win, x.shape).lowering()
        if depthwise is not None:
            yield depthwise
            return
    rows, ldx, geometry = rows_of(x.shape, groups, win, True)
    group_rows = rows if how[0].granularity == "tensor" else rows // x.shape[0]
    found = Product(site, Matrix.of(tensor, groups, "conv"), rows, ldx, group_rows, geometry).lowering()
    if found is not None:
        yield found


@lowers(f"{DOMAIN}ConvTranspose", takes=("float32", *CODES))
def lower_conv_transpose(site: Site) -> Iterator[Lowering]:
    """Images whose weight is known."""
    x, how = site.inputs[0], site.attrs[HOW]
    if x is None or 1 not in site.weights or how[1] is not None or len(x.shape) > 5:
        return
    from .transposed import Transposed

    found = Transposed(site, x.shape).lowering()
    if found is not None:
        yield found


@lowers(f"{DOMAIN}Gemm", f"{DOMAIN}MatMul", takes=("float32", *CODES))
def lower_gemm(site: Site) -> Iterator[Lowering]:
    """Rows of codes times a matrix that is a weight."""
    x, how, attrs = site.inputs[0], site.attrs[HOW], site.attrs
    if x is None or 1 not in site.weights or how[1] is not None or attrs.get("transA", 0) or len(x.shape) < 2 or len(site.weights[1].shape) != 2:
        return
    rows, columns = prod(x.shape[:-1]), x.shape[-1]
    matrix = Matrix.of(site.weights[1], 1, "rows" if attrs.get("transB", 0) else "columns")
    found = Product(site, matrix, rows, columns, rows if how[0].granularity == "tensor" else 1, scheme="NCHW",
                    alpha=attrs.get("alpha", 1.0), beta=attrs.get("beta", 1.0)).lowering()
    if found is not None:
        yield found
