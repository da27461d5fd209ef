"""Fixed-width bit packing: symbol ``i`` takes bits ``i*width`` … of the bytes, least significant bit first."""

from __future__ import annotations

import numpy as np


def packed_size(count: int, width: int) -> int:
    """Bytes that ``count`` symbols of ``width`` bits take."""
    return -(-count * width // 8)


def pack(symbols: np.ndarray, width: int) -> np.ndarray:
    """uint8[ceil(count * width / 8)]: ``symbols`` (below ``2**width``, width 1 to 16), the last byte filled up with zero bits."""
    groups = np.zeros((-(-symbols.size // 8), 8), np.uint32)
    groups.ravel()[:symbols.size] = symbols
    out = np.zeros((len(groups), width), np.uint8)
    for i in range(8):
        first, shift = divmod(i * width, 8)
        value = groups[:, i] << np.uint32(shift)
        for k in range(-(-(shift + width) // 8)):
            out[:, first + k] |= (value >> np.uint32(8 * k)).astype(np.uint8)
    return out.ravel()[:packed_size(symbols.size, width)]


def unpack(data: np.ndarray, width: int, count: int) -> np.ndarray:
    """The inverse of ``pack``: uint8[count], or uint16[count] for more than 8 bits. ``data`` has exactly the bytes needed."""
    if width == 8:
        return data.copy()
    groups = np.zeros((-(-count // 8), width), np.uint8)
    groups.ravel()[:data.size] = data
    out = np.empty((len(groups), 8), np.uint8 if width <= 8 else np.uint16)
    mask = np.uint32(2 ** width - 1)
    for i in range(8):
        first, shift = divmod(i * width, 8)
        value = groups[:, first].astype(np.uint32)
        for k in range(1, -(-(shift + width) // 8)):
            value |= groups[:, first + k].astype(np.uint32) << np.uint32(8 * k)
        out[:, i] = value >> np.uint32(shift) & mask
    return out.ravel()[:count]


def tail_is_zero(data: np.ndarray, used_bits: int) -> bool:
    """Whether the bits of the last byte past ``used_bits`` are zero."""
    return used_bits % 8 == 0 or int(data[-1]) >> used_bits % 8 == 0
