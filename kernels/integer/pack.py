"""Weights of integers as bytes in panels of 16 outputs, and the table that finishes their sums (README.md has both byte by byte)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import accumulate

import numpy as np

from ...formats.graph import ActivationQuantization
from ...formats.record import dataclass
from ...formats.tensor import Affine, Binary, Codebook, Dense, EncodedTensor, Ternary
from ..gemm.pack import Order
from ..isa import ARM_LEVELS, native
from ..quantized import LARGEST_SUM, code_range, largest_code, weight_integers
from ..slabs import ALIGNMENT, aligned

PANEL = 16
QUADS = "neon"
"""The level whose panels are four times four outputs (product_neon.h)."""
FLOAT = np.float32
SMALL_SUM = 1 << 22
"""Integers below it can be the last bits of a float (``begun.py``)."""


def largest_weight(tensor: EncodedTensor) -> int | None:
    """Bound of the weight's integers, from its kind; None if they may not fit int8 or are none."""
    values = tensor.values
    if isinstance(values, (Binary, Ternary)):
        return 1
    if isinstance(values, Affine):
        return 1 << (values.bits - 1) if values.zero_point is None else (1 << values.bits) - 1 if values.bits < 8 else None
    if isinstance(values, Codebook) and values.entries.dtype == np.int8:
        return int(np.abs(values.entries.astype(np.int64)).max(initial=0))
    return None


def fits(tensor: EncodedTensor, how: ActivationQuantization, columns: int) -> bool:
    """Whether int8 holds the weight's integers and int32 every sum of ``columns`` products, whatever the data."""
    largest = largest_weight(tensor)
    return tensor.dtype == "float32" and largest is not None and columns * largest * largest_code(how) <= LARGEST_SUM


def integers_of(tensor: EncodedTensor) -> np.ndarray:
    """The weight's integers as int8, in its shape."""
    values = tensor.values
    if isinstance(values, Affine) and values.zero_point is None and isinstance(tensor.structure, Dense):
        return (values.codes - np.uint8(1 << (values.bits - 1))).view(np.int8).reshape(tensor.shape)
    return weight_integers(tensor).decode().astype(np.int8)


def pairs_fit(w: np.ndarray) -> bool:
    """Whether no row of w[…, columns] has -128 in one of the first eight of sixteen columns and in the column eight further on.

    Then sums of two products of codes with these columns fit 16 bits, which NEON without dot products goes by.
    """
    least = w == -128
    if not least.any():
        return True
    full = np.zeros((*w.shape[:-1], -(-w.shape[-1] // 16) * 16), bool)
    full[..., :w.shape[-1]] = least
    return not full.reshape(-1, 2, 8).all(1).any()


def told(w: np.ndarray, isa: str, kinds: Sequence[int] | np.ndarray = ()) -> list[np.ndarray]:
    """The end of the table of ``product_i8`` on ARM: whether pairs of w[…, columns] fit, and how the sums of each panel begin (``begun.py``)."""
    return [np.array([pairs_fit(w), *kinds], np.int32)] if isa in ARM_LEVELS else []


@dataclass(frozen=True)
class Matrix:
    """W[groups][outputs][columns] of a weight that lies in ``order`` (``gemm.pack.Order``)."""

    groups: int
    outputs: int
    columns: int
    order: Order

    @staticmethod
    def of(tensor: EncodedTensor, groups: int, order: Order) -> Matrix:
        outputs = tensor.shape[1 if order == "columns" else 0]
        return Matrix(groups, outputs // groups, tensor.size // outputs, order)

    @property
    def panels(self) -> int:
        """Of a group."""
        return -(-self.outputs // PANEL)

    def integers(self, tensor: EncodedTensor) -> np.ndarray:
        """int8[groups, outputs, columns], columns of a convolution in the order (kernel…, channel)."""
        return self._in_order(integers_of(tensor))

    def bytes_of(self, tensor: EncodedTensor) -> tuple[np.ndarray, int]:
        """(uint8 as ``integers``, what they are to be XORed with to be these): codes of 8 bits as they come, which are copied once then."""
        values = tensor.values
        if isinstance(values, Affine) and values.bits == 8 and values.zero_point is None and isinstance(tensor.structure, Dense):
            return self._in_order(values.codes.reshape(tensor.shape)), 128
        return self.integers(tensor).view(np.uint8), 0

    def _in_order(self, found: np.ndarray) -> np.ndarray:
        if self.order == "columns":
            found = found.T
        elif self.order == "conv":
            found = np.moveaxis(found, 1, -1)
        return np.ascontiguousarray(found.reshape(self.groups, self.outputs, self.columns))

    def in_panels(self, w: np.ndarray, flip: int, starts_of: Callable[[np.ndarray], np.ndarray], parts: Sequence[np.ndarray],
                  isa: str) -> np.ndarray:
        """uint8: the panels of w[groups, outputs, columns], XORed with ``flip``; per output what its sums begin with, ``starts_of`` the sums of its
        weights; then ``parts``. Not for ARM."""
        nbytes = weight_bytes(self, isa)
        whole, (_, at, *_) = joined([nbytes, self.groups * self.panels * PANEL * 4, *parts])
        module = native()
        assert module is not None  # nobody else reads panels
        starts = self.by_panel(starts_of(module.pack_panels(w, flip, whole[:nbytes])))
        whole[at:at + starts.nbytes].view(starts.dtype)[:] = starts
        return whole

    def words(self, isa: str) -> int:
        """Of four columns, in a panel of that level."""
        return -(-self.columns // 16) * 4 if isa == QUADS else -(-self.columns // 4)

    def panelled(self, w: np.ndarray, isa: str) -> np.ndarray:
        """int32[groups * panels, words, 16], filled up with zeros: words of four columns, which move as one. With QUADS [4, K / 16, 4, 4]."""
        words = self.words(isa)
        shape = (self.groups, self.panels * PANEL, words * 4)
        if w.shape == shape:
            full = np.ascontiguousarray(w)
        else:
            full = np.zeros(shape, np.int8)
            full[:, :self.outputs, :self.columns] = w
        if isa == QUADS:
            quads = full.view(np.int32).reshape(self.groups * self.panels, 4, 4, words // 4, 4).transpose(0, 1, 3, 2, 4)
            return quads.reshape(-1, words, PANEL)
        return full.view(np.int32).reshape(self.groups * self.panels, PANEL, words).transpose(0, 2, 1)

    def by_panel(self, vector: np.ndarray) -> np.ndarray:
        """[groups * panels * 16]: one entry per output, zeros where panels are filled up."""
        full = np.zeros((self.groups, self.panels * PANEL), vector.dtype)
        full[:, :self.outputs] = vector.reshape(self.groups, self.outputs)
        return full.reshape(-1)


@dataclass(frozen=True, eq=False)
class Factors:
    """What a node's sums are multiplied by and what is added, per output: float32[outputs] each. ``how``: of the codes it reads."""

    how: ActivationQuantization
    m: np.ndarray
    bias: np.ndarray

    @staticmethod
    def of(how: ActivationQuantization, scale: np.ndarray, outputs: int, bias: np.ndarray | None, alpha: float = 1.0, beta: float = 1.0) -> Factors:
        """``scale``: the weight's. Where codes are dynamic ``m`` is that alone, and the kernel does the rest."""
        m = np.broadcast_to(scale.astype(FLOAT), (outputs,))
        if how.kind == "static":
            m = FLOAT(how.scale) * m
            m = m if alpha == 1 else m * FLOAT(alpha)
        added = np.zeros(outputs, FLOAT) if bias is None or beta == 0 else bias.astype(FLOAT) * FLOAT(beta)
        return Factors(how, m, added)

    def starts(self, sums: np.ndarray, isa: str) -> np.ndarray:
        """int32: what the sums of codes begin with, from the sums of the weights; dynamic uint8 codes have them times the zero point."""
        if self.how.kind == "dynamic" and self.how.dtype == "uint8":
            return sums.astype(np.int32)
        zero = self.how.zero_point if self.how.kind == "static" else 0
        zero += (128 if self.how.dtype != "uint8" else 0) - (128 if isa in ARM_LEVELS else 0)
        return (-zero * sums.astype(np.int64)).astype(np.int32)


@dataclass(frozen=True, eq=False)
class Grid:
    """The codes that a product ends in. ``how``: theirs; ``low``, ``high``: what the floats are clamped to before."""

    how: ActivationQuantization
    low: float
    high: float

    @property
    def shift(self) -> int:
        """What makes int8 codes of them."""
        return 0 if self.how.dtype != "uint8" else 128

    def bounds(self, is_quick: bool) -> tuple[int, int]:
        """The least and the largest code, less ``shift``. The quick way clamps codes alone, to those of both bounds: rounding and saturation keep
        order, so that no code lies outside. Others clamp floats before, and there NaN may be, whose code is the zero point even outside."""
        least, most = code_range(self.how)
        if not is_quick:
            return least - self.shift, most - self.shift
        scale = FLOAT(self.how.scale)
        with np.errstate(all="ignore"):
            found = [float(np.rint(FLOAT(bound) / scale)) + self.how.zero_point for bound in (self.low, self.high)]
        low, high = (int(min(max(code, least), most)) - self.shift for code in found)
        return low, high

    def nearness(self, factors: Factors, largest_sum: float) -> float | None:
        """From which distance to an integer on fma(sum, m / s, bias / s) may round otherwise than y / s; None if it is no use.

        With r = y / s and p = sum m / s, the steps on either side err by 2^-24 (|p| + 2 |r|) and 2^-24 (|p| + |bias / s| + |r|), and |p| is at
        most |r| + |bias / s|: together 2^-24 (5 |r| + 3 |bias / s|). Codes saturate at |r| = 256. The rest of 6 and 4 covers second orders.
        """
        scale = np.float64(self.how.scale)
        m, bias = np.abs(factors.m.astype(np.float64)) / scale, np.abs(factors.bias.astype(np.float64)) / scale
        reach = float((m * largest_sum + bias).max(initial=0))
        error = 2.0 ** -24 * (6 * 256 + 4 * float(bias.max(initial=0)))
        tiny = float(m.min(initial=1)) < 1e-30 or not 1e-30 < scale < 1e30
        return None if factors.how.kind == "dynamic" or tiny or not reach < 2 ** 21 or error > 0.02 else 0.5 - error


def quick(vector: np.ndarray, grid: Grid | None, moved: float = 0.0, unit: float = 1.0) -> np.ndarray:
    """float32: the vector over the grid's scale, moved, in ``unit``."""
    with np.errstate(all="ignore"):
        return np.zeros_like(vector) if grid is None else ((vector.astype(np.float64) / grid.how.scale + moved) * unit).astype(FLOAT)


def joined(parts: Sequence[np.ndarray | int]) -> tuple[np.ndarray, list[int]]:
    """(uint8: the arrays one after another, each at a multiple of 64 bytes; where each begins). A number: so many bytes that are written later."""
    lengths = [part if isinstance(part, int) else part.nbytes for part in parts]
    sizes = [-(-length // ALIGNMENT) * ALIGNMENT for length in lengths]
    starts = [0, *accumulate(sizes)]
    whole = aligned(starts.pop())
    for part, length, start, size in zip(parts, lengths, starts, sizes):
        if not isinstance(part, int):
            whole[start:start + length].view(part.dtype).reshape(part.shape)[...] = part  # without a copy of it in between
        whole[start + length:start + size] = 0
    return whole, starts


def weight_bytes(matrix: Matrix, isa: str) -> int:
    """Of the panels."""
    return matrix.groups * matrix.panels * matrix.words(isa) * 4 * PANEL
