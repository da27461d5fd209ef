"""Binary weights in the order in which ``xnor_gemv`` reads them (README.md: the layout byte by byte)."""

from __future__ import annotations

import numpy as np

from ...formats.record import dataclass
from ...formats.tensor import Binary, Dense, EncodedTensor
from ..slabs import aligned

GROUP, PANEL_GROUPS, WORD = 8, 4, 64


@dataclass(frozen=True)
class SignLayout:
    """``by_rows``: the tensor is [outputs, columns], else [columns, outputs]."""

    name: str
    outputs: int
    columns: int
    by_rows: bool

    @property
    def groups(self) -> int:
        return -(-self.outputs // GROUP)

    @property
    def panels(self) -> int:
        return -(-self.groups // PANEL_GROUPS)

    @property
    def words(self) -> int:
        """Of a row."""
        return -(-self.columns // WORD)

    @property
    def scale_at(self) -> int:
        return self.groups * GROUP * self.words * 8


def plan(tensor: EncodedTensor, by_rows: bool) -> SignLayout | None:
    """The layout for this weight; None if it is not dense and binary, with its scale along the outputs."""
    out_axis = 0 if by_rows else 1
    if not (isinstance(tensor.structure, Dense) and isinstance(tensor.values, Binary) and len(tensor.shape) == 2 and tensor.size):
        return None
    if tensor.dtype != "float32" or tensor.axis != out_axis:
        return None
    name = f"sign panel32{'' if by_rows else ' of columns'}"
    return SignLayout(name, tensor.shape[out_axis], tensor.shape[1 - out_axis], by_rows)


def pack(tensor: EncodedTensor, layout: SignLayout) -> np.ndarray:
    """uint8: panels of words, scale. Rows and columns that fill up have bits of 0, as the row of activations has."""
    values = tensor.values
    assert isinstance(values, Binary)
    signs = values.signs.reshape(tensor.shape)
    whole = np.zeros((layout.groups * GROUP, layout.words * WORD), np.uint8)
    whole[:layout.outputs, :layout.columns] = signs if layout.by_rows else signs.T
    words = np.packbits(whole, axis=1, bitorder="little").reshape(layout.groups, GROUP, layout.words, 8)
    packed = aligned(layout.scale_at + 4 * layout.groups * GROUP)
    packed[:] = 0
    at = 0
    for first in range(0, layout.groups, PANEL_GROUPS):
        panel = words[first:first + PANEL_GROUPS].transpose(2, 0, 1, 3)
        packed[at:at + panel.size] = panel.reshape(-1)
        at += panel.size
    packed[at:at + 4 * layout.outputs] = values.scale.view(np.uint8)
    return packed
