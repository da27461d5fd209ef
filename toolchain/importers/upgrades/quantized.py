"""Quantized operators, and those of onnxruntime's domain ``com.microsoft``: what they dequantize, do and quantize, spelled out.

What is spelled out is then said of weights and values (``passes.quantized_values``), so that no floats are left of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from ....formats.graph import Node
from ....formats.tensor import Affine, EncodedTensor
from ...passes._affine import from_integers, nbits
from .._context import REPLACED, Context, Upgrade, without

NARROW_CODES = {("uint8", 4): 21, ("int8", 4): 22, ("uint8", 2): 25, ("int8", 2): 26}
"""(dtype that holds them, bits) → ONNX's data type of narrow integers."""

MICROSOFT = "com.microsoft::"


def _codes_of_zero_point(node: Node, context: Context) -> Iterator[Node]:
    """The zero point's type says how wide codes are; held in 8 bits it no longer does, so ``output_dtype`` says it."""
    zero = node.inputs[2] if len(node.inputs) > 2 else ""
    if zero in context.bits:
        node = replace(node, attrs={**node.attrs, "output_dtype": NARROW_CODES[context.dtype(zero) or "", context.bits[zero]]})
    yield node


def _standard(node: Node, context: Context) -> Iterator[Node]:
    """The operator of the standard domain has the same meaning."""
    yield replace(node, op=node.op.removeprefix(MICROSOFT))


def _floats(node: Node, context: Context, place: int, what: str, axis: int = 1) -> Node:
    """A node that dequantizes input ``place``; its scale and zero point follow it."""
    inputs = (*node.inputs, "", "")[place:place + 3]
    return Node("DequantizeLinear", inputs if inputs[2] else inputs[:2], (context.value(node, what),), {"axis": axis} if axis != 1 else {})


def _codes(node: Node, context: Context, value: str, scale: int) -> Node:
    """A node that quantizes ``value`` to what ``node`` makes; the scale's place is given, the zero point follows it."""
    inputs = (value, *(*node.inputs, "")[scale:scale + 2])
    return Node("QuantizeLinear", inputs if inputs[2] else inputs[:2], node.outputs)


def _around(op: str, places: Sequence[int], scale: int, *dropped: str) -> Upgrade:
    """``op`` on the dequantized inputs at ``places``; the result's scale is input ``scale``."""
    def change(node: Node, context: Context) -> Iterator[Node]:
        if node.attrs.get("channels_last", 0):
            raise context.refuse(node, "has channels_last 1, which is not supported")
        if "opset" in dropped and node.attrs.get("opset", 13) < 13:
            raise context.refuse(node, f"has the meaning of opset {node.attrs['opset']}; that of opset 13 and later is supported")
        floats = [_floats(node, context, place, f"input{k}") for k, place in enumerate(places)]
        made = context.value(node, "float")
        yield from floats
        yield Node(op, tuple(part.outputs[0] for part in floats), (made,), without(node, "channels_last", *dropped), node.name)
        yield _codes(node, context, made, scale)
    return change


def _concat(node: Node, context: Context) -> Iterator[Node]:
    """The scale and zero point of the result come first, then each input with its own."""
    floats = [_floats(node, context, place, f"input{k}") for k, place in enumerate(range(2, len(node.inputs), 3))]
    made = context.value(node, "float")
    yield from floats
    yield Node("Concat", tuple(part.outputs[0] for part in floats), (made,), node.attrs, node.name)
    yield _codes(node, context, made, 0)


def _constants(node: Node, context: Context, places: Sequence[int]) -> bool:
    return all(place < len(node.inputs) and node.inputs[place] in context.weights for place in places)


def _conv(node: Node, context: Context) -> Iterator[Node]:
    """QLinearConv whose weight, scales and zero points are constant."""
    bias = node.inputs[8] if len(node.inputs) > 8 else ""
    if not _constants(node, context, range(1, 8)) or (bias and bias not in context.weights):
        yield node
        return
    x, w = _floats(node, context, 0, "input"), _floats(node, context, 3, "weight", axis=0)
    inputs = [x.outputs[0], w.outputs[0]]
    if bias:
        inputs.append(_bias(node, context, bias, 1, 4))
    made = context.value(node, "float")
    yield from (x, w, Node("Conv", tuple(inputs), (made,), node.attrs, node.name), _codes(node, context, made, 6))


def _bias(node: Node, context: Context, name: str, first: int, second: int, factor: float = 1.0) -> str:
    """An int32 bias, which lies on the grid of the sums, as floats; the places are those of the operands' scales."""
    scales = [context.array(node.inputs[place]) for place in (first, second)]
    bias = context.array(name)
    assert bias is not None and scales[0] is not None and scales[1] is not None  # noqa: PT018
    return context.constant(node, "bias", bias.astype(np.float32) * (scales[0].reshape(-1) * scales[1].reshape(-1) * np.float32(factor)), np.float32)


def _matmul(node: Node, context: Context) -> Iterator[Node]:
    """QLinearMatMul whose scales and zero points are constant, and per row or column only in the second operand."""
    scale = context.array(node.inputs[1]) if _constants(node, context, (1, 2, 4, 5, 6, 7)) else None
    columns = context.array(node.inputs[4]) if scale is not None else None
    rank = context.rank(node.inputs[3])
    if scale is None or columns is None or scale.size > 1 or (columns.size > 1 and (rank is None or columns.ndim > 1)):
        yield node
        return
    a, b = _floats(node, context, 0, "first"), _floats(node, context, 3, "second", axis=(rank or 2) - 1 if columns.size > 1 else 1)
    made = context.value(node, "float")
    yield from (a, b, Node("MatMul", (a.outputs[0], b.outputs[0]), (made,), {}, node.name), _codes(node, context, made, 6))


def _gemm(node: Node, context: Context) -> Iterator[Node]:
    """QGemm, whose result is float32 if it has no scale."""
    bias = node.inputs[6] if len(node.inputs) > 6 else ""
    if not _constants(node, context, (1, 4)) or (bias and bias not in context.weights):
        raise context.refuse(node, "has scales or a bias that are no constants, which is not supported")
    a, b = _floats(node, context, 0, "first"), _floats(node, context, 3, "second", axis=0 if node.attrs.get("transB", 0) else 1)
    inputs = [a.outputs[0], b.outputs[0]]
    if bias:
        inputs.append(_bias(node, context, bias, 1, 4, node.attrs.get("alpha", 1.0)))
    is_float = len(node.inputs) < 8 or not node.inputs[7]
    made = node.outputs[0] if is_float else context.value(node, "float")
    yield from (a, b, Node("Gemm", tuple(inputs), (made,), node.attrs, node.name))
    if not is_float:
        yield _codes(node, context, made, 7)


def _dynamic_matmul(node: Node, context: Context) -> Iterator[Node]:
    """DynamicQuantizeMatMul: A in codes of its own range times B, scaled, plus a bias."""
    a, b, scale, zero, bias = (*node.inputs, "", "")[:5]
    codes, a_scale, a_zero, sums, floats, factor, scaled = (context.value(node, what) for what in (
        "codes", "scale", "zero_point", "sums", "floats", "factor", "scaled"))
    yield Node("DynamicQuantizeLinear", (a,), (codes, a_scale, a_zero))
    yield Node("MatMulInteger", (codes, b, a_zero, *((zero,) if zero else ())), (sums,), {}, node.name)
    yield Node("Cast", (sums,), (floats,), {"to": 1})
    yield Node("Mul", (a_scale, scale), (factor,))
    yield Node("Mul", (floats, factor), (scaled,) if bias else node.outputs)
    if bias:
        yield Node("Add", (scaled, bias), node.outputs)


def _matmul_nbits(node: Node, context: Context) -> Iterator[Node]:
    """MatMulNBits: a product with a weight of ``bits`` bits, whose inputs come in blocks with a scale and zero point each."""
    a, packed_name, scales_name, zeros_name, order, bias = (*node.inputs, "", "", "")[:6]
    depth, columns, bits, block = (int(node.attrs.get(key, default)) for key, default in (("K", 0), ("N", 0), ("bits", 4), ("block_size", 0)))
    packed, scales, zeros = context.array(packed_name), context.array(scales_name), context.array(zeros_name)
    if order:
        raise context.refuse(node, "has a g_idx (columns in another order), which is not supported")
    if packed is None or scales is None or (zeros_name and zeros is None):
        raise context.refuse(node, "has a weight, scales or zero points that are no constants, which is not supported")
    if bits not in (2, 4, 8) or block < 16 or min(depth, columns) < 1:
        raise context.refuse(node, f"has bits {bits}, block_size {block}, K {depth} and N {columns}; supported are 2, 4 or 8 bits, "
                                   "blocks of 16 and more, and positive lengths")
    blocks = -(-depth // block)
    if packed.size != columns * blocks * block * bits // 8 or scales.size != columns * blocks:
        raise context.refuse(node, f"has {packed.size} bytes of weights and {scales.size} scales; for {columns} columns of {blocks} blocks it takes "
                                   f"{columns * blocks * block * bits // 8} and {columns * blocks}")
    codes = nbits(packed.reshape(columns, -1), bits, blocks * block)[:, :depth]
    table = scales.reshape(columns, blocks)
    name = context.value(node, "weight")
    context.weights[name] = _blocks(node, context, codes, table, _block_zeros(node, context, zeros, bits, table.shape), block)
    made = context.value(node, "product") if bias else node.outputs[0]
    yield Node("MatMul", (a, name), (made,), {}, node.name)
    if bias:
        yield Node("Add", (made, bias), node.outputs)


def _block_zeros(node: Node, context: Context, zeros: np.ndarray | None, bits: int, shape: tuple[int, ...]) -> np.ndarray:
    """[columns, blocks]: zero points that are packed like the weight, or numbers; 2^(bits - 1) without any."""
    if zeros is None:
        return np.full(shape, 2 ** (bits - 1), np.uint8)
    if zeros.dtype == np.uint8 and zeros.size == shape[0] * -(-shape[1] * bits // 8):
        return nbits(zeros.reshape(shape[0], -1), bits, shape[1])
    if zeros.dtype.kind == "f" and zeros.size == shape[0] * shape[1]:
        return zeros.reshape(shape)
    raise context.refuse(node, f"has {zeros.size} zero points of {zeros.dtype.name}, which do not fit {shape[0]} columns of {shape[1]} blocks")


def _blocks(node: Node, context: Context, codes: np.ndarray, scales: np.ndarray, zeros: np.ndarray, block: int) -> EncodedTensor:
    """The weight [K, N]. Zero points between two integers lie on no grid: then it holds floats."""
    if zeros.dtype.kind == "f" and not (np.array_equal(zeros, np.rint(zeros)) and zeros.min() >= 0 and zeros.max() <= 255):
        wide = [np.repeat(table.astype(np.float32), block, axis=1)[:, :codes.shape[1]] for table in (scales, zeros)]
        return EncodedTensor.dense(np.ascontiguousarray(((codes - wide[1]) * wide[0]).T.astype(scales.dtype)), axis=1)
    found = from_integers(codes, scales, zeros.astype(np.uint8), axis=0, block=block)
    if found is None or not isinstance(found.values, Affine):
        raise context.refuse(node, "has codes and zero points that 8 bits do not hold")
    moved = found.values.with_symbols(np.ascontiguousarray(found.values.symbols.reshape(codes.shape).T).ravel())
    return replace(found, shape=codes.shape[::-1], values=moved, axis=1)


UNARY = {"QLinearSigmoid": "Sigmoid", "QLinearLeakyRelu": "LeakyRelu", "QLinearAveragePool": "AveragePool",
         "QLinearGlobalAveragePool": "GlobalAveragePool"}

UPGRADES: dict[str, tuple[tuple[int, Upgrade], ...]] = {
    "QuantizeLinear": ((REPLACED, _codes_of_zero_point),),
    "QLinearConv": ((REPLACED, _conv),),
    "QLinearMatMul": ((REPLACED, _matmul),),
    **{MICROSOFT + name: ((REPLACED, _standard),) for name in ("QuantizeLinear", "DequantizeLinear")},
    **{MICROSOFT + name: ((REPLACED, _around(op, (0,), 3)),) for name, op in UNARY.items()},
    MICROSOFT + "QLinearSoftmax": ((REPLACED, _around("Softmax", (0,), 3, "opset")),),
    MICROSOFT + "QLinearAdd": ((REPLACED, _around("Add", (0, 3), 6)),),
    MICROSOFT + "QLinearMul": ((REPLACED, _around("Mul", (0, 3), 6)),),
    MICROSOFT + "QLinearConcat": ((REPLACED, _concat),),
    MICROSOFT + "QGemm": ((REPLACED, _gemm),),
    MICROSOFT + "DynamicQuantizeMatMul": ((REPLACED, _dynamic_matmul),),
    MICROSOFT + "MatMulNBits": ((REPLACED, _matmul_nbits),),
}
"""How older forms of operators become today's, a table a file: operator → (opset that brought a new form, function), in order."""
