"""Weights that a model already holds as integers: the same integers, encoded."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ...formats.graph import Node
from ...formats.tensor import Affine, Dense, EncodedTensor, Symbols
from ...kernels import ops
from ._edit import is_plain

Weights = dict[str, EncodedTensor]


def from_integers(integers: np.ndarray, scale: np.ndarray, zero_point: np.ndarray | None, *, axis: int = 0, block: int | None = None,
                  ) -> EncodedTensor | None:
    """``(integers - zero_point) * scale`` as affine codes, of as few bits as their range needs; None if 8 do not do.

    ``integers``: int8 or uint8; ``scale``, and ``zero_point`` of the integers' dtype: [C, B] as ``Affine`` has them; the encoded tensor
    has the scale's dtype. ``block``: inputs that share a scale; None for all.
    """
    zero = np.zeros_like(scale, np.int64) if zero_point is None else zero_point.astype(np.int64)
    wide = integers.astype(np.int64)
    low, high = (int(function([function(array) for array in (wide, zero) if array.size])) for function in (np.min, np.max))
    for bits in range(2, 9):
        half = 2 ** (bits - 1)
        shift = half if low >= -half and high < half else 0 if low >= 0 and high < 2 * half else None
        if shift is None:
            continue
        table = zero + shift
        inputs = max(integers.size // max(integers.shape[axis] if integers.shape else 1, 1), 1)
        values = Affine((wide + shift).astype(np.uint8).ravel(), bits, scale.astype(np.float32),
                        None if (table == half).all() else table.astype(np.uint8), inputs if block is None else block)
        return EncodedTensor(integers.shape, scale.dtype.name, values, axis=axis)
    return None


def dequantized(node: Node, weights: Weights) -> EncodedTensor | None:
    """The weight that a DequantizeLinear of constants makes; None if it has other inputs, or no affine form."""
    tensors = [weights.get(name) if name else None for name in (*node.inputs, "", "", "")[:3]]
    x, scale, zero = tensors
    if node.op != "DequantizeLinear" or x is None or scale is None or any(name and name not in weights for name in node.inputs):
        return None
    if x.dtype not in ("int8", "uint8") or x.size < 2 or scale.dtype not in ("float32", "float16") or node.attrs.get("output_dtype", 0):
        return None
    if not all(is_plain(tensor) for tensor in tensors if tensor is not None):
        return None
    integers, scales = x.decode(), scale.decode()
    zeros = None if zero is None else zero.decode()
    axis, block = node.attrs.get("axis", 1), node.attrs.get("block_size", 0)
    if scales.size == 1 and scales.ndim <= 1:
        return from_integers(integers, scales.reshape(1, 1), None if zeros is None else zeros.reshape(1, 1))
    axis %= len(x.shape)
    if scales.ndim == 1 and scales.shape == (x.shape[axis],) and not (block and len(x.shape) == 1):
        return from_integers(integers, scales.reshape(-1, 1), None if zeros is None else zeros.reshape(-1, 1), axis=axis)
    return _in_blocks(integers, scales, zeros, axis, block)


def _in_blocks(integers: np.ndarray, scales: np.ndarray, zeros: np.ndarray | None, axis: int, block: int) -> EncodedTensor | None:
    """Blocks along one of two axes run along the inputs of the other, whose indices are the channels."""
    if integers.ndim != 2 or scales.ndim != 2 or block < 1:
        return None
    channel = 1 - axis
    found = [None if table is None else table.T if channel else table for table in (scales, zeros)]
    assert found[0] is not None
    return from_integers(integers, np.ascontiguousarray(found[0]), found[1], axis=channel, block=block)


def transposed(node: Node, weights: Weights) -> EncodedTensor | None:
    """The weight that a Transpose of a dense encoded one makes, its symbols moved; None if it is something else.

    Blocks of inputs stay together only where there are two axes.
    """
    tensor = weights.get(node.inputs[0]) if node.op == "Transpose" and node.inputs else None
    if tensor is None or not isinstance(tensor.structure, Dense) or not isinstance(tensor.values, Symbols):
        return None
    values, rank = tensor.values, len(tensor.shape)
    perm = ops.get("Transpose").attrs_of(node)["perm"] or tuple(range(rank))[::-1]
    if sorted(perm) != list(range(rank)) or (rank > 2 and isinstance(values, Affine) and values.scale.shape[1] > 1):
        return None
    moved = values.symbols.reshape(tensor.shape).transpose(perm)
    return replace(tensor, shape=moved.shape, values=values.with_symbols(np.ascontiguousarray(moved).ravel()), axis=list(perm).index(tensor.axis))


def nbits(packed: np.ndarray, bits: int, count: int) -> np.ndarray:
    """uint8[..., count]: integers of ``bits`` bits in bytes along the last axis, lowest bits first."""
    each = 8 // bits
    spread = packed[..., None] >> (np.arange(each, dtype=np.uint8) * np.uint8(bits)) & np.uint8(2 ** bits - 1)
    return spread.reshape(*packed.shape[:-1], packed.shape[-1] * each)[..., :count]


