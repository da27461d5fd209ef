"""A weight as the NumPy backend keeps it in RAM: bit-packed, expanded only while a node that reads it runs."""

from __future__ import annotations

import numpy as np

from ..formats.bits import pack, unpack
from ..formats.record import replace
from ..formats.tensor import EncodedTensor, Structure, Symbols, Values, Windowed


class CompactTensor:
    """An EncodedTensor with its symbols and the positions of its windows packed to their width."""

    def __init__(self, tensor: EncodedTensor) -> None:
        values, structure, empty = tensor.values, tensor.structure, np.empty(0, np.uint8)
        self._held = tensor.held
        self._symbols = self._positions = empty
        if isinstance(values, Symbols):
            self._symbols = pack(values.symbols, values.bits)
            values = values.with_symbols(empty)
        if isinstance(structure, Windowed):
            self._positions = pack(structure.positions, _position_bits(structure))
            structure = replace(structure, positions=empty)
        self._shell = replace(tensor, values=values, structure=structure)

    @property
    def layout(self) -> str:
        """The layout's name in reports: structure and values."""
        return f"{_structure_name(self._shell.structure)} {self._shell.values.name}"

    @property
    def nbytes(self) -> int:
        """Bytes in RAM."""
        shell = self._shell
        held = self._symbols.nbytes if isinstance(shell.values, Symbols) else shell.values.data.nbytes
        return shell.structure.nbytes + self._positions.nbytes + shell.values.nbytes_tables + held

    def decode(self) -> np.ndarray:
        """The whole tensor, expanded to its logical dtype."""
        return self.tensor().decode()

    def tensor(self) -> EncodedTensor:
        """The tensor with its symbols unpacked."""
        values: Values = self._shell.values
        structure: Structure = self._shell.structure
        if isinstance(values, Symbols):
            values = values.with_symbols(unpack(self._symbols, values.bits, self._held))
        if isinstance(structure, Windowed):
            structure = replace(structure, positions=unpack(self._positions, _position_bits(structure), self._held))
        return replace(self._shell, values=values, structure=structure)


def _position_bits(structure: Windowed) -> int:
    return structure.m.bit_length() - 1


def _structure_name(structure: Structure) -> str:
    return {"dense": "flat", "sparse": "mask"}.get(structure.name, structure.label)
