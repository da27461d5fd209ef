"""One direction's rows of a recurrent weight [directions, gates · hidden, inputs], as a matrix of its own, still encoded."""

from __future__ import annotations

import numpy as np

from ...formats.record import dataclass, replace
from ...formats.tensor import Affine, Codebook, Dense, EncodedTensor, Plain, Sparse, Values, Windowed
from ..rearranged import is_uniform, outlined, rearranged


@dataclass(frozen=True)
class Slice:
    """Rows [first, last) of one direction of a weight."""

    direction: int
    first: int
    last: int

    @property
    def name(self) -> str:
        """How reports tell one slice from the next."""
        return f"rows {self.first} to {self.last} of direction {self.direction}"

    def is_whole(self, tensor: EncodedTensor) -> bool:
        """Whether the slice is all that there is."""
        alike = tensor.axis == 1 or isinstance(tensor.structure, (Dense, Sparse))
        return alike and tensor.shape[0] == 1 and self.last - self.first == tensor.shape[1]

    def outline(self, tensor: EncodedTensor) -> EncodedTensor | None:
        """A matrix of the slice's kinds and sizes, for planning; its elements mean nothing. None if no matrix can hold the slice as it is
        encoded: tables or scales would change within it where they may not."""
        if tensor.axis != 1 and not is_uniform(tensor.values):
            return None
        shape = (self.last - self.first, tensor.shape[2])
        if self.is_whole(tensor):
            return replace(tensor, shape=shape, axis=0)
        values = tensor.values
        if isinstance(values, Codebook) and len(values.entries) > 1 and shape[0] < tensor.shape[1]:
            return None
        if isinstance(values, Affine) and values.scale.shape[1] > 1 and tensor.shape[2] % values.block:
            return None
        found = outlined(tensor, shape, self._tables(tensor), 0)
        windows = self._windows(tensor)
        return found if windows is None else replace(found, structure=windows.outline())

    def of(self, tensor: EncodedTensor) -> EncodedTensor:
        """The slice as a matrix. Blocks, and windows that run across directions, become a mask."""
        if self.is_whole(tensor):
            return replace(tensor, shape=tensor.shape[1:], axis=0)
        rows, inputs = tensor.shape[1:]
        positions = (self.direction * rows + np.arange(self.first, self.last))[:, None] * inputs + np.arange(inputs)
        found, windows = rearranged(tensor, positions, self._tables(tensor), 0), self._windows(tensor)
        return found if windows is None else replace(found, structure=windows)

    def _windows(self, tensor: EncodedTensor) -> Windowed | None:
        """The windows of the slice, where each of them lies in one direction."""
        windows = tensor.structure
        if not isinstance(windows, Windowed) or tensor.axis != 1 or tensor.shape[2] % windows.m:
            return None
        slots = tensor.shape[2] // windows.m * windows.n
        own = windows.positions.reshape(tensor.shape[1], -1)[self.first:self.last, self.direction * slots:(self.direction + 1) * slots]
        return Windowed(windows.n, windows.m, np.ascontiguousarray(own).reshape(-1))

    def _tables(self, tensor: EncodedTensor) -> Values:
        """The values with the slice's own scales and zero points; their elements are still all of them."""
        values = tensor.values
        if isinstance(values, Plain) or values.scale is None:
            return values
        rows = slice(self.first, self.last)
        if not isinstance(values, Affine):
            return replace(values, scale=values.scale[rows])
        inputs, blocks = tensor.shape[2], values.scale.shape[1]
        per_direction = max(inputs // values.block, 1)
        columns = slice(self.direction * per_direction, (self.direction + 1) * per_direction) if blocks > 1 else slice(None)

        def own(table: np.ndarray) -> np.ndarray:
            return (table[rows] if len(table) > 1 else table)[:, columns if table.shape[1] > 1 else slice(None)]

        zero = None if values.zero_point is None else own(values.zero_point)
        return replace(values, scale=own(values.scale), zero_point=zero, block=values.block if blocks > 1 else inputs)
