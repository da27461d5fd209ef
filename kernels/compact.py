"""A weight as the NumPy backend keeps it in RAM: bit-packed, expanded only while a node that reads it runs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..formats.tensor import Binary, Codebook, EncodedTensor, Plain, Sparse


def pack_bits(symbols: np.ndarray, bits: int) -> np.ndarray:
    """uint8 array of ``ceil(n * bits / 8)`` bytes that holds n symbols of ``bits`` bits, lowest bits first."""
    planes = symbols[:, None] >> np.arange(bits, dtype=np.uint8) & 1
    return np.packbits(planes.astype(np.uint8, copy=False).ravel(), bitorder="little")


def unpack_bits(packed: np.ndarray, count: int, bits: int) -> np.ndarray:
    """uint8[count]: the symbols that ``pack_bits`` packed."""
    planes = np.unpackbits(packed, count=count * bits, bitorder="little").reshape(count, bits)
    return np.packbits(planes, axis=1, bitorder="little")[:, 0] if count else np.empty(0, np.uint8)


class CompactTensor:
    """An EncodedTensor with its indices or signs packed to their width."""

    def __init__(self, tensor: EncodedTensor) -> None:
        values = tensor.values
        self._held = tensor.held
        self._packed: np.ndarray | None = None
        self._bits = 0
        if isinstance(values, Codebook):
            self._bits, self._packed = values.bits, pack_bits(values.indices, values.bits)
            values = replace(values, indices=np.empty(0, np.uint8))
        elif isinstance(values, Binary):
            self._bits, self._packed = 1, pack_bits(values.signs, 1)
            values = replace(values, signs=np.empty(0, np.uint8))
        self._shell = replace(tensor, values=values)

    @property
    def layout(self) -> str:
        """The layout's name in reports: structure and values."""
        values = self._shell.values
        structure = "mask" if isinstance(self._shell.structure, Sparse) else "flat"
        kind = values.data.dtype.name if isinstance(values, Plain) else "binary" if isinstance(values, Binary) else f"codebook{self._bits}"
        return f"{structure} {kind}"

    @property
    def nbytes(self) -> int:
        """Bytes in RAM."""
        values = self._shell.values
        structure = self._shell.structure.mask.nbytes if isinstance(self._shell.structure, Sparse) else 0
        if isinstance(values, Plain):
            return structure + values.data.nbytes
        table = values.entries.nbytes if isinstance(values, Codebook) else 0
        scale = values.scale.nbytes if values.scale is not None else 0
        return structure + table + scale + (self._packed.nbytes if self._packed is not None else 0)

    def decode(self) -> np.ndarray:
        """The whole tensor, expanded to its logical dtype."""
        values = self._shell.values
        if self._packed is not None:
            symbols = unpack_bits(self._packed, self._held, self._bits)
            values = replace(values, indices=symbols) if isinstance(values, Codebook) else replace(values, signs=symbols)  # type: ignore[arg-type]
        return replace(self._shell, values=values).decode()
