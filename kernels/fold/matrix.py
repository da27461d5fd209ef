"""The weight of ConvTranspose [C, M / groups, …kernel] as a matrix [C / groups, groups · taps · M / groups], still encoded."""

from __future__ import annotations

from math import prod

import numpy as np

from ...formats.record import dataclass, replace
from ...formats.tensor import Affine, Codebook, EncodedTensor, Plain, Values
from ..rearranged import is_uniform, outlined, rearranged


@dataclass(frozen=True)
class Unfolded:
    """How a weight of this shape lies in the matrix: per group, and there per tap, the output channels side by side."""

    shape: tuple[int, ...]
    groups: int

    @property
    def taps(self) -> int:
        return prod(self.shape[2:])

    @property
    def matrix_shape(self) -> tuple[int, int]:
        return self.shape[0] // self.groups, self.groups * self.taps * self.shape[1]

    def outline(self, tensor: EncodedTensor) -> EncodedTensor | None:
        """A matrix of the weight's kinds and sizes, for planning. None if tables or scales change where a matrix's may not."""
        values = tensor.values
        if tensor.axis != 1 and not is_uniform(values):
            return None
        if (isinstance(values, Codebook) and len(values.entries) > 1) or (isinstance(values, Affine) and values.scale.shape[1] > 1):
            return None
        return outlined(tensor, self.matrix_shape, self._tables(values), 1)

    def of(self, tensor: EncodedTensor) -> EncodedTensor:
        """The weight as that matrix."""
        positions = np.arange(tensor.size).reshape(self.groups, self.matrix_shape[0], self.shape[1], self.taps)
        return rearranged(tensor, positions.transpose(1, 0, 3, 2).reshape(self.matrix_shape), self._tables(tensor.values), 1)

    def _tables(self, values: Values) -> Values:
        """The values with a scale for each column; their elements are still in the order of the weight."""
        if isinstance(values, Plain) or values.scale is None:
            return values
        repeats = self.groups * self.taps
        if not isinstance(values, Affine):
            return replace(values, scale=np.tile(values.scale, repeats))

        def own(table: np.ndarray) -> np.ndarray:
            return np.tile(table, (repeats, 1)) if len(table) > 1 else table

        zero = None if values.zero_point is None else own(values.zero_point)
        return replace(values, scale=own(values.scale), zero_point=zero, block=self.matrix_shape[0])
